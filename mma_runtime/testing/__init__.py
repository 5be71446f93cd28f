"""What users need to test against the runtime, without a network or a key."""

from mma_runtime.testing.capture import EventCapture
from mma_runtime.testing.clock import virtual_backend
from mma_runtime.testing.contract import provider_contract
from mma_runtime.testing.doubles import FunctionProvider, Said
from mma_runtime.testing.network import RequestForbidden, forbid_requests
from mma_runtime.testing.outcomes import (
    assert_completed,
    assert_cost,
    assert_state,
    assert_ticket,
    told,
)
from mma_runtime.testing.schedules import run_seeded, seeded_schedule
from mma_runtime.testing.scripts import scripted_provider
from mma_runtime.testing.wire import (
    Answer,
    Call,
    Failure,
    ScriptedServer,
    wire_server,
)

__all__ = [
    "Answer",
    "Call",
    "EventCapture",
    "Failure",
    "FunctionProvider",
    "RequestForbidden",
    "Said",
    "ScriptedServer",
    "assert_completed",
    "assert_cost",
    "assert_state",
    "assert_ticket",
    "forbid_requests",
    "provider_contract",
    "run_seeded",
    "scripted_provider",
    "seeded_schedule",
    "told",
    "virtual_backend",
    "wire_server",
]
