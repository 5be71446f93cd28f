"""What is of the wrong kind is refused where it is handed in, by its name."""

import pickle
from collections.abc import Callable, Iterator, Mapping
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Any
from unittest.mock import Mock

import pytest

from mma_agents import TierAgent
from mma_runtime import (
    Actor,
    ActorSystem,
    Agent,
    Approval,
    Budget,
    CostReport,
    MMAError,
    Runtime,
    Tier,
    handles,
    tool,
)
from mma_runtime.errors import ArgumentInvalid, ConfigurationError
from mma_runtime.recording.changes import Changes
from mma_runtime.recording.forking import ForkPoint
from mma_runtime.runtime.tier_agents import installed_agents, load_agent
from mma_runtime.scenario.settings import Settings
from mma_runtime.telemetry import Telemetry
from mma_runtime.testing import FunctionProvider, ScriptedServer, assert_cost
from mma_runtime.tools.policy import Policy
from tests.team import scenario, team

Call = Callable[..., Any]


class Nobody:
    """No actor, no provider, nothing."""


class Alone(Actor):
    """An actor that takes no equipment."""


class Lead(TierAgent):
    """An agent of Tier 2."""

    tier = Tier.TECH_LEAD


class Nameless(FunctionProvider):
    name = None  # type: ignore[assignment] # the mistake


MADE: dict[str, tuple[Call, Mapping[str, Any], str]] = {
    "home": (Runtime, {"home": 42}, "`home` must be the path of a folder, not 42"),
    "providers": (Runtime, {"providers": "openai"}, "`providers` must be several"),
    "one provider": (Runtime, {"providers": team()}, "not a `FunctionProvider`"),
    "no provider": (Runtime, {"providers": [Nobody()]}, r"`providers\[0\]` .* `name`"),
    "its class": (Runtime, {"providers": [FunctionProvider]}, "not its class, not the"),
    "its name": (Runtime, {"providers": [Nameless(str)]}, r"`providers\[0\]\.name` "),
    "tools": (Runtime, {"tools": 42}, "`tools` must be several tools, not 42"),
    "no tool": (Runtime, {"tools": [42]}, r"`tools\[0\]` must be a `Tool`, .* not 42"),
    "environment": (Runtime, {"environment": ["KEY=sk-1"]}, "variables, not a `list`"),
    "settings": (Runtime, {"settings": {}}, "`settings` must be `Settings`"),
    "governor": (Runtime, {"governor": 3}, "`governor` must be a `Governor`, not 3"),
    "journal": (Runtime, {"journal": "no"}, "must be `True` or `False`, not 'no'"),
    "content": (Runtime, {"capture_content": 0}, "`capture_content` must be `True`"),
    "telemetry": (Runtime, {"telemetry": True}, "an `Observer`, which has `observe`"),
    "agents": (Runtime, {"agents": [Lead]}, "`agents` must be a table of tiers"),
    "no agent": (Runtime, {"agents": {"worker": Nobody}}, r"not the class `Nobody`"),
    "no class": (
        Runtime,
        {"agents": {"qa": Lead.origin}},
        "the function `TierAgent.or",
    ),
    "no equipment": (Runtime, {"agents": {"qa": Alone}}, "made of one `Equipment`"),
    "its tier": (Runtime, {"agents": {"qa": Lead}}, r"\.tier` must be `Tier\.QA`"),
    "tier": (Runtime, {"agents": {3: Lead}}, "`tier` must be a tier's name, not 3"),
    "model": (Agent, {"model": ""}, "`model` must be `provider:model`, .* not ''"),
    "models": (Agent, {"model": []}, "`model` must be `provider:model`"),
    "no model": (Agent, {"model": 42}, "`model` must be `provider:model`, .* not 42"),
    "instructions": (Agent, {"instructions": 3}, "`instructions` must be text, not 3"),
    "output": (Agent, {"output": Nobody}, "`output` must be a type that pydantic"),
    "budget": (Agent, {"budget": 3}, "`budget` must be a `Budget`, not 3"),
    "rounds": (Agent, {"max_tool_rounds": 0}, "`max_tool_rounds` must be greater than"),
    "number": (Agent, {"temperature": "hot"}, "`temperature` must be a valid number"),
    "name": (Agent, {"name": 3}, "`name` must be text, not 3"),
    "function": (tool, {"function": 3}, "`function` must be .* a `def`, not 3"),
    "class": (tool, {"function": Nobody}, "not the class `Nobody`"),
    "handler": (handles, {"method": 3}, "`method` must be .* a `def`, not 3"),
    "emit": (ActorSystem, {"emit": 3}, "`emit` must be a function of one event, not"),
    "answers": (FunctionProvider, {"function": 3}, "`function` must be a function of"),
    "approved": (Approval, {"approved": "no"}, "`approved` must be `True` or `False`"),
    "arguments": (Approval.approve, {"arguments": [1]}, "`arguments` must be a table"),
    "raise": (
        Changes,
        {"budget": {"usd": 1.5}},
        "must be a `Decimal`, not 1.5",
    ),
    "added": (Changes, {"rounds": "3"}, "`rounds` must be a number of rounds, not '3'"),
    "prices": (Settings, {"prices": 3}, "`prices` must be several prices, not 3"),
    "limits": (Settings, {"limits": [3]}, "`limits` must be a table of addresses"),
    "captured": (
        Settings,
        {"capture_content": "no"},
        "`capture_content` must be `True`",
    ),
    "event": (ForkPoint, {"event": "3"}, "`event` must be an event's number, not '3'"),
    "policy": (Policy.of, {"table": ["*"]}, "`table` must be a table of tools"),
    "tracers": (Telemetry, {"tracer_provider": 3}, "which has `get_tracer`, not 3"),
    "content told": (Telemetry, {"content": "yes"}, "`content` must be `True` or"),
    "said": (
        ScriptedServer.say,
        {"self": None, "said": 3},
        "`said` must be an `Answer`",
    ),
}
POSITIONAL = frozenset(("function", "method", "self", "said"))


@pytest.mark.parametrize("case", MADE)
def test_what_nothing_can_be_made_of_is_named(case: str) -> None:
    make, given, words = MADE[case]
    positional = [value for name, value in given.items() if name in POSITIONAL]
    named = {name: value for name, value in given.items() if name not in POSITIONAL}
    if make is Agent:
        named.setdefault("model", "function:m")

    with pytest.raises(ArgumentInvalid, match=words):
        make(*positional, **named)


QUESTION: Any = Agent("function:m")
DONE = {"scenario": scenario()}
# The method, what it is given, and what is said of that.
ASKED: Mapping[str, tuple[str, Mapping[str, Any], str]] = {
    "scenario": ("start", {"scenario": 42}, "must be a `Scenario` .* its path, not 42"),
    "table": ("start", {"scenario": {}}, "`Scenario.model_validate` makes one"),
    "models": ("start", {**DONE, "models": ["qa=x"]}, "`models` must be a table"),
    "model": ("start", {**DONE, "models": {"qa": 3}}, r"`models\['qa'\]` must be text"),
    "inputs": ("start", {**DONE, "inputs": ["a"]}, "`inputs` must be a table of names"),
    "input": ("start", {**DONE, "inputs": {"n": 3}}, r"`inputs\['n'\]` must be text"),
    "apply": ("start", {**DONE, "apply": "maybe"}, "'branch' or `None`, not 'maybe'"),
    "folder": ("start", {**DONE, "folder": 3}, "`folder` must be the path of a folder"),
    "agent": ("ask", {"agent": 42, "question": ""}, "`agent` must be an `Agent`, not"),
    "question": ("ask", {"agent": QUESTION, "question": 4}, "`question` must be text"),
    "run": ("resume", {"run": 42}, "`run` must be a run's name, .* not 42"),
    "changes": ("resume", {"run": "", "changes": {}}, "`changes` must be `Changes`"),
    "point": ("fork", {"run": "", "point": "a"}, "`point` must be a `ForkPoint`"),
    "scratch": ("replay", {"run": "", "scratch": 3}, "`scratch` must be the path"),
    "provider": (
        "models",
        {"provider": 3},
        "`provider` must be a provider's name, not",
    ),
    "kind": ("spawn", {"name": "a", "kind": Nobody}, "must be a subclass of `Actor`"),
    "instance": ("spawn", {"name": "a", "kind": Nobody()}, "`Actor`, not a `Nobody`"),
    "name": ("spawn", {"name": 3, "kind": Alone}, "`name` must be text without a '/'"),
}
ORDERED: Mapping[str, tuple[str, tuple[Any, ...], str]] = {
    "ticket": ("skip", (3,), "`ticket` must be a ticket's id, not 3"),
    "priority": ("prioritise", ("one", "soon"), "'high', 'medium', 'low', not 'soon'"),
    "approval": ("answer", ("q", True), "`approval` must be an `Approval`, not True"),
    "cancel": ("cancel", (3,), "`reason` must be text, not 3"),
    "pause": ("pause", (3,), "`reason` must be text, not 3"),
}


@pytest.mark.parametrize("case", ASKED)
async def test_what_a_runtime_cannot_do_anything_with_is_named(
    case: str, tmp_path: Path
) -> None:
    method, given, words = ASKED[case]
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        with pytest.raises(ArgumentInvalid, match=words):
            await getattr(runtime, method)(**given)


@pytest.mark.parametrize("case", ORDERED)
async def test_what_a_run_cannot_follow_is_named_and_does_it_no_harm(
    case: str, tmp_path: Path
) -> None:
    method, given, words = ORDERED[case]
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        with pytest.raises(ArgumentInvalid, match=words):
            await getattr(run, method)(*given)

        assert (await run.outcome()).completed


@pytest.mark.parametrize("capacity", [0, -1, "3"])
async def test_a_reader_has_room_for_one_event_at_least(
    capacity: Any, tmp_path: Path
) -> None:
    async with Runtime(home=tmp_path, providers=[team()]) as runtime:
        run = await runtime.start(scenario())
        with pytest.raises(ArgumentInvalid, match="a number of events from 1 on"):
            run.events(capacity=capacity)


def test_an_unknown_line_of_costs_is_named() -> None:
    with pytest.raises(ArgumentInvalid, match="'teir'"):
        assert_cost(CostReport(), teir="worker")
    with pytest.raises(ArgumentInvalid, match="'teir'"):
        CostReport().by("teir")


def test_what_is_refused_is_ours_and_pythons_and_can_be_pickled() -> None:
    with pytest.raises(ArgumentInvalid) as caught:
        Agent("function:m", budget="much")  # type: ignore[arg-type] # the mistake

    error = pickle.loads(pickle.dumps(caught.value))  # noqa: S301 - our own
    assert issubclass(ArgumentInvalid, MMAError)
    assert issubclass(ArgumentInvalid, TypeError)
    assert issubclass(ArgumentInvalid, ValueError)
    assert isinstance(error, ArgumentInvalid)
    assert (error.argument, error.given) == ("budget", "'much'")
    assert str(error) == str(caught.value)


def test_what_may_be_long_or_secret_is_told_by_its_type() -> None:
    secret = "sk-" + 80 * "x"

    for given in (secret, [secret], {"key": secret}, secret.encode()):
        with pytest.raises(ArgumentInvalid) as caught:
            Agent("function:m", budget=given)  # type: ignore[arg-type] # the mistake

        assert "sk-" not in str(caught.value)


@pytest.fixture
def nothing_looked_up() -> Iterator[None]:
    """What is installed is looked up once; here that is to be forgotten."""
    installed_agents.cache_clear()
    yield
    installed_agents.cache_clear()


@pytest.mark.usefixtures("nothing_looked_up")
@pytest.mark.parametrize(
    ("value", "words"),
    [
        ("no_such_module:Lead", "'no_such_module:Lead' .* cannot be loaded: No module"),
        ("builtins:Lead", "'builtins:Lead' .* cannot be loaded: .* no attribute"),
        ("builtins:str", "must be a class that extends `TierAgent`"),
    ],
)
def test_an_installed_agent_that_cannot_be_used_is_named(
    monkeypatch: pytest.MonkeyPatch, value: str, words: str
) -> None:
    point = EntryPoint("tech_lead", value, "mma.agents")
    monkeypatch.setattr(
        "mma_runtime.runtime.tier_agents.entry_points", Mock(return_value=[point])
    )

    with pytest.raises(ConfigurationError, match=words):
        load_agent(Tier.TECH_LEAD)


def test_what_is_right_passes() -> None:
    Runtime(
        home="runs",
        providers=iter([team()]),
        agents={"tech_lead": Lead},
        environment={},
        telemetry=None,
    )
    Agent("function:m", budget=Budget(calls=3), output=list[int], tools=())
