"""One run as spans and figures."""

import json
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from typing import Any

from anyio import get_cancelled_exc_class
from opentelemetry import context, trace
from opentelemetry.metrics import Histogram
from opentelemetry.trace import Span, SpanKind, Tracer
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from mma_runtime.errors import ProviderError
from mma_runtime.events import Event, Origin, RunFinished, TicketFinished
from mma_runtime.llm.chat import ChatRequest, Completion, Image, Text, ToolCall
from mma_runtime.llm.messages import answer_of, messages_of, text_of
from mma_runtime.observing import ObservedRun
from mma_runtime.telemetry import names
from mma_runtime.telemetry.instruments import Instruments
from mma_runtime.telemetry.tally import Tally, place_of
from mma_runtime.telemetry.work import CURRENT, Labels, Work

# Of what goes to a service, only the trace's own ids: baggage is the host's affair.
_TRACE_CONTEXT = TraceContextTextMapPropagator()


class RunTelemetry:
    """Looks on at one run: `invoke_workflow`, in it `invoke_agent`, in these the rest.

    Each span is current for what it surrounds, so that what tools and hosts trace
    themselves is a part of it. *content* says whether prompts and replies are in them.
    """

    def __init__(
        self,
        tracer: Tracer,
        instruments: Instruments,
        run: ObservedRun,
        *,
        content: bool,
    ) -> None:
        self._tracer = tracer
        self._instruments = instruments
        self._run = run
        self.content = content
        self._tally = Tally(instruments, run.clean)
        self._whole: Work | None = None
        # What a worker's span was last, by ticket and attempt: hints are part of it.
        self._attempts: dict[str, tuple[int, Span]] = {}

    def note(self, event: Event) -> None:
        """Count *event* and put it down where it belongs."""
        if isinstance(event, TicketFinished):
            self._attempts.pop(event.origin.ticket, None)

        work = CURRENT.get()
        if work is None or work.run != self._run.id:
            work = self._whole

        self._tally.note(event, work)
        if isinstance(event, RunFinished) and work is not None:
            work.span.set_attribute(names.RUN_STATE, event.state)
            if event.state not in {"completed", "paused"}:
                work.fail(event.state)

    @contextmanager
    def run(self) -> Generator[None]:
        """Surround the whole run; the host's current span is the parent."""
        name = self._run.name
        labels: Labels = {names.OPERATION: "invoke_workflow", names.AGENT: name}
        more: Labels = {names.WORKFLOW: name, names.RESUMED: self._run.resumed}
        title = f"invoke_workflow {name}"
        seconds = self._instruments.agent_seconds
        with self._work(title, SpanKind.INTERNAL, labels, more, seconds) as work:
            self._whole = work
            try:
                yield
            finally:
                self._tally.close()

    @contextmanager
    def agent(self, origin: Origin, model: str) -> Generator[None]:
        """Surround what an agent does for one task; a hint is part of its attempt."""
        provider, _, name = model.partition(":")
        labels: Labels = {
            names.OPERATION: "invoke_agent",
            names.AGENT: origin.tier,
            names.PROVIDER: names.provider_name(provider),
            names.REQUEST_MODEL: name,
            names.TIER: origin.tier,
        }
        title, place = f"invoke_agent {origin.tier}", place_of(origin)
        seconds = self._instruments.agent_seconds
        kind, above = SpanKind.INTERNAL, self._attempt(origin)
        with self._work(title, kind, labels, place, seconds, part_of=above) as work:
            if origin.tier == "worker":
                self._attempts[origin.ticket] = origin.attempt, work.span

            yield

    @contextmanager
    def chat(
        self, request: ChatRequest, model: str, attempt: int
    ) -> Generator["_Chat"]:
        """Surround one attempt at a call."""
        provider, _, name = model.partition(":")
        origin = request.origin
        labels: Labels = {
            names.OPERATION: "chat",
            names.PROVIDER: names.provider_name(provider),
            names.REQUEST_MODEL: name,
            names.TIER: origin.tier,
        }
        more = {**place_of(origin), **_asked(request), names.CALL_ATTEMPT: attempt}
        title, seconds = f"chat {name}", self._instruments.chat_seconds
        with self._work(title, SpanKind.CLIENT, labels, more, seconds) as work:
            if self.content and work.span.is_recording():
                self._put(work, names.SYSTEM, _instructions(request.system))
                self._put(work, names.INPUT_MESSAGES, messages_of(request.turns))

            yield _Chat(self, work, streamed=request.streamed)

    @contextmanager
    def tool(self, call: ToolCall, origin: Origin) -> Generator["_Tool"]:
        """Surround one tool."""
        labels: Labels = {
            names.OPERATION: "execute_tool",
            names.TOOL: call.name,
            names.TIER: origin.tier,
        }
        more: Labels = {
            **place_of(origin),
            names.TOOL_CALL: call.id,
            names.TOOL_TYPE: "function",
        }
        title, seconds = f"execute_tool {call.name}", self._instruments.tool_seconds
        with self._work(title, SpanKind.INTERNAL, labels, more, seconds) as work:
            if self.content and work.span.is_recording():
                given = call.raw if call.arguments is None else dict(call.arguments)
                self._put(work, names.TOOL_ARGUMENTS, given)

            yield _Tool(self, work)

    def completed(
        self, work: Work, completion: Completion, first_chunk: float | None
    ) -> None:
        """Put down an answer, and after how many seconds it began."""
        span, labels, usage = work.span, work.labels, completion.usage
        labels[names.RESPONSE_MODEL] = completion.model
        span.set_attribute(names.RESPONSE_MODEL, completion.model)
        span.set_attribute(names.FINISH_REASONS, [completion.finish.value])
        if completion.request_id is not None:
            span.set_attribute(names.RESPONSE_ID, completion.request_id)

        if first_chunk is not None:
            span.set_attribute(names.FIRST_CHUNK, first_chunk)
            self._instruments.first_chunk_seconds.record(first_chunk, labels)

        if usage is not None:
            work.use(usage)
            for name, tokens in (
                (names.CACHE_READ_TOKENS, usage.cache_read),
                (names.CACHE_WRITE_TOKENS, usage.cache_write),
                (names.REASONING_TOKENS, usage.reasoning),
            ):
                if tokens:
                    span.set_attribute(name, tokens)

            for kind, tokens in (("input", usage.input), ("output", usage.output)):
                typed = {**labels, names.TOKEN_TYPE: kind}
                self._instruments.tokens.record(tokens, typed)

        if self.content and span.is_recording():
            self._put(work, names.OUTPUT_MESSAGES, [answer_of(completion)])

    def returned(
        self,
        work: Work,
        content: Sequence[Text | Image],
        error: Exception | None,
    ) -> None:
        """Put down what a tool came to; the words of its error are content."""
        if error is not None:
            work.fail(type(error).__name__)

        if self.content and work.span.is_recording():
            self._put(work, names.TOOL_RESULT, text_of(content))

    @contextmanager
    def _work(
        self,
        title: str,
        kind: SpanKind,
        labels: Labels,
        more: Labels,
        seconds: Histogram,
        *,
        part_of: Span | None = None,
    ) -> Generator[Work]:
        around = None if part_of is None else trace.set_span_in_context(part_of)
        span = self._tracer.start_span(
            title,
            context=around,
            kind=kind,
            attributes={**labels, **more, names.CONVERSATION: self._run.id},
        )
        # A hint may be thought of in the worker's own task; its tokens are others'.
        above = CURRENT.get() if part_of is None else self._whole
        parent = above if above is not None and above.run == self._run.id else None
        work = Work(self._run.id, span, labels, parent)
        token = context.attach(trace.set_span_in_context(span))
        mark = CURRENT.set(work)
        try:
            yield work
        except BaseException as error:
            self._fail(work, error)
            raise
        finally:
            CURRENT.reset(mark)
            context.detach(token)
            seconds.record(work.seconds, work.labels)
            work.end()

    def _attempt(self, origin: Origin) -> Span | None:
        """Return the attempt that an agent of Tier 4 helps; it may have ended."""
        attempt, span = self._attempts.get(origin.ticket, (0, None))
        return span if origin.tier == "qa" and attempt == origin.attempt else None

    def _fail(self, work: Work, error: BaseException) -> None:
        if isinstance(error, get_cancelled_exc_class()):
            work.fail(names.CANCELLED)
        elif isinstance(error, ProviderError):
            work.fail(type(error).__name__, self._run.clean(str(error)))
        else:
            # What it says may be content.
            work.fail(type(error).__name__)

    def _put(self, work: Work, name: str, content: Any) -> None:
        text = content
        if not isinstance(content, str):
            text = json.dumps(content, ensure_ascii=False, default=str)

        work.span.set_attribute(name, self._run.clean(text))


class _Chat:
    def __init__(self, owner: RunTelemetry, work: Work, *, streamed: bool) -> None:
        self._owner = owner
        self._work = work
        self._streamed = streamed
        self._first_chunk: float | None = None
        carrier: dict[str, str] = {}
        _TRACE_CONTEXT.inject(carrier)
        self.headers = tuple(carrier.items())

    def chunk(self) -> None:
        """Take the time of the first one."""
        if self._first_chunk is None and self._streamed:
            self._first_chunk = self._work.seconds

    def completed(self, completion: Completion) -> None:
        """Put down the answer."""
        self._owner.completed(self._work, completion, self._first_chunk)


class _Tool:
    def __init__(self, owner: RunTelemetry, work: Work) -> None:
        self._owner = owner
        self._work = work

    def ended(self, content: tuple[Text | Image, ...], error: Exception | None) -> None:
        """Put down the result."""
        self._owner.returned(self._work, content, error)


def _asked(request: ChatRequest) -> Labels:
    asked: Labels = {names.REQUEST_STREAM: request.streamed}
    if request.max_output_tokens is not None:
        asked[names.REQUEST_MAX_TOKENS] = request.max_output_tokens

    if request.temperature is not None:
        asked[names.REQUEST_TEMPERATURE] = request.temperature

    if request.response_schema is not None:
        asked[names.OUTPUT_TYPE] = "json"

    return asked


def _instructions(system: str) -> list[dict[str, str]]:
    return [{"type": "text", "content": system}]
