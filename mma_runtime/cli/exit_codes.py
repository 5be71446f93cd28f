"""What `mma` exits with."""

from enum import IntEnum

from mma_runtime.errors import (
    BudgetExhausted,
    CredentialsMissing,
    CredentialsUnusable,
    MMAError,
    ProviderError,
)
from mma_runtime.outcome import RunState


class ExitCode(IntEnum):
    """The codes; one that was interrupted by a signal exits with 128 and its number."""

    COMPLETED = 0
    FAILED = 1
    USAGE = 2
    OVER_BUDGET = 3
    INCOMPLETE = 4
    PAUSED = 5
    PROVIDER = 6
    SIGNAL = 128


_BY_STATE = {
    RunState.COMPLETED: ExitCode.COMPLETED,
    RunState.FAILED: ExitCode.FAILED,
    RunState.OVER_BUDGET: ExitCode.OVER_BUDGET,
    RunState.BOUNDED: ExitCode.INCOMPLETE,
    RunState.PROVIDER_FAILED: ExitCode.PROVIDER,
    RunState.CANCELLED: ExitCode.INCOMPLETE,
    RunState.PAUSED: ExitCode.PAUSED,
}


def code_of_state(state: RunState) -> ExitCode:
    """Return the code of a run that ended in *state* by itself."""
    return _BY_STATE[state]


def code_of_error(error: MMAError | OSError) -> ExitCode:
    """Return the code when *error* kept a run from being started."""
    match error:
        case ProviderError() | CredentialsMissing() | CredentialsUnusable():
            return ExitCode.PROVIDER
        case BudgetExhausted():
            return ExitCode.OVER_BUDGET
        case _:
            return ExitCode.USAGE
