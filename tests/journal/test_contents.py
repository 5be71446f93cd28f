import zlib

import pytest
from hypothesis import given
from hypothesis.strategies import binary

from mma_runtime.journal.codec import encode
from mma_runtime.journal.contents import DEFLATED, PLAIN, pack, unpack
from mma_runtime.journal.record import digest_of
from mma_runtime.llm.chat import Text, ToolResult, ToolTurn


@given(binary(max_size=3_000))
def test_any_content_comes_back_as_it_was(content: bytes) -> None:
    form, stored = pack(content)

    assert len(stored) <= len(content)
    assert unpack(form, stored, digest_of(content)) == content


def test_a_short_result_of_a_tool_takes_a_third() -> None:
    result = ToolResult("call-1", "read_file", (Text("no such file"),))
    content = encode(ToolTurn((result,)))

    assert len(pack(content)[1]) < len(content) / 3


def test_what_the_first_format_deflated_is_read() -> None:
    content = b"long ago " * 99

    assert unpack(DEFLATED, zlib.compress(content, 1), digest_of(content)) == content


@pytest.mark.parametrize(
    ("form", "stored", "problem"),
    [
        (PLAIN, b"another", "was changed"),
        (DEFLATED, b"no stream", "cannot be unpacked"),
        (2, b"no stream", "cannot be unpacked|was changed"),
        (9, b"this", "unknown form, 9"),
    ],
)
def test_what_is_no_content_is_refused(form: int, stored: bytes, problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        unpack(form, stored, digest_of(b"this"))
