"""What a scenario can say: every key of the file, with its meaning and its default.

The same classes build a scenario in Python; a file goes through `scenario.load`, which
adds the line and column to every problem.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    BeforeValidator,
    ConfigDict,
    Field,
    ValidationInfo,
    model_validator,
)

from mma_runtime.arguments import check_text, check_texts
from mma_runtime.errors import ConfigurationError, did_you_mean
from mma_runtime.plan import CommandEntry, Ticket, Track
from mma_runtime.registry.table import ProviderEntry
from mma_runtime.scenario.checks import ENTRIES, findings
from mma_runtime.scenario.project import Workspace
from mma_runtime.scenario.spending import (
    AccountLimits,
    Budget,
    LevelBudget,
    Price,
    Retries,
    Usd,
)
from mma_runtime.scenario.table import MOST, Table
from mma_runtime.scenario.toolset import Approvals, Decisions, McpServerEntry, Sandbox

TIERS = ("orchestrator", "tech_lead", "worker", "qa")

# What `checks` has already said, with positions, when a file is loaded.
CHECKED = {"checked": True}


def tier_name(text: str) -> str:
    """Return the name of the tier that *text* names: `worker`, `tier3` or `3`.

    Raises:
        ConfigurationError: There is no such tier.
    """
    check_text("tier", text, "a tier's name")
    name = text.strip().lower().replace("-", "_")
    number = name.removeprefix("tier").removeprefix("_")
    if number in {"1", "2", "3", "4"}:
        return TIERS[int(number) - 1]

    if name not in TIERS:
        raise ConfigurationError(
            f"there is no tier {text!r}{did_you_mean(name, TIERS)}"
            f" (tiers are {', '.join(TIERS)}, or 1 to 4)"
        )

    return name


class Input(Table):
    """One value that a run is given by `--input name=value`; used as `${name}`."""

    description: str = Field(default="", description="What the value is for.")
    default: str | None = Field(
        default=None, description="The value when none is given."
    )
    required: bool = Field(default=False, description="Whether it has to be given.")


class TierOptions(Table):
    """How one tier works; what is left out comes from `defaults`."""

    model: str | tuple[str, ...] | None = Field(
        default=None,
        description="`provider:model`, as in `openai:gpt-4o-mini`; or a list of them,"
        " tried in order when one is not available.",
        examples=["openai:gpt-4o-mini"],
        min_length=1,
    )
    temperature: float | None = Field(
        default=None,
        ge=0,
        le=2,
        description="Sampling temperature, from 0 to 2; the provider's if left out.",
    )
    max_output_tokens: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Tokens of one answer, hidden reasoning included.",
    )
    max_tool_rounds: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Workers only: tool rounds of one task; MAX_TOOL_ROUNDS (10) if"
        " left out.",
    )
    tools: tuple[str, ...] | None = Field(
        default=None,
        description="Workers only: names of the tools, `*` standing for anything, as in"
        " `mcp__tracker__*`; if left out all but `fetch_url`.",
    )
    count: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Workers only: tickets in work at the same time; 4.",
    )
    attempts: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Workers only: attempts at one ticket; one for each model of"
        " `escalate` and the tier's own, else 3.",
    )
    policy: Decisions = Field(
        default={},
        description="Workers only: as `approvals.policy`, and goes before it.",
    )
    escalate: tuple[str, ...] = Field(
        default=(),
        description="Workers only: the models of later attempts at a ticket, the next"
        " one each time; `provider:model`.",
    )
    max_context_tokens: int | None = Field(
        default=None,
        gt=0,
        le=MOST,
        description="Tokens of history that are sent; older rounds are left out first."
        " 100,000, or what the model takes.",
    )
    max_added_tickets: int | None = Field(
        default=None,
        ge=0,
        le=MOST,
        description="Tech lead only: tickets that it may add to a track after its"
        " plan; 4.",
    )
    budget: LevelBudget | None = Field(
        default=None, description="What the tier may use up over the whole run."
    )
    reasoning_effort: str | None = Field(
        default=None,
        description="For models that reason: `low`, `medium`, `high`, as they take it.",
    )


class Tiers(Table):
    """The four tiers of the team."""

    orchestrator: TierOptions = Field(
        default=TierOptions(),
        description="Tier 1: an epic into tracks; accepts tracks.",
    )
    tech_lead: TierOptions = Field(
        default=TierOptions(),
        description="Tier 2: a track into tickets; reviews each diff.",
    )
    worker: TierOptions = Field(
        default=TierOptions(), description="Tier 3: does one ticket with tools."
    )
    qa: TierOptions = Field(
        default=TierOptions(),
        description="Tier 4: a failing command's output into a hint.",
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class TierSetup:
    """What holds for one tier after `defaults` were filled in.

    *max_tool_rounds* is `None` where the scenario leaves it to `MAX_TOOL_ROUNDS`;
    *tools* is `None` where it leaves them to the tier. *count* and *attempts* are
    for workers, *max_added_tickets* for tech leads only. *fallbacks* are the models
    after the first.
    """

    name: str
    model: str | None
    fallbacks: tuple[str, ...]
    temperature: float | None
    max_output_tokens: int | None
    max_tool_rounds: int | None
    tools: tuple[str, ...] | None
    count: int
    attempts: int
    escalate: tuple[str, ...]
    max_context_tokens: int | None
    max_added_tickets: int
    reasoning_effort: str | None
    budget: LevelBudget


def _path_alone(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


class FileExpectation(Table):
    """What has to hold for one file of the result; a bare path means that it exists."""

    path: str = Field(description="The file, relative to the workspace.")
    exists: bool = Field(default=True, description="Whether it has to be there.")
    contains: tuple[str, ...] = Field(
        default=(), description="Texts that have to be in it."
    )


class Expect(Table):
    """What has to hold at the end, or the run has failed."""

    outcome: Literal[
        "completed",
        "failed",
        "over_budget",
        "bounded",
        "provider_failed",
        "cancelled",
        "paused",
    ] = Field(default="completed", description="How the run ends.")
    files: tuple[Annotated[FileExpectation, BeforeValidator(_path_alone)], ...] = Field(
        default=(), description="Files of the result."
    )
    commands: tuple[CommandEntry, ...] = Field(
        default=(),
        description="Commands that have to succeed in the result; run without shell. As"
        " text, or as `{run: ..., once: true}` where one must not happen twice.",
    )
    max_usd: Usd | None = Field(
        default=None,
        description="US dollars that it may have cost; a call of unknown cost counts"
        " with the most that it can have cost.",
    )


class Scenario(Table):
    """A team, a task and what is expected of it; one of epic, track, tickets."""

    model_config: ClassVar[ConfigDict] = ConfigDict(
        title="mma-runtime scenario",
        json_schema_extra={"oneOf": [{"required": [entry]} for entry in ENTRIES]},
    )

    version: Annotated[int, Field(ge=1, le=1)] = Field(
        default=1, description="The version of these keys; 1."
    )
    name: str = Field(default="", description="A short name; the file's if left out.")
    description: str = Field(
        default="", description="What it shows or does, for people."
    )
    inputs: dict[str, Input] = Field(
        default={},
        description="Values from outside, by name; used as `${name}` in any text.",
    )
    workspace: Workspace | None = Field(
        default=None,
        description="What the team works on; without it there are no file tools.",
    )
    mode: Literal["auto", "step"] = Field(
        default="auto",
        description="`step` asks before every ticket and every tool call.",
    )
    approvals: Approvals = Field(
        default=Approvals(),
        description="What people are asked, and what if they do not answer.",
    )
    sandbox: Sandbox | None = Field(
        default=None,
        description="`auto` runs commands behind bubblewrap's walls where it works,"
        " `strict` begins no run without it, `off` does not use it; what `mma.toml`"
        " says if left out, else `auto`.",
    )
    mcp_servers: dict[str, McpServerEntry] = Field(
        default={},
        description="MCP servers by name, beside those in `mma.toml`; their tools are"
        " named `mcp__SERVER__TOOL`.",
    )
    capture_content: bool = Field(
        default=True,
        description="Record prompts, replies and outputs; without them a run can be"
        " looked at, but neither resumed nor replayed.",
    )
    once: dict[str, bool | tuple[str, ...]] = Field(
        default={},
        description="Calls that must not happen twice, however often the run is"
        " resumed: by tool `true`, or patterns as in `approvals.policy`. Patterns of"
        " `run_command` hold for acceptance and expected commands, too; a single one is"
        " marked where it is written, with `{run: ..., once: true}`.",
        examples=[{"run_command": ["./deploy.sh *"], "send_mail": True}],
    )
    budget: Budget = Field(default=Budget(), description="What the run may use up.")
    defaults: TierOptions = Field(
        default=TierOptions(),
        description="What holds for every tier that does not say.",
    )
    tiers: Tiers = Field(default=Tiers(), description="The team.")
    epic: str | None = Field(
        default=None,
        min_length=1,
        description="A whole task in words; Tier 1 plans tracks.",
    )
    track: Track | None = Field(
        default=None, description="One track; Tier 2 plans tickets."
    )
    tickets: tuple[Ticket, ...] | None = Field(
        default=None, description="Ready tickets; workers begin at once."
    )
    providers: dict[str, ProviderEntry] = Field(
        default={},
        description="Servers that models may be of, by name, beside the known ones.",
    )
    prices: tuple[Price, ...] = Field(
        default=(),
        description="Prices that come before the built-in ones; first match wins.",
    )
    limits: dict[str, AccountLimits] = Field(
        default={},
        description="Rate limits by `provider` or `provider:model`.",
    )
    retries: Retries = Field(
        default=Retries(), description="When failed model calls are sent again."
    )
    expect: Expect = Field(default=Expect(), description="What is checked at the end.")
    rules: tuple[str, ...] = Field(
        default=(),
        description="Files of the workspace with the project's rules, for tiers 1 to"
        " 3.",
    )
    context: tuple[str, ...] = Field(
        default=(),
        description="Documents and images of the workspace for those that plan; no"
        " source.",
    )
    prompts: dict[str, Path] = Field(
        default={},
        description="Prompts of one's own, by occasion: Markdown files, relative to"
        " the scenario's.",
    )
    script: Path | None = Field(
        default=None,
        description="The file of replies for models of the provider `scripted`.",
    )

    @model_validator(mode="after")
    def _check_as_a_whole(self, info: ValidationInfo) -> Self:
        if info.context is not CHECKED:
            found = findings(self.model_dump(exclude_none=True))
            if found:
                raise ValueError("; ".join(str(finding) for finding in found))

        return self

    def tier(self, name: str) -> TierSetup:
        """Return what holds for tier *name*: its own keys, then `defaults`."""
        own: TierOptions = getattr(self.tiers, name)
        defaults = self.defaults

        def said(key: str, otherwise: Any = None) -> Any:
            for options in (own, defaults):
                value = getattr(options, key, None)
                if value is not None:
                    return value

            return otherwise

        model = said("model")
        models = (model,) if isinstance(model, str) else tuple(model or ())
        escalate: tuple[str, ...] = own.escalate or defaults.escalate
        return TierSetup(
            name=name,
            model=models[0] if models else None,
            fallbacks=models[1:],
            temperature=said("temperature"),
            max_output_tokens=said("max_output_tokens"),
            max_tool_rounds=said("max_tool_rounds"),
            tools=said("tools"),
            count=said("count", 4),
            attempts=said("attempts", 1 + len(escalate) if escalate else 3),
            escalate=escalate,
            max_context_tokens=said("max_context_tokens"),
            max_added_tickets=said("max_added_tickets", 4),
            reasoning_effort=said("reasoning_effort"),
            budget=own.budget or defaults.budget or LevelBudget(),
        )

    def with_models(self, models: Mapping[str, str]) -> Self:
        """Return the same scenario with other models for some tiers.

        *models* maps tiers, named as `tier_name` takes them, to `provider:model`.

        Raises:
            ArgumentInvalid: It maps other than texts to texts.
            ConfigurationError: There is no such tier.
        """
        check_texts("models", models, "a table of tiers and models")
        tiers: dict[str, TierOptions] = {}
        for tier, model in models.items():
            name = tier_name(tier)
            options: TierOptions = getattr(self.tiers, name)
            tiers[name] = options.model_copy(update={"model": model})

        return self.model_copy(update={"tiers": self.tiers.model_copy(update=tiers)})
