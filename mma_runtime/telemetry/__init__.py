"""Traces and metrics of runs for OpenTelemetry; needs the extra `otel`.

Uses the API alone: what becomes of spans and figures is up to the providers that the
host has set up. Without any, nothing is recorded and nothing is sent.
"""

from mma_runtime.errors import ConfigurationError

try:
    from mma_runtime.telemetry.telemetry import Telemetry
except ModuleNotFoundError as _error:
    if _error.name is None or _error.name.partition(".")[0] != "opentelemetry":
        raise

    raise ConfigurationError(
        "telemetry needs the package opentelemetry-api:"
        " install it with `pip install 'mma-runtime[otel]'`"
    ) from _error

__all__ = ["Telemetry"]
