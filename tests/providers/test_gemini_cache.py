"""Large prefixes are kept at Gemini, renewed while used, and removed at the end."""

from typing import Any

import pytest

from mma_providers import gemini_cache
from mma_runtime.errors import RequestRejected
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, Text, user
from mma_runtime.testing.wire.answers import Answer
from mma_runtime.testing.wire.generate_content import error_reply
from mma_runtime.testing.wire.scripted import ScriptedServer
from mma_runtime.testing.wire.server import Recorded, Reply, json_reply
from tests.providers.services import GEMINI, READ_FILE, collect, opened

NAME = "cachedContents/one"
LONG = "A rule of the project. " * 1_000


class Service:
    """Answers requests and keeps prefixes; *gone* refuses the kept one."""

    def __init__(self, *, refuses: bool = False) -> None:
        self.refuses = refuses
        self.gone = False
        self.calls: list[str] = []
        self.sent: list[dict[str, Any]] = []

    def __call__(self, request: Recorded) -> Answer | Reply:
        if "cachedContents" in request.path:
            self.calls.append(request.method)
            if self.refuses:
                return error_reply(400, word="INVALID_ARGUMENT")
            return json_reply({"name": NAME} if request.method != "DELETE" else {})

        self.sent.append(request.body)
        if self.gone and "cachedContent" in request.body:
            return error_reply(403, word="PERMISSION_DENIED")
        return Answer(text="ok")


def ask(*, system: str = LONG, turns: int = 2) -> ChatRequest:
    said = (user("Hi"), AssistantTurn((Text("Yes?"),)), user("Go on"))
    return GEMINI.ask(system=system, turns=said[:turns], tools=(READ_FILE,))


async def run(
    wire: ScriptedServer, service: Service, *requests: ChatRequest, ttl: float | None
) -> None:
    wire.say_always(service)
    async with opened(GEMINI, wire, cache_ttl=ttl) as provider:
        for request in requests:
            await collect(provider, request)


async def test_a_prefix_is_kept_when_it_comes_again_and_removed_at_the_end(
    wire: ScriptedServer,
) -> None:
    service = Service()

    await run(wire, service, ask(), ask(), ask(turns=3), ttl=300)

    assert service.calls == ["POST", "DELETE"]
    whole, short, last = service.sent
    assert "systemInstruction" in whole
    assert short["cachedContent"] == last["cachedContent"] == NAME
    assert not {"systemInstruction", "tools"} & set(short)
    assert [content["role"] for content in last["contents"]] == ["model", "user"]
    (kept,) = (
        r.body for r in wire.requests if r.method == "POST" and "cached" in r.path
    )
    assert kept["ttl"] == "300s"
    assert kept["systemInstruction"] == whole["systemInstruction"]
    assert kept["tools"] == whole["tools"]


async def test_it_is_renewed_after_most_of_its_time(wire: ScriptedServer) -> None:
    service = Service()
    wire.say_always(service)

    async with opened(GEMINI, wire, cache_ttl=300) as provider:
        for _ in range(3):
            await collect(provider, ask())
        prefixes: Any = vars(provider)["_prefixes"]
        (kept,) = prefixes._kept.values()
        kept.renew_at = 0.0
        for _ in range(2):
            await collect(provider, ask())

    assert service.calls == ["POST", "PATCH", "DELETE"]


async def test_one_that_has_run_out_is_kept_anew(wire: ScriptedServer) -> None:
    service = Service()

    await run(wire, service, ask(), ask(), ask(), ttl=0.0)

    assert service.calls == ["POST", "POST", "DELETE"]


@pytest.mark.parametrize(
    ("request_", "ttl"),
    [(ask(system="Be brief."), 300), (ask(turns=1), 300), (ask(), None)],
)
async def test_small_single_or_unwanted_prefixes_are_not_kept(
    wire: ScriptedServer, request_: ChatRequest, ttl: float | None
) -> None:
    service = Service()

    await run(wire, service, request_, request_, request_, ttl=ttl)

    assert service.calls == []


async def test_where_the_service_refuses_requests_go_whole(
    wire: ScriptedServer,
) -> None:
    service = Service(refuses=True)

    await run(wire, service, ask(), ask(), ask(), ttl=300)

    assert service.calls == ["POST"]
    assert all("systemInstruction" in body for body in service.sent)


async def test_a_service_that_refused_is_asked_again_after_its_time(
    wire: ScriptedServer,
) -> None:
    service = Service(refuses=True)

    await run(wire, service, ask(), ask(), ask(), ask(), ttl=0.0)

    assert service.calls == ["POST", "POST", "POST"]
    assert all("systemInstruction" in body for body in service.sent)


async def test_prefixes_of_long_ago_are_forgotten(
    wire: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gemini_cache, "_MEMORY", -1.0)
    service = Service()

    await run(wire, service, ask(), ask(), ask(), ttl=300)

    assert service.calls == []


async def test_a_prefix_that_is_gone_is_sent_again(wire: ScriptedServer) -> None:
    service = Service()
    wire.say_always(service)

    async with opened(GEMINI, wire, cache_ttl=300) as provider:
        for _ in range(2):
            await collect(provider, ask())
        service.gone = True
        await collect(provider, ask())

    assert ["cachedContent" in body for body in service.sent[2:]] == [True, False]


async def test_another_refusal_is_passed_on(wire: ScriptedServer) -> None:
    service = Service()
    wire.say_always(service)

    async with opened(GEMINI, wire, cache_ttl=300) as provider:
        for _ in range(2):
            await collect(provider, ask())
        wire.say(error_reply(400, word="INVALID_ARGUMENT"))
        with pytest.raises(RequestRejected):
            await collect(provider, ask())
