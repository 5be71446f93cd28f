"""The switch: `Runtime(telemetry=Telemetry())` has runs traced and measured."""

from importlib.metadata import version

from opentelemetry.metrics import MeterProvider, get_meter
from opentelemetry.trace import TracerProvider, get_tracer

from mma_runtime.arguments import check_flag, check_members
from mma_runtime.observing import ObservedRun
from mma_runtime.telemetry.instruments import Instruments
from mma_runtime.telemetry.run import RunTelemetry

SCOPE = "mma_runtime"


class Telemetry:
    """Traces and measures the runs of a runtime; one may serve several.

    Spans go to *tracer_provider* and figures to *meter_provider*, each by default to
    the one that is set for the process. With *content*, prompts, replies, arguments and
    results are in the spans, unless the runtime or the scenario keeps content to
    itself (`capture_content: false`); known secrets never are.

    Raises:
        ArgumentInvalid: Something given is of the wrong kind.
    """

    def __init__(
        self,
        *,
        tracer_provider: TracerProvider | None = None,
        meter_provider: MeterProvider | None = None,
        content: bool = False,
    ) -> None:
        wanted = "a provider of OpenTelemetry"
        if tracer_provider is not None:
            check_members("tracer_provider", tracer_provider, ("get_tracer",), wanted)

        if meter_provider is not None:
            check_members("meter_provider", meter_provider, ("get_meter",), wanted)

        check_flag("content", content)
        release = version("mma-runtime")
        self._tracer = get_tracer(SCOPE, release, tracer_provider)
        self._instruments = Instruments(get_meter(SCOPE, release, meter_provider))
        self._content = content

    def observe(self, run: ObservedRun) -> RunTelemetry:
        """Return what looks on at *run*; a host's current span becomes its parent."""
        return RunTelemetry(
            self._tracer,
            self._instruments,
            run,
            content=self._content and run.content,
        )
