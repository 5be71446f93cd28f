"""What a tier's model would receive for a scenario, without asking any model."""

import json
import re
import tempfile
from collections.abc import AsyncGenerator, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio

from mma_runtime.errors import ConfigurationError
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Finish,
    Image,
    Text,
    ToolCall,
    UserTurn,
)
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.llm.tokens import TOKENS_PER_IMAGE, estimate_tokens
from mma_runtime.runtime.runtime import Runtime
from mma_runtime.scenario.schema import Scenario, TierOptions
from mma_runtime.scenario.spending import Budget
from mma_runtime.scenario.toolset import Approvals
from mma_runtime.tiers import Tier

_TRACK = {"id": "track", "title": "(Tier 1's title)", "goal": "(what Tier 1 writes)"}
_TICKET = {
    "id": "ticket",
    "title": "(Tier 2's title)",
    "description": "(what Tier 2 writes: WHERE, WHAT, HOW, SAFE)",
}
_FAILURE = {"command": ["python", "-c", "raise SystemExit('(what a command prints)')"]}
_HEADING = re.compile(r"^(?=## )", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Part:
    """A part of a request; *tokens* is an estimate."""

    name: str
    text: str
    tokens: int


async def preview(scenario: Scenario, tier: Tier) -> ChatRequest:
    """Return the first request that *tier* would send.

    The whole way to it is gone, in a copy of the workspace that is removed afterwards;
    what upper tiers would write is stood in for.

    Raises:
        ConfigurationError: the scenario does not get as far as *tier*.
    """
    peek = _Peek(tier)
    with tempfile.TemporaryDirectory() as home:
        async with Runtime(home=Path(home), providers=[peek]) as runtime:
            run = await runtime.start(_without_models(scenario, tier))
            async with anyio.create_task_group() as group:

                async def watch() -> None:
                    await run.outcome()
                    group.cancel_scope.cancel()

                group.start_soon(watch)
                await peek.found.wait()
                group.cancel_scope.cancel()

    if peek.request is None:
        raise ConfigurationError(
            f"the scenario does not get as far as the tier {tier.value!r}"
        )

    return peek.request


def parts(request: ChatRequest) -> Iterator[Part]:
    """Take a request apart: what is the same for all first, then by heading."""
    yield _part("system", request.system)
    if request.tools:
        specs = [
            {"name": t.name, "description": t.description, "parameters": t.parameters}
            for t in request.tools
        ]
        yield _part("tools", json.dumps(specs, ensure_ascii=False, indent=2))

    for turn in request.turns:
        for part in turn.parts if isinstance(turn, UserTurn) else ():
            if isinstance(part, Image):
                size = f"{len(part.data):,} bytes of {part.media_type}"
                yield Part("image", size, TOKENS_PER_IMAGE)
                continue

            for text in filter(str.strip, _HEADING.split(part.text)):
                name = text.partition("\n")[0].removeprefix("## ")
                yield _part(name if text.startswith("## ") else "(no heading)", text)


def _part(name: str, text: str) -> Part:
    return Part(name, text.strip(), estimate_tokens(text))


def _without_models(scenario: Scenario, tier: Tier) -> Scenario:
    """Return the scenario with nothing in it that costs or asks."""
    plain: dict[str, Any] = {"budget": None, "escalate": (), "policy": {}}
    wanted = {"model": "peek:m", **plain}
    tiers = {
        one.value: getattr(scenario.tiers, one.value).model_copy(update=wanted)
        for one in Tier
        if one is tier or getattr(scenario.tiers, one.value).model or one is Tier.WORKER
    }
    defaults: TierOptions = scenario.defaults.model_copy(
        update={**plain, "model": scenario.defaults.model and "peek:m"}
    )
    tickets = scenario.tickets and tuple(
        ticket.model_copy(update={"model": None, "step": False})
        for ticket in scenario.tickets
    )
    return scenario.model_copy(
        update={
            "tiers": scenario.tiers.model_copy(update=tiers),
            "defaults": defaults,
            "tickets": tickets,
            "budget": Budget(),
            "mode": "auto",
            "approvals": Approvals(policy={"*": "auto"}),
        }
    )


class _Peek:
    """Stands in for every model, and keeps the first request of one tier."""

    def __init__(self, tier: Tier) -> None:
        self.request: ChatRequest | None = None
        self.found = anyio.Event()
        self._tier = tier

    @property
    def name(self) -> str:
        return "peek"

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        if request.origin.tier == self._tier:
            self.request = request
            self.found.set()
            await anyio.sleep_forever()

        yield Completion(
            turn=self._stand_in(request), finish=Finish.STOP, usage=None, model="m"
        )

    def _stand_in(self, request: ChatRequest) -> AssistantTurn:
        match request.origin.tier, request.origin.task:
            case "orchestrator", "plan":
                return _says({"tracks": [_TRACK]})
            case "tech_lead", "plan":
                return _says({"tickets": [_TICKET]})
            case "worker", _ if self._tier is Tier.QA and request.turn == 1:
                return AssistantTurn((ToolCall("c", "run_command", _FAILURE, "{}"),))
            case "worker", _:
                return AssistantTurn((Text("done"),))
            case _:
                return _says({"accepted": True, "remarks": ""})

    async def models(self) -> tuple[ModelInfo, ...]:
        return ()

    def capabilities(self, model: str) -> Capabilities:  # noqa: ARG002 - Protocol
        return Capabilities()

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        return self.name, model, False

    async def aclose(self) -> None:
        """Do nothing: there are no connections."""


def _says(answer: dict[str, Any]) -> AssistantTurn:
    return AssistantTurn((Text(json.dumps(answer, ensure_ascii=False)),))
