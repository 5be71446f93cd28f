"""`mma prune`: removes old runs, by age and by size."""

import sys
import time
from pathlib import Path

import click

from mma_runtime.cli.options import QuantityType, home_option
from mma_runtime.cli.terminal import Results, report_error
from mma_runtime.cli.wording import count
from mma_runtime.errors import MMAError
from mma_runtime.journal.lock import holder
from mma_runtime.recording import JOURNAL, run_folders
from mma_runtime.recording.pruning import remove_rest, remove_run

DAY = 86_400
MEGABYTE = 1_000_000


@click.command("prune")
@click.option(
    "--days",
    type=QuantityType(),
    help="Remove runs older than so many days.",
)
@click.option(
    "--megabytes",
    type=QuantityType(),
    help="Remove the oldest runs until the others take no more than this.",
)
@click.option("--dry-run", is_flag=True, help="Only say what would be removed.")
@home_option
def command(
    *, days: float | None, megabytes: float | None, dry_run: bool, home: Path
) -> int:
    """Remove recorded runs, with their files; never one that is at work."""
    if days is None and megabytes is None:
        raise click.UsageError("Say which runs: --days, --megabytes, or both.")

    idle = [one for one in run_folders(home) if holder(one / JOURNAL) is None]
    sizes = {folder: _size(folder) for folder in idle}
    doomed: list[Path] = []
    if days is not None:
        limit = time.time() - days * DAY
        doomed = [one for one in idle if _written_at(one) < limit]

    if megabytes is not None:
        rest = [one for one in idle if one not in doomed]
        total = sum(sizes[one] for one in rest)
        for folder in rest:
            if total <= megabytes * MEGABYTE:
                break

            doomed.append(folder)
            total -= sizes[folder]

    results = Results(sys.stdout)
    gone: list[Path] = []
    try:
        if not dry_run:
            remove_rest(home)

        for folder in doomed:
            if dry_run or remove_run(folder):
                gone.append(folder)
                results.write(f"{folder.name}  {sizes[folder] / MEGABYTE:.1f} MB")
    except (OSError, MMAError) as error:
        return report_error(error, None)

    word = "would be removed" if dry_run else "removed"
    freed = sum(sizes[folder] for folder in gone) / MEGABYTE
    results.write(f"{count(len(gone), 'run')} {word}, {freed:.1f} MB")
    return 0


def _written_at(folder: Path) -> float:
    """Return when the run was last written to, be it in the journal's log only."""
    journal, log = folder / JOURNAL, folder / f"{JOURNAL}-wal"
    # Who only reads leaves an empty log.
    has_log = log.exists() and log.stat().st_size > 0
    return max(path.stat().st_mtime for path in (journal, *[log] * has_log))


def _size(folder: Path) -> int:
    return sum(
        path.lstat().st_size for path in folder.rglob("*") if not path.is_symlink()
    )
