import pytest

from mma_runtime.cli.exit_codes import ExitCode, code_of_error, code_of_state
from mma_runtime.errors import (
    AuthenticationFailed,
    BudgetExhausted,
    CredentialsMissing,
    CredentialsUnusable,
    MMAError,
    ProviderFacts,
    ScenarioInvalid,
    UnknownProvider,
    WorkspaceError,
)
from mma_runtime.outcome import RunState


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (RunState.COMPLETED, 0),
        (RunState.FAILED, 1),
        (RunState.OVER_BUDGET, 3),
        (RunState.BOUNDED, 4),
        (RunState.CANCELLED, 4),
        (RunState.PROVIDER_FAILED, 6),
    ],
)
def test_each_end_of_a_run_has_its_code(state: RunState, code: int) -> None:
    assert code_of_state(state) == code


def test_no_end_is_without_a_code() -> None:
    assert {code_of_state(state) for state in RunState} <= set(ExitCode)


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ScenarioInvalid("x", []), 2),
        (UnknownProvider("x", "is not known"), 2),
        (WorkspaceError("no"), 2),
        (OSError("no"), 2),
        (BudgetExhausted("run", "usd", "1", "2"), 3),
        (CredentialsMissing("openai", [], [], "Set it"), 6),
        (CredentialsUnusable("openai", "OPENAI_API_KEY"), 6),
        (AuthenticationFailed("", ProviderFacts(provider="openai")), 6),
    ],
)
def test_each_error_before_a_run_has_its_code(
    error: MMAError | OSError, code: int
) -> None:
    assert code_of_error(error) == code
