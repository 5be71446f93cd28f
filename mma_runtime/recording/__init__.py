"""Runs that are recorded: resumed, replayed, forked, exported."""

from mma_runtime.recording.recording import (
    JOURNAL,
    Session,
    Silent,
    Start,
    begin,
    find_run,
    fork,
    mend,
    recorded_start,
    replay,
    resume,
    run_folders,
    secrets_of,
)

__all__ = [
    "JOURNAL",
    "Session",
    "Silent",
    "Start",
    "begin",
    "find_run",
    "fork",
    "mend",
    "recorded_start",
    "replay",
    "resume",
    "run_folders",
    "secrets_of",
]
