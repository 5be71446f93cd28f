"""What users need to test against the runtime, without a network or a key."""

from mma_runtime.testing.contract import provider_contract
from mma_runtime.testing.doubles import FunctionProvider, Said
from mma_runtime.testing.network import RequestForbidden, forbid_requests
from mma_runtime.testing.schedules import run_seeded, seeded_schedule

__all__ = [
    "FunctionProvider",
    "RequestForbidden",
    "Said",
    "forbid_requests",
    "provider_contract",
    "run_seeded",
    "seeded_schedule",
]
