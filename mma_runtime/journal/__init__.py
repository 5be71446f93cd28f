"""What happened in a run, durably: one file, append-only, checked when it is opened."""

from mma_runtime.journal.journal import Journal
from mma_runtime.journal.past import Past
from mma_runtime.journal.reader import JournalReader
from mma_runtime.journal.record import Entry, Record
from mma_runtime.journal.recovery import Loss
from mma_runtime.journal.scrub import Scrubber
from mma_runtime.journal.writer import JournalWriter

__all__ = [
    "Entry",
    "Journal",
    "JournalReader",
    "JournalWriter",
    "Loss",
    "Past",
    "Record",
    "Scrubber",
]
