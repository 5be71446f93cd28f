"""Traces and metrics of runs for OpenTelemetry; needs the extra `otel`.

Uses the API alone: what becomes of spans and figures is up to the providers that the
host has set up. Without any, nothing is recorded and nothing is sent.
"""

from mma_runtime.telemetry.telemetry import Telemetry

__all__ = ["Telemetry"]
