"""The trace goes along: to services of models, and to MCP servers."""

import anyio
import pytest
from opentelemetry.sdk.trace import ReadableSpan

from mma_runtime import Runtime
from mma_runtime.llm.chat import ChatRequest, ToolTurn
from mma_runtime.testing import Answer, assert_completed, wire_server
from tests.eavesdropping import everything_told
from tests.team import Said, scenario, team, use
from tests.telemetry.conftest import Seen, identity
from tests.tool_server import reached

ADDRESS = "openai:gpt-4o-mini"


def parent_of(span: ReadableSpan) -> str:
    """Return the header that names *span* as the parent."""
    found = identity(span)
    number, part = f"{found.trace_id:032x}", f"{found.span_id:016x}"
    return f"00-{number}-{part}-{found.trace_flags:02x}"


async def test_services_learn_which_trace_a_call_is_part_of(seen: Seen) -> None:
    with wire_server(Answer(text="yes")) as server:
        async with Runtime(
            environment=server.environment(), telemetry=seen.telemetry()
        ) as runtime:
            run = await runtime.start(scenario(tiers={"worker": {"model": ADDRESS}}))
            assert_completed(await run.outcome())

    (chat,) = [span for span in seen.spans if span.name.startswith("chat")]
    assert server.requests[0].headers["traceparent"] == parent_of(chat)


async def test_services_learn_nothing_without_telemetry(seen: Seen) -> None:
    with wire_server(Answer(text="yes")) as server:
        async with Runtime(environment=server.environment()) as runtime:
            with seen.tracers.get_tracer("host").start_as_current_span("request"):
                run = await runtime.start(
                    scenario(tiers={"worker": {"model": ADDRESS}})
                )

            assert_completed(await run.outcome())

    assert "traceparent" not in server.requests[0].headers
    assert [span.name for span in seen.spans] == ["request"]


@pytest.mark.parametrize("transport", ["stdio", "http"])
async def test_mcp_servers_learn_which_trace_a_call_is_part_of(
    seen: Seen, transport: str
) -> None:
    told: list[str] = []

    def answer(request: ChatRequest) -> Said:
        if isinstance(request.turns[-1], ToolTurn):
            told.append(everything_told(request))
            return "done"

        return use("mcp__notes__trace")

    with anyio.fail_after(60):
        async with (
            reached(transport) as server,
            Runtime(
                providers=[team(ticket=answer)], telemetry=seen.telemetry()
            ) as runtime,
        ):
            run = await runtime.start(
                scenario(
                    mcp_servers={"notes": server},
                    tiers={
                        "worker": {"model": "function:m", "tools": ["mcp__notes__*"]}
                    },
                )
            )
            await run.outcome()

    assert parent_of(seen.one("execute_tool mcp__notes__trace")) in told[0]
