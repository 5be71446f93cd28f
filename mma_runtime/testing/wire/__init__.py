"""A server on loopback that speaks the providers' formats, as a provider's stand-in."""

from mma_runtime.testing.wire.answers import Answer, Call, Failure
from mma_runtime.testing.wire.scripted import ScriptedServer, wire_server
from mma_runtime.testing.wire.server import (
    Cut,
    Recorded,
    Reply,
    Silence,
    Wait,
    WireServer,
    event_reply,
    json_reply,
)

__all__ = [
    "Answer",
    "Call",
    "Cut",
    "Failure",
    "Recorded",
    "Reply",
    "ScriptedServer",
    "Silence",
    "Wait",
    "WireServer",
    "event_reply",
    "json_reply",
    "wire_server",
]
