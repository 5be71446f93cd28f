"""Any order of append, note, flush, crash, reopen and read keeps the promises."""

import shutil
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
from anyio.from_thread import start_blocking_portal
from hypothesis import HealthCheck, settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from mma_runtime.journal import Entry, JournalReader, JournalWriter
from tests.journal.conftest import used

MEMORY = Path("/dev/shm")  # noqa: S108 - only if it is there
CONTENTS = st.sampled_from([b"", b"short", b"long " * 500, b"\x00\xff" * 900])


class Machine(RuleBasedStateMachine):
    """`written` is all that was handed in, `safe` how much of it is acknowledged."""

    backend: str

    @initialize()
    def begin(self) -> None:
        self.folder = TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None)
        self.path = Path(self.folder.name) / "journal.db"
        self.crashes = 0
        self.written: list[bytes] = []
        self.safe = 0
        self.entered = start_blocking_portal(self.backend)
        self.portal = self.entered.__enter__()
        self.writer = self.portal.call(JournalWriter.open, self.path)

    def _entry(self, content: bytes) -> Entry:
        self.written.append(content)
        return Entry(kind=f"k{len(self.written)}", contents={"it": content})

    @rule(contents=st.lists(CONTENTS, min_size=1, max_size=5))
    def append(self, contents: list[bytes]) -> None:
        entries = [self._entry(content) for content in contents]
        self.portal.call(self.writer.append, *entries)
        self.safe = len(self.written)

    @rule(content=CONTENTS)
    def note(self, content: bytes) -> None:
        self.portal.call(self.writer.note, self._entry(content))

    @rule()
    def flush(self) -> None:
        self.portal.call(self.writer.flush)
        self.safe = len(self.written)

    @rule()
    def reopen(self) -> None:
        self.portal.call(self.writer.aclose)
        self.safe = len(self.written)
        self.writer = self.portal.call(JournalWriter.open, self.path)
        assert (self.writer.last, self.writer.loss) == (self.safe, None)

    @rule(torn=st.binary(max_size=300))
    def crash(self, torn: bytes) -> None:
        """Go on with the files as a kill would have left them."""
        self.crashes += 1
        after = self.path.with_name(f"after-{self.crashes}.db")
        shutil.copyfile(self.path, after)
        log = self.path.with_name(self.path.name + "-wal")
        if log.exists():
            # What had begun to be written when the kill came.
            left = after.with_name(after.name + "-wal")
            whole = log.read_bytes()
            end = used(whole)
            left.write_bytes(whole[:end] + torn + whole[end + len(torn) :])
        self.portal.call(self.writer.aclose)
        self.path = after
        self.writer = self.portal.call(JournalWriter.open, after)
        assert self.writer.loss is None
        del self.written[self.safe :]

    @invariant()
    def all_that_was_acknowledged_is_read(self) -> None:
        if not hasattr(self, "writer"):
            return

        with JournalReader(self.path) as reader:
            found = [
                (record.seq, record.kind, reader.content(record.contents["it"]))
                for record in reader.records()
            ]

        assert found == [
            (number, f"k{number}", content)
            for number, content in enumerate(self.written[: self.safe], 1)
        ]

    def teardown(self) -> None:
        if hasattr(self, "writer"):
            self.portal.call(self.writer.aclose)
            self.entered.__exit__(None, None, None)
            self.folder.cleanup()


class OnAsyncio(Machine):
    backend = "asyncio"


class OnTrio(Machine):
    backend = "trio"


FEW = settings(
    max_examples=15,
    stateful_step_count=25,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
)
OnAsyncio.TestCase.settings = FEW
OnTrio.TestCase.settings = FEW
TestOnAsyncio = OnAsyncio.TestCase
TestOnTrio = OnTrio.TestCase
