"""What is committed together lies in one row: a batch of records, packed.

A record is a list: time, kind, tier, track, ticket, attempt, task, call, facts, and the
numbers of its contents where it has any. A batch is the JSON of a list of them.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from enum import Enum
from hashlib import blake2b
from typing import Any

import orjson

from mma_runtime.events import Origin
from mma_runtime.journal.packing import Deflater, Squeezer
from mma_runtime.journal.record import Record

PACKED = 2
SQUEEZED = 3
"""The form of a batch that `_SQUEEZER` has packed; each form keeps its meaning."""

SQUEEZE_ABOVE = 4_000
"""Bytes from which on zstd does better than zlib, which shrinks small batches more."""

MARK_BYTES = 8
"""The length of the check that each batch carries over itself and all before it."""

Listed = list[Any]
"""A record as its batch holds it."""

_USUAL = (
    b'"ActorStarted","","","",1,"","",{"actor":"ActorEnded","reason":"stopped"}],'
    b'"TicketPlanned","depends_on":[]}],"TicketStarted","max_tool_rounds":'
    b'"TicketFinished","state":"completed","reason":"","rounds":"attempts":1}],'
    b'"command","result":{"exit_code":0,"timed_out":false},"files":[["output0":'
    b'"CostCounted","state":"unknown","merge","step","view",{"seen":"failure",'
    b'"error":"message":"about":{"provider":"status":null,"usd":"0.000'
    b'"openai:gpt-"anthropic:claude-"gemini:gemini-'
    b'"ToolCallStarted","worker","","ticket",1,"ticket","",{"call":"tool":"read_file"}]'
    b',"ToolCallFinished","worker","","ticket",1,"ticket","",{"call":"tool":"write_file"'
    b',"is_error":false,"characters":"seconds":0.00}],"tools","worker","","ticket",1,'
    b'"ticket","/1.",{"failures":[],"files":[]},{"turn":1}],"RoundStarted","worker","",'
    b'"ticket",1,"ticket","",{"round":1,"max_rounds":10}],"intent","worker","","ticket"'
    b',1,"ticket","ticket/1.",{"digest":"","attempt":1,"model":"","billed":true,'
    b'"reserved":["0.00",0],"settings":["",null,null,null],"turns":2},'
    b'{"turn0":1,"turn1":2}]],"ModelCallStarted","worker","","ticket",1,"ticket","",'
    b'{"call":"ticket/1.","model":"","attempt":1}],"ModelCallFinished","worker","",'
    b'"ticket",1,"ticket","",{"call":"ticket/1.","model":"","finish":"tool_calls",'
    b'"input_tokens":10,"output_tokens":5,"usd":null,"billed":false,"seconds":0.00}],'
    b'"reply","worker","","ticket",1,"ticket","ticket/1.",{"digest":"","finish":'
    b'"tool_calls","usage":{"input":10,"output":5,"cache_read":0,"cache_write":0,'
    b'"cache_write_1h":0,"reasoning":0},"reported":"","raw_finish":"","request_id":null,'
    b'"model":"","usd":null,"billed":true},{"turn":1}]]'
)
_DEFLATER = Deflater(_USUAL)
_SQUEEZER = Squeezer(_USUAL)


def pack(text: bytes) -> tuple[int, bytes]:
    """Return the form in which a batch is stored, and the bytes to store."""
    if len(text) > SQUEEZE_ABOVE:
        return SQUEEZED, _SQUEEZER.pack(text)

    return PACKED, _DEFLATER.pack(text)


def unpack(form: int, stored: bytes) -> list[Listed]:
    """Return the records of a batch; raises `ValueError` when it is something else."""
    return listed_in(text_of(form, stored))


def text_of(form: int, stored: bytes) -> bytes:
    """Return the JSON of a batch; raises `ValueError` when it is something else."""
    match form:
        case 2:
            return _DEFLATER.unpack(stored)
        case 3:
            return _SQUEEZER.unpack(stored)
        case _:
            raise ValueError(f"it is stored in an unknown form, {form}")


def listed_in(text: bytes) -> list[Listed]:
    """Return the records in the JSON of a batch; raises as `unpack`."""
    try:
        found: list[Listed] = orjson.loads(text)
    except ValueError:
        # Half a surrogate pair, or no JSON at all.
        found = json.loads(text)

    return found


def in_json(value: object) -> bytes:
    """Write *value* as JSON; money, paths and the like become text."""
    try:
        return orjson.dumps(value, default=_worded)
    except TypeError:
        # Half a surrogate pair, from the name of a file, or a number of many digits.
        return json.dumps(value, separators=(",", ":"), default=_worded).encode()


def mark_of(before: bytes, last: int, stored: bytes, digests: Sequence[bytes]) -> bytes:
    """Check a batch that ends with record *last*; *before* checks all earlier ones.

    *digests* are those of the records' contents, in order.
    """
    check = blake2b(b"%d " % last, digest_size=MARK_BYTES, key=before or b"\0")
    check.update(stored)
    check.update(b"".join(digests))
    return check.digest()


def contents_of(record: Listed) -> Mapping[str, int]:
    """Return the names of a listed record's contents, with their numbers."""
    return record[9] if len(record) > 9 else {}  # noqa: PLR2004 - the tenth column


def records_of(
    last: int, listed: Sequence[Listed], origin: Callable[..., Origin]
) -> list[Record]:
    """Build the records of a batch; *origin* makes an origin of its five parts."""
    first = last - len(listed) + 1
    return [
        Record(seq, one[0], one[1], origin(*one[2:7]), one[7], one[8], contents_of(one))
        for seq, one in enumerate(listed, first)
    ]


def _worded(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(name): one for name, one in value.items()}  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType] - any

    return value.value if isinstance(value, Enum) else str(value)
