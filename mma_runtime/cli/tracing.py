"""Telemetry of the command line, for who starts `mma` under OpenTelemetry."""

import sys
from collections.abc import Mapping
from importlib import import_module

from mma_runtime.observing import Observer

CONTENT = "OTEL_INSTRUMENTATION_GENAI_CAPTURE_MESSAGE_CONTENT"


def telemetry_of(environ: Mapping[str, str]) -> Observer | None:
    """Return what traces and measures runs, or nothing where nobody has asked for it.

    Whoever asks has loaded the SDK before us: `opentelemetry-instrument mma run …`
    does, with what the `OTEL_` variables say. Content is told where the variable that
    all instrumentations share says so.
    """
    if "opentelemetry.sdk" not in sys.modules:
        return None

    content = environ.get(CONTENT, "").strip().lower() == "true"
    telemetry: Observer = import_module("mma_runtime.telemetry").Telemetry(
        content=content
    )
    return telemetry
