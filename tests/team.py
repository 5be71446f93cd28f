"""A team whose models are functions, for tests that run whole scenarios."""

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

from mma_runtime import Scenario
from mma_runtime.llm.chat import AssistantTurn, ChatRequest, Completion, ToolCall
from mma_runtime.testing import FunctionProvider

ALL_MAY_RUN = {"policy": {"*": "auto"}}

Said = str | AssistantTurn | Completion
Answer = Callable[[ChatRequest], Said | Awaitable[Said]]

MODELS = {tier: {"model": "function:m"} for tier in ("orchestrator", "tech_lead")}


def team(**answers: Answer | Said) -> FunctionProvider:
    """Return a provider that answers by the task it is asked for.

    Tasks are `plan_epic`, `plan_track`, `accept`, `review`, `ticket` and `hint`. Work
    is done and accepted unless said otherwise.
    """
    known: Mapping[str, Answer | Said] = {
        "accept": accepted(),
        "review": accepted(),
        "ticket": "done",
        **answers,
    }

    def answer(request: ChatRequest) -> Said | Awaitable[Said]:
        task = request.origin.task
        if task == "plan":
            task = (
                "plan_epic" if request.origin.tier == "orchestrator" else "plan_track"
            )

        said = known[task]
        return said(request) if callable(said) else said

    return FunctionProvider(answer)


def accepted(remarks: str = "") -> str:
    """Return a verdict; with remarks it is a no."""
    return json.dumps({"accepted": not remarks, "remarks": remarks})


def tracks(*names: str) -> str:
    """Return an epic's plan."""
    return json.dumps({"tracks": [{"id": name, "goal": "a goal"} for name in names]})


def tickets(**needs: list[str]) -> str:
    """Return a track's plan: ids with what they depend on."""
    return json.dumps(
        {
            "tickets": [
                {"id": name, "description": "do it", "depends_on": depends_on}
                for name, depends_on in needs.items()
            ]
        }
    )


def use(name: str, **arguments: Any) -> AssistantTurn:
    """Return a turn that asks for one tool."""
    call = ToolCall(f"call-{name}", name, arguments, json.dumps(arguments))
    return AssistantTurn((call,))


def scenario(**keys: Any) -> Scenario:
    """Return a scenario for `team`: one ticket, unless *keys* say otherwise."""
    tiers = {"worker": {"model": "function:m"}, **keys.pop("tiers", {})}
    keys.setdefault("approvals", ALL_MAY_RUN)
    if not keys.keys() & {"epic", "track", "tickets"}:
        keys["tickets"] = [{"id": "one", "description": "do it"}]

    if "epic" in keys or "track" in keys:
        tiers = {**MODELS, **tiers}

    return Scenario.model_validate({"name": "test", "tiers": tiers, **keys})


def project(folder: Path, **files: str) -> Path:
    """Write a small project and return its folder; `__` in a name stands for a dot."""
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name.replace("__", ".")).write_text(text)

    return folder
