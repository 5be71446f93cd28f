"""The wire server as a stand-in for each service."""

import httpx2
import pytest

from mma_runtime import Runtime, Scenario
from mma_runtime.errors import AuthenticationFailed, RateLimited
from mma_runtime.testing import (
    Answer,
    Call,
    Failure,
    ScriptedServer,
    assert_completed,
    assert_cost,
    wire_server,
)
from tests.providers.services import SERVICES, Service, collect, opened

ADDRESSES = [
    "openai:gpt-4o-mini",
    "openai-responses:gpt-4o-mini",
    "anthropic:claude-sonnet-5",
    "gemini:gemini-3.8-flash",
]


@pytest.mark.parametrize("address", ADDRESSES)
async def test_a_run_on_real_clients_ends_on_loopback(address: str) -> None:
    scenario = Scenario.model_validate(
        {
            "name": "wire",
            "tiers": {"worker": {"model": address}},
            "tickets": [{"id": "a", "description": "Say yes."}],
        }
    )
    with wire_server(Answer(text="yes", input_tokens=7)) as server:
        async with Runtime(environment=server.environment()) as runtime:
            run = await runtime.start(scenario)
            outcome = await run.outcome()

    assert_completed(outcome)
    assert assert_cost(outcome, calls=1).usage.input == 7
    assert len(server.requests) == 1


@pytest.mark.parametrize("service", SERVICES, ids=lambda service: service.name)
@pytest.mark.parametrize(
    ("status", "error"), [(401, AuthenticationFailed), (429, RateLimited)]
)
async def test_a_failure_is_worded_as_the_service_would(
    service: Service, status: int, error: type[Exception]
) -> None:
    with wire_server(Failure(status=status, message="no")) as server:
        async with opened(service, server) as provider:
            with pytest.raises(error, match="no"):
                await collect(provider, service.ask())


def test_a_server_with_nothing_more_to_say_says_so() -> None:
    with wire_server() as server:
        answer = httpx2.post(f"{server.openai_url}/chat/completions", json={})

    assert answer.status_code == 500
    assert "no more to say" in answer.text


async def test_tool_calls_are_answered_in_turn() -> None:
    with ScriptedServer() as server:
        server.say_always(Answer(calls=(Call(name="f", arguments={"n": 1}),)))
        for service in SERVICES:
            async with opened(service, server) as provider:
                _, completion = await collect(provider, service.ask())
            assert completion.turn.tool_calls[0].arguments == {"n": 1}
