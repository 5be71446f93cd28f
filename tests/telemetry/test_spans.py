"""A run becomes one trace: the run, its agents, their calls and tools."""

import json
from decimal import Decimal
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from anyio import Event as Signal
from anyio import create_task_group, fail_after
from opentelemetry import baggage, context, trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind, StatusCode

from mma_runtime import Agent, Runtime, tool
from mma_runtime.errors import (
    ProviderFacts,
    ProviderOverloaded,
    RequestRejected,
    ToolFailed,
)
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, Completion, Finish, Text
from mma_runtime.llm.usage import Usage
from mma_runtime.outcome import Outcome
from mma_runtime.telemetry import Telemetry, names
from tests.team import Said, project, scenario, team, tickets, tracks, use
from tests.telemetry.conftest import Seen, attributes, identity

SECRET = "sk-very-secret-0123456789"  # noqa: S105 - nobody's
ENVIRONMENT = {"OPENAI_API_KEY": SECRET}
EPIC: dict[str, Any] = {"epic": "a private epic", "tiers": {}}


@tool
async def peek(path: str) -> str:
    """Look at a file."""
    return f"the content of {path}, {SECRET}"


@tool
async def stumble(path: str) -> str:
    """Fail."""
    raise ToolFailed(f"private trouble with {path}")


def once(request: ChatRequest) -> Said:
    """Use the tool in the first round, then conclude."""
    if request.turn == 1:
        return use("peek", path="a/private/place")

    return "private words"


def stumbling(request: ChatRequest) -> Said:
    """Use the tool that fails, then conclude."""
    if request.turn == 1:
        return use("stumble", path="a/private/place")

    return "private words"


def billed(said: str) -> Completion:
    return Completion(
        turn=AssistantTurn((Text(said),)),
        finish=Finish.STOP,
        usage=Usage(input=100, output=20, cache_read=40, cache_write=30, reasoning=5),
        model="m-2026",
        request_id="req-7",
    )


async def run(
    seen: Seen,
    *,
    content: bool = False,
    keys: dict[str, Any] | None = None,
    options: dict[str, Any] | None = None,
    **answers: Any,
) -> Outcome:
    provider = team(**{"ticket": once, **answers})
    async with Runtime(
        providers=[provider],
        tools=[peek, stumble],
        telemetry=seen.telemetry(content=content),
        environment=ENVIRONMENT,
        **(options or {}),
    ) as runtime:
        started = await runtime.start(scenario(**(keys or {})))
        return await started.outcome()


async def test_a_run_is_a_tree_of_spans(seen: Seen) -> None:
    await run(
        seen, keys=EPIC, plan_epic=tracks("t"), plan_track=tickets(a=[]), ticket=once
    )

    (workflow,) = seen.tree().items()
    assert workflow[0] == "invoke_workflow test"
    assert workflow[1] == {
        "invoke_agent orchestrator": {"chat m": {}},
        "invoke_agent tech_lead": {"chat m": {}},
        "invoke_agent worker": {"chat m": {}, "execute_tool peek": {}},
    }
    assert len({identity(span).trace_id for span in seen.spans}) == 1
    kinds = {span.name: span.kind for span in seen.spans}
    assert kinds.pop("chat m") is SpanKind.CLIENT
    assert set(kinds.values()) == {SpanKind.INTERNAL}


@pytest.mark.parametrize("when", ["meanwhile", "afterwards"])
async def test_a_hint_is_part_of_the_attempt_that_it_helps(
    seen: Seen, tmp_path: Path, when: str
) -> None:
    command = "python broken.py"

    mend = use("write_file", path="broken.py", content="")
    first = use("run_command", command=command) if when == "meanwhile" else "done"
    answers: list[Said] = [first, mend, "done"]

    def work(request: ChatRequest) -> Said:
        return answers[request.turn - 1]

    keys: dict[str, Any] = {
        "tiers": {"qa": {"model": "function:m"}},
        "workspace": {"path": str(project(tmp_path / "p", broken__py="1 / 0\n"))},
        "tickets": [{"id": "one", "description": "mend", "acceptance": [command]}],
    }
    outcome = await run(
        seen, keys=keys, ticket=work, hint="no", options={"home": tmp_path / "home"}
    )

    assert outcome.completed
    hint = seen.one("invoke_agent qa")
    workers = sorted(
        seen.named("invoke_agent worker"), key=lambda span: span.start_time or 0
    )
    assert hint.parent is not None
    assert hint.parent.span_id == identity(workers[0]).span_id
    (chat,) = (span for span in seen.named("chat m") if span.parent == hint.context)
    assert attributes(chat)[names.TIER] == "qa"
    own = [span for span in seen.named("chat m") if span.parent == workers[0].context]
    tokens = [attributes(span)[names.INPUT_TOKENS] for span in own]
    assert attributes(workers[0])[names.INPUT_TOKENS] == sum(tokens)


async def test_a_question_to_a_single_agent_is_traced_too(seen: Seen) -> None:
    async with Runtime(
        providers=[team(ticket=once)], telemetry=seen.telemetry()
    ) as runtime:
        await runtime.ask(Agent("function:m", tools=[peek]), "What is there?")

    ((_, agents),) = seen.tree().items()
    assert agents == {"invoke_agent worker": {"chat m": {}, "execute_tool peek": {}}}


async def test_a_chat_has_the_attributes_of_the_convention(seen: Seen) -> None:
    outcome = await run(
        seen,
        ticket=billed("done"),
        keys={
            "tiers": {"worker": {"model": "function:m", "max_output_tokens": 500}},
            "prices": [{"match": "m", "input": 1, "output": 2}],
        },
    )

    found = attributes(seen.one("chat m"))
    assert {name: found[name] for name in found if "first_chunk" not in name} == {
        names.OPERATION: "chat",
        names.PROVIDER: "function",
        names.REQUEST_MODEL: "m",
        names.REQUEST_STREAM: True,
        names.REQUEST_MAX_TOKENS: 500,
        names.RESPONSE_MODEL: "m-2026",
        names.RESPONSE_ID: "req-7",
        names.FINISH_REASONS: ("stop",),
        names.INPUT_TOKENS: 100,
        names.OUTPUT_TOKENS: 20,
        names.CACHE_READ_TOKENS: 40,
        names.CACHE_WRITE_TOKENS: 30,
        names.REASONING_TOKENS: 5,
        names.CONVERSATION: outcome.run,
        names.TIER: "worker",
        names.TICKET: "one",
        names.TASK: "ticket",
        names.ATTEMPT: 1,
        names.CALL_ATTEMPT: 1,
        names.COST: float(outcome.costs.total.usd),
    }
    assert outcome.costs.total.usd > Decimal(0)


async def test_what_calls_used_is_summed_up_in_agents_and_the_run(seen: Seen) -> None:
    await run(
        seen,
        keys=EPIC,
        plan_epic=tracks("t"),
        plan_track=tickets(a=[]),
        ticket=billed("done"),
        review=billed('{"accepted": true, "remarks": ""}'),
    )

    worker = attributes(seen.one("invoke_agent worker"))
    whole = attributes(seen.one("invoke_workflow test"))
    chats = [attributes(span) for span in seen.named("chat m")]
    assert worker[names.INPUT_TOKENS] == 100
    assert whole[names.INPUT_TOKENS] == sum(
        chat.get(names.INPUT_TOKENS, 0) for chat in chats
    )


async def test_an_agent_and_a_tool_are_named(seen: Seen) -> None:
    outcome = await run(seen)

    worker = attributes(seen.one("invoke_agent worker"))
    assert worker[names.OPERATION] == "invoke_agent"
    assert worker[names.AGENT] == "worker"
    assert worker[names.TICKET] == "one"
    used = attributes(seen.one("execute_tool peek"))
    assert used[names.OPERATION] == "execute_tool"
    assert used[names.TOOL] == "peek"
    assert used[names.TOOL_TYPE] == "function"
    assert used[names.TOOL_CALL] == "call-peek"
    whole = attributes(seen.one("invoke_workflow test"))
    assert whole[names.WORKFLOW] == "test"
    assert whole[names.RUN_STATE] == "completed"
    assert whole[names.CONVERSATION] == outcome.run
    assert whole[names.RESUMED] is False


def test_the_names_are_those_of_the_convention() -> None:
    ours = {
        value
        for name, value in vars(names).items()
        if name.isupper() and isinstance(value, str) and value.startswith("gen_ai.")
    }

    convention = import_module(
        "opentelemetry.semconv._incubating.attributes.gen_ai_attributes"
    )
    theirs = {
        value
        for value in vars(convention).values()
        if isinstance(value, str) and value.startswith("gen_ai.")
    }
    assert ours <= theirs
    known = {one.value for one in convention.GenAiProviderNameValues}
    assert {names.provider_name(one) for one in ("openai", "gemini", "anthropic")} <= (
        known
    )
    assert names.provider_name("scripted") == "scripted"


async def test_no_content_is_in_spans_unless_it_is_asked_for(seen: Seen) -> None:
    await run(
        seen,
        keys=EPIC,
        plan_epic=tracks("t"),
        plan_track=tickets(a=[]),
        ticket=stumbling,
    )

    assert "private" not in told(seen.spans)


async def test_content_is_in_spans_when_it_is_asked_for(seen: Seen) -> None:
    await run(seen, content=True)

    first, second = sorted(seen.named("chat m"), key=lambda span: span.start_time or 0)
    (message,) = json.loads(attributes(second)[names.OUTPUT_MESSAGES])
    assert message == {
        "role": "assistant",
        "parts": [{"type": "text", "content": "private words"}],
        "finish_reason": "stop",
    }
    said = json.loads(attributes(second)[names.INPUT_MESSAGES])
    assert [one["role"] for one in said] == ["user", "assistant", "tool"]
    assert said[1]["parts"][0]["type"] == "tool_call"
    assert said[2]["parts"][0]["type"] == "tool_call_response"
    assert json.loads(attributes(first)[names.SYSTEM])[0]["content"]
    used = attributes(seen.one("execute_tool peek"))
    assert json.loads(used[names.TOOL_ARGUMENTS]) == {"path": "a/private/place"}
    assert "the content of" in used[names.TOOL_RESULT]
    assert SECRET not in told(seen.spans)


@pytest.mark.parametrize("who", ["options", "keys"])
async def test_who_keeps_content_to_itself_has_the_last_word(
    seen: Seen, who: str
) -> None:
    asked: dict[str, Any] = {who: {"capture_content": False}}

    await run(seen, content=True, **asked)

    assert "private" not in told(seen.spans)


async def test_a_failed_tool_is_marked_without_its_words(seen: Seen) -> None:
    await run(
        seen,
        ticket=stumbling,
    )

    span = seen.one("execute_tool stumble")
    assert attributes(span)[names.ERROR_TYPE] == "ToolFailed"
    assert span.status.status_code is StatusCode.ERROR
    assert "trouble" not in told([span])
    assert seen.one("invoke_agent worker").status.status_code is StatusCode.UNSET


async def test_each_attempt_of_a_call_is_a_span(seen: Seen) -> None:
    tries: list[int] = []

    def answer(request: ChatRequest) -> Said:
        tries.append(request.turn)
        if len(tries) == 1:
            raise ProviderOverloaded(
                f"too much for {SECRET}",
                ProviderFacts(provider="function", status=529, retry_after=0.0),
            )

        return "done"

    await run(seen, ticket=answer)

    failed, good = sorted(seen.named("chat m"), key=lambda span: span.start_time or 0)
    assert attributes(failed)[names.ERROR_TYPE] == "ProviderOverloaded"
    assert failed.status.status_code is StatusCode.ERROR
    assert attributes(good)[names.CALL_ATTEMPT] == 2
    assert names.ERROR_TYPE not in attributes(good)
    assert "mma.model_call_failed" in notes(seen.one("invoke_agent worker"))
    assert SECRET not in told(seen.spans)


async def test_a_fallback_is_noted_and_asked(seen: Seen) -> None:
    def unreachable(request: ChatRequest) -> Said:
        if request.model == "m":
            raise ProviderOverloaded(
                "overloaded", ProviderFacts(provider="function", retry_after=999.0)
            )

        return "done"

    outcome = await run(
        seen,
        ticket=unreachable,
        keys={"tiers": {"worker": {"model": ["function:m", "function:n"]}}},
    )

    assert outcome.completed
    assert seen.named("chat n")
    assert "mma.model_fell_back" in notes(seen.one("invoke_agent worker"))


async def test_a_run_that_fails_says_how(seen: Seen) -> None:
    def refuse(request: ChatRequest) -> Said:
        raise RequestRejected("no", ProviderFacts(provider="function", status=400))

    await run(seen, ticket=refuse)

    whole = seen.one("invoke_workflow test")
    assert attributes(whole)[names.RUN_STATE] == "provider_failed"
    assert attributes(whole)[names.ERROR_TYPE] == "provider_failed"
    assert whole.status.status_code is StatusCode.ERROR
    agent = seen.one("invoke_agent worker")
    assert attributes(agent)[names.ERROR_TYPE] == "RequestRejected"


@pytest.mark.parametrize("where", ["chat", "tool"])
async def test_spans_end_when_a_run_is_cancelled(seen: Seen, where: str) -> None:
    hanging = Signal()

    @tool
    async def hang() -> str:
        """Take for ever."""
        hanging.set()
        await Signal().wait()
        return "never"

    async def answer(request: ChatRequest) -> Said:
        if where == "tool":
            return use("hang")

        hanging.set()
        await Signal().wait()
        return "never"

    slow: Any = answer
    provider = team(ticket=slow)
    with fail_after(10):
        async with Runtime(
            providers=[provider], tools=[hang], telemetry=seen.telemetry()
        ) as runtime:
            started = await runtime.start(scenario())
            await hanging.wait()
            await started.cancel()

    whole = seen.one("invoke_workflow test")
    assert attributes(whole)[names.ERROR_TYPE] == "cancelled"
    cut = seen.one("chat m" if where == "chat" else "execute_tool hang")
    assert attributes(cut)[names.ERROR_TYPE] == "cancelled"
    agent = seen.one("invoke_agent worker")
    assert attributes(agent)[names.ERROR_TYPE] == "cancelled"


async def test_the_hosts_span_is_the_parent(seen: Seen) -> None:
    tracer = seen.tracers.get_tracer("host")
    with tracer.start_as_current_span("request"):
        await run(seen)

    ((name, below),) = seen.tree().items()
    assert name == "request"
    assert list(below) == ["invoke_workflow test"]


async def test_what_a_tool_traces_is_part_of_its_span(seen: Seen) -> None:
    @tool
    def query() -> str:
        """Ask a database, in a thread."""
        with seen.tracers.get_tracer("host").start_as_current_span("SELECT"):
            return "rows"

    provider = team(
        ticket=lambda request: use("query") if request.turn == 1 else "done"
    )
    async with Runtime(
        providers=[provider], tools=[query], telemetry=seen.telemetry()
    ) as runtime:
        await (await runtime.start(scenario())).outcome()

    worker = seen.tree()["invoke_workflow test"]["invoke_agent worker"]
    assert worker["execute_tool query"] == {"SELECT": {}}


async def test_runs_at_the_same_time_do_not_mix(seen: Seen) -> None:
    runs: set[str] = set()
    async with Runtime(
        providers=[team(ticket=once)], tools=[peek], telemetry=seen.telemetry()
    ) as runtime:

        async def one() -> None:
            started = await runtime.start(scenario())
            runs.add((await started.outcome()).run)

        async with create_task_group() as group:
            for _ in range(5):
                group.start_soon(one)

    traces = {identity(span).trace_id for span in seen.spans}
    assert len(traces) == len(runs) == 5
    pairs = {
        (identity(span).trace_id, attributes(span)[names.CONVERSATION])
        for span in seen.spans
    }
    assert len(pairs) == 5


async def test_the_hosts_context_is_left_as_it_was(seen: Seen) -> None:
    before = context.get_current()

    await run(seen)

    assert context.get_current() == before


async def test_calls_carry_the_trace_and_no_baggage(seen: Seen) -> None:
    asked: list[ChatRequest] = []

    def answer(request: ChatRequest) -> Said:
        asked.append(request)
        return "done"

    token = context.attach(baggage.set_baggage("user", "somebody"))
    try:
        await run(seen, ticket=answer)
    finally:
        context.detach(token)

    ((name, value),) = asked[0].headers
    chat = seen.one("chat m")
    assert name == "traceparent"
    assert value.split("-")[1] == trace.format_trace_id(identity(chat).trace_id)
    assert value.split("-")[2] == trace.format_span_id(identity(chat).span_id)


async def test_calls_carry_nothing_without_telemetry(seen: Seen) -> None:
    asked: list[ChatRequest] = []

    def answer(request: ChatRequest) -> Said:
        asked.append(request)
        return "done"

    with seen.tracers.get_tracer("host").start_as_current_span("request"):
        async with Runtime(providers=[team(ticket=answer)]) as runtime:
            await (await runtime.start(scenario())).outcome()

    assert asked[0].headers == ()
    assert [span.name for span in seen.spans] == ["request"]


async def test_without_an_sdk_nothing_is_recorded_and_runs_go_on() -> None:
    async with Runtime(
        providers=[team(ticket=once)], tools=[peek], telemetry=Telemetry(content=True)
    ) as runtime:
        outcome = await (await runtime.start(scenario())).outcome()

    assert outcome.completed


async def test_a_resumed_run_is_a_trace_of_its_own_without_the_calls_of_before(
    seen: Seen, tmp_path: Path
) -> None:
    outcome = await run(seen, options={"journal": True, "home": tmp_path})
    before = len(seen.spans)

    async with Runtime(
        providers=[team(ticket=once)],
        tools=[peek],
        telemetry=seen.telemetry(),
        home=tmp_path,
        environment=ENVIRONMENT,
    ) as runtime:
        resumed = await runtime.resume(outcome.run)
        await resumed.outcome()
        replayed = await runtime.replay(outcome.run, tmp_path / "scratch")
        await replayed.outcome()

    later = seen.spans[before:]
    assert not [span for span in later if span.name.startswith(("chat", "execute"))]
    (whole,) = [span for span in later if span.name == "invoke_workflow test"]
    assert attributes(whole)[names.RESUMED] is True
    assert attributes(whole)[names.CONVERSATION] == outcome.run
    assert names.INPUT_TOKENS not in attributes(whole)


def told(spans: Any) -> str:
    return "\n".join(span.to_json() for span in spans)


def notes(span: ReadableSpan) -> list[str]:
    return [event.name for event in span.events]
