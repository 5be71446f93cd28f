"""What happened in a run, durably: one file, append-only, checked when it is opened."""

from mma_runtime.journal.reader import JournalReader
from mma_runtime.journal.record import Entry, Record
from mma_runtime.journal.recovery import Loss
from mma_runtime.journal.scrub import Scrubber
from mma_runtime.journal.writer import JournalWriter

__all__ = [
    "Entry",
    "JournalReader",
    "JournalWriter",
    "Loss",
    "Record",
    "Scrubber",
]
