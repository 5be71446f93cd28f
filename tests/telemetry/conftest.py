"""Providers that keep what is traced and measured in memory."""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import SpanContext

from mma_runtime.telemetry import Telemetry


class Seen:
    """What has been traced and measured so far."""

    def __init__(self) -> None:
        self._spans = InMemorySpanExporter()
        self._figures = InMemoryMetricReader()
        self.tracers = TracerProvider()
        self.tracers.add_span_processor(SimpleSpanProcessor(self._spans))
        self.meters = MeterProvider(metric_readers=[self._figures])

    def telemetry(self, *, content: bool = False) -> Telemetry:
        return Telemetry(
            tracer_provider=self.tracers, meter_provider=self.meters, content=content
        )

    @property
    def spans(self) -> tuple[ReadableSpan, ...]:
        return self._spans.get_finished_spans()

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    def tree(self) -> dict[str, Any]:
        """Return the names of all spans, each with those below it."""
        children = defaultdict[int, list[ReadableSpan]](list)
        for span in self.spans:
            children[span.parent.span_id if span.parent else 0].append(span)

        def below(number: int) -> dict[str, Any]:
            return {
                span.name: below(identity(span).span_id)
                for span in sorted(children[number], key=lambda span: span.name)
            }

        return below(0)

    def figures(self, name: str) -> list[Any]:
        """Return the data points of a metric."""
        data = self._figures.get_metrics_data()
        if data is None:
            return []

        return [
            point
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
            if metric.name == name
            for point in metric.data.data_points
        ]

    def units(self) -> dict[str, str]:
        data = self._figures.get_metrics_data()
        assert data is not None
        return {
            metric.name: metric.unit or ""
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def identity(span: ReadableSpan) -> SpanContext:
    found: SpanContext | None = span.context
    assert found is not None
    return found


def attributes(span: ReadableSpan) -> Mapping[str, Any]:
    assert span.attributes is not None
    return span.attributes


@pytest.fixture
def seen() -> Iterator[Seen]:
    seen = Seen()
    yield seen
    seen.tracers.shutdown()
    seen.meters.shutdown()
