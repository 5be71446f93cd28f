"""A run is killed until it is done: what is to happen once has not happened twice."""

import json
import multiprocessing
from collections import Counter
from pathlib import Path

import pytest

from tests.durability.sending import TICKETS, live

LIVES = 40
NEVER = 1_000


@pytest.mark.parametrize("where", ["before", "after", "write"])
def test_what_is_to_happen_once_does_not_happen_twice(
    tmp_path: Path, where: str
) -> None:
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(
        ["tests.durability.work", "tests.durability.sending"]
    )
    killed = 0
    for number in range(LIVES):
        backend = ("asyncio", "trio")[number % 2]
        count = number % 3 + 1 + 4 * (where == "write")
        count = count if number < 8 else NEVER
        child = context.Process(
            target=live, args=(str(tmp_path), backend, where, count)
        )
        child.start()
        child.join()
        if child.exitcode == 0:
            break

        assert child.exitcode == -9
        killed += 1

    outcome = json.loads((tmp_path / "outcome.json").read_text(encoding="utf-8"))
    sent = Counter((tmp_path / "sent").read_text(encoding="utf-8").split())
    unclear = {name for name, (state, _) in outcome.items() if state == "failed"}
    assert killed >= 3
    assert set(sent.values()) <= {1}
    assert set(outcome) == set(TICKETS)
    for name, (state, reason) in outcome.items():
        assert state == "completed" or "nobody knows how it ended" in reason
        assert name in unclear or sent[name] == 1

    # At most those that were under way when it was killed, two at a time.
    assert len(unclear) <= 2 * killed
