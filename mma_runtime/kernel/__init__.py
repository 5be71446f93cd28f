"""Actors: state, mailboxes and supervision. Knows nothing of language models."""

from mma_runtime.kernel.actor import Actor
from mma_runtime.kernel.mailbox import Overflow
from mma_runtime.kernel.message import (
    Message,
    Request,
    StreamRequest,
    Terminated,
    handles,
)
from mma_runtime.kernel.ref import Ref, Statistics
from mma_runtime.kernel.registry import Emit
from mma_runtime.kernel.supervision import Restart, Strategy
from mma_runtime.kernel.system import ActorSystem

__all__ = [
    "Actor",
    "ActorSystem",
    "Emit",
    "Message",
    "Overflow",
    "Ref",
    "Request",
    "Restart",
    "Statistics",
    "Strategy",
    "StreamRequest",
    "Terminated",
    "handles",
]
