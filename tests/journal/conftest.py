import random
from pathlib import Path

import pytest

from mma_runtime.events import Origin
from mma_runtime.journal import Entry
from mma_runtime.journal.wal import PAGE_BYTES


def used(log: bytes) -> int:
    """Return how many bytes of a write-ahead log hold frames: zeros follow them."""
    frames = -(-(len(log.rstrip(b"\0")) - 32) // (PAGE_BYTES + 24))
    return 32 + max(0, frames) * (PAGE_BYTES + 24)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "journal.db"


@pytest.fixture
def entries() -> list[Entry]:
    """Return what a run of some rounds would write, with contents that recur."""
    draw = random.Random(7)  # noqa: S311 - a test's noise
    words = ["wind", "water", "rope", "stone", "salt", "sail"]
    prompt = " ".join(draw.choices(words, k=900)).encode()
    made: list[Entry] = []
    for number in range(1, 121):
        reply = " ".join(draw.choices(words, k=draw.randint(3, 700))).encode()
        made.append(
            Entry(
                kind="reply",
                origin=Origin(tier="worker", ticket=f"t{number % 7}", attempt=1),
                call=f"ticket/t{number % 7}/1.{number}",
                facts={"tokens": number, "usd": "0.25"},
                contents={"prompt": prompt, "reply": reply, "noise": draw.randbytes(9)},
            )
        )

    return made
