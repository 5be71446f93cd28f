import random
import zlib

import pytest
from hypothesis import given
from hypothesis.strategies import binary, lists

from mma_runtime.journal.codec import encode
from mma_runtime.journal.contents import (
    DEFLATED,
    PACKED,
    PLAIN,
    ROW_BYTES,
    TOGETHER,
    Row,
    rows_of,
    split,
    unpack,
)
from mma_runtime.journal.packing import Deflater
from mma_runtime.journal.record import Content, digest_of
from mma_runtime.llm.chat import Text, ToolResult, ToolTurn


def _sealed(*texts: bytes) -> list[Content]:
    return [Content(text, digest_of(text)) for text in texts]


def _unpacked(rows: list[Row]) -> dict[int, bytes]:
    return {
        number: text
        for first, digests, form, stored in rows
        for number, text in enumerate(unpack(form, stored, digests), first)
    }


@given(lists(binary(max_size=3_000), max_size=5))
def test_contents_come_back_as_they_were(texts: list[bytes]) -> None:
    rows = list(rows_of(7, _sealed(*texts)))

    assert _unpacked(rows) == dict(enumerate(texts, 7))
    assert len(rows) <= 1


@given(binary(max_size=3_000))
def test_a_single_content_never_takes_more_than_it_is(text: bytes) -> None:
    ((_, digest, _, stored),) = rows_of(1, _sealed(text))

    assert len(stored) <= len(text)
    assert digest == digest_of(text)


def test_a_short_result_of_a_tool_takes_a_third() -> None:
    result = ToolResult("call-1", "read_file", (Text("no such file"),))
    content = encode(ToolTurn((result,)))

    ((_, _, _, stored),) = rows_of(1, _sealed(content))

    assert len(stored) < len(content) / 2.5


def test_a_row_is_full_at_some_time() -> None:
    draw = random.Random(1)  # noqa: S311 - a test's noise
    texts = [draw.randbytes(ROW_BYTES // 2) for _ in range(5)]

    rows = list(rows_of(1, _sealed(*texts)))

    assert [first for first, *_ in rows] == [1, 3, 5]
    assert [len(split(digests)) for _, digests, *_ in rows] == [2, 2, 1]
    assert _unpacked(rows) == dict(enumerate(texts, 1))


def test_what_the_first_format_deflated_is_read() -> None:
    content = b"long ago " * 99

    assert unpack(DEFLATED, zlib.compress(content, 1), digest_of(content)) == [content]


@pytest.mark.parametrize(
    ("form", "stored", "problem"),
    [
        (PLAIN, b"another", "was changed"),
        (DEFLATED, b"no stream", "cannot be unpacked"),
        (PACKED, b"no stream", "cannot be unpacked|was changed"),
        (PACKED, Deflater(b"").pack(b"another"), "was changed"),
        (TOGETHER, b"no stream", "cannot be unpacked"),
        (9, b"this", "unknown form, 9"),
    ],
)
def test_what_is_no_content_is_refused(form: int, stored: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        unpack(form, stored, digest_of(b"this"))
