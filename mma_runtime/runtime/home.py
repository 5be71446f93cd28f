"""The folder that a runtime keeps its runs in, and where it looks for settings."""

import os
import secrets
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from anyio import CancelScope, to_thread

from mma_runtime.errors import ConfigurationError
from mma_runtime.journal import Journal, Scrubber
from mma_runtime.recording import Session, Start, begin
from mma_runtime.scenario.schema import Scenario
from mma_runtime.workspace import Workspace
from mma_runtime.workspace.tree import remove_tree


@dataclass(frozen=True, slots=True)
class Home:
    """A runtime's folder: each run that leaves something has a folder in it."""

    path: Path

    def run_folder(self, run: str) -> Path:
        """Return the folder of *run*, there or not."""
        return self.path.absolute() / "runs" / run

    @asynccontextmanager
    async def making(self, run: str) -> AsyncGenerator[None]:
        """Remove the folder of *run* if the block raises: there was no run then."""
        try:
            yield
        except BaseException:
            with CancelScope(shield=True):
                await to_thread.run_sync(remove_tree, self.run_folder(run))

            raise

    async def begin(self, scenario: Scenario, run: str) -> Session:
        """Begin *run*, which is not recorded.

        Writes nothing where *scenario* has no workspace. Raises what `Workspace.open`
        raises, and `ConfigurationError` where the folder cannot be written to.
        """
        workspace = None
        if scenario.workspace is not None:
            self._make()
            workspace = await Workspace.open(
                scenario.workspace.path,
                self.run_folder(run),
                dirty=scenario.workspace.dirty,
                branch=scenario.workspace.apply == "branch",
            )

        return Session(
            run=run, scenario=scenario, journal=Journal(), workspace=workspace
        )

    async def record(
        self, start: Start, run: str, *, content: bool, scrub: Scrubber
    ) -> Session:
        """Begin *run*, which is recorded.

        Raises what `recording.begin` raises, and `ConfigurationError` where the folder
        cannot be written to.
        """
        self._make()
        folder = self.run_folder(run)
        return await begin(folder, start, content=content, scrub=scrub)

    def places(self, beside: Path | None = None) -> tuple[Path, ...]:
        """Return where files with keys may lie: *beside* a scenario, then the home."""
        parent = self.path.absolute().parent
        return (parent,) if beside is None else (beside, parent)

    def _make(self) -> None:
        ignore = self.path / ".gitignore"
        try:
            self.path.mkdir(parents=True, exist_ok=True)
            if not ignore.exists():
                # What runs leave here is nobody's source.
                ignore.write_text("*\n", encoding="utf-8")
        except OSError as error:
            raise ConfigurationError(
                f"runs cannot be kept in the folder {str(self.path)!r}:"
                f" {error.strerror}; name another, with `--journal FOLDER` or `home=`"
            ) from error


def new_run() -> str:
    """Name a run so that names sort by time and do not meet."""
    now = time.time()
    # Of the eight digits three are the time within the second, to a quarter of a
    # thousandth; 20 bits of chance tell apart what begins within that.
    fraction = int(now % 1 * 4_096)
    chance = secrets.randbits(20)
    date = time.strftime("%Y%m%d-%H%M%S", time.gmtime(now))
    return f"{date}-{fraction:03x}{chance:05x}"


def beside_of(
    scenario: Scenario | str | os.PathLike[str],
    folder: str | os.PathLike[str] | None,
) -> Path | None:
    """Return the folder of the scenario's file; *folder* stands in for it."""
    if folder is not None:
        return Path(folder).absolute()

    if isinstance(scenario, Scenario):
        return None

    return Path(scenario).absolute().parent
