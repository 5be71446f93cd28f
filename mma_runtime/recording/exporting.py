"""A recorded run as a scripted scenario: a test of the same run that costs nothing."""

import os
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from mma_runtime.errors import ConfigurationError, JournalUnreadable
from mma_runtime.journal import JournalReader, Past
from mma_runtime.journal.codec import decode
from mma_runtime.journal.kinds import ANSWER, REPLY
from mma_runtime.journal.past import Recorded
from mma_runtime.llm.chat import AssistantTurn, Reasoning
from mma_runtime.recording.recording import JOURNAL, scenario_of
from mma_runtime.scenario.schema import TIERS, Scenario
from mma_runtime.workspace.writing import replace_file

_DROPPED = ("inputs", "limits", "providers")
_WITH_REFERENCES = ("mcp_servers",)


@dataclass(frozen=True, slots=True, kw_only=True)
class Exported:
    """What was written: a *scenario* and its *script* with so many *replies*.

    *rejected* counts the questions to which people said no: a script has no people.
    """

    scenario: Path
    script: Path
    replies: int
    rejected: int


def check_free(file: Path, *, replace: bool) -> None:
    """Refuse to export to *file* where it or its script is there already; blocks.

    With *replace* they may be. Raises `ConfigurationError`.
    """
    for path in (file, _script_of(file)):
        if not replace and os.path.lexists(path):
            raise ConfigurationError(
                f"{str(path)!r} is there already; `--force` replaces it"
            )


def export(run: Path, file: Path, *, replace: bool = False) -> Exported:
    """Write the recorded run in the folder *run* as the scenario *file*; blocks.

    Its script is written beside it. Each is there whole or not at all.

    Raises:
        ConfigurationError: One of them is there already, and not to be replaced.
        JournalUnreadable: The run's record cannot be read, or holds no reply.
        OSError: One of them cannot be written.
    """
    check_free(file, replace=replace)
    path = run / JOURNAL
    past = Past.read(path)
    replies = [one for (kind, _), one in past.done.items() if kind == REPLY]
    replies.sort(key=lambda one: one.record.seq)
    if not replies:
        raise JournalUnreadable(str(path), "it holds no reply that could be exported")

    priced, approved, rejected = _about(path)
    script = _script_of(file)
    given = scenario_of(past)
    plain = _plain(given, file, asked=approved + rejected > 0)
    stand_ins = {**_replace_models(plain, given), **priced}
    said = [_reply(one) for one in replies]
    _write(script, {"stands_in_for": stand_ins, "replies": said})
    # Last, as it names the script.
    _write(file, {**plain, "script": script.name})
    return Exported(
        scenario=file, script=script, replies=len(replies), rejected=rejected
    )


def _script_of(file: Path) -> Path:
    return file.with_suffix(".script.yaml")


def _about(path: Path) -> tuple[dict[str, str], int, int]:
    """Return what each tier was priced as, and how often people said yes and no."""
    priced: dict[str, str] = {}
    approved = rejected = 0
    with JournalReader(path) as reader:
        for record in reader.records():
            facts = record.facts
            if record.kind == "RunStarted":
                known = facts["priced_as"]
                models: Mapping[str, str] = facts["models"]
                priced = {tier: known.get(tier, one) for tier, one in models.items()}
            elif record.kind == ANSWER:
                approved += facts["approved"]
                rejected += not facts["approved"]

    return priced, approved, rejected


def _plain(scenario: Scenario, file: Path, *, asked: bool) -> dict[str, Any]:
    """Return *scenario* as plain values, as it has to be said in *file*."""
    place = file.absolute().parent
    found = scenario.model_dump(mode="json", exclude_defaults=True)
    plain = {
        name: value if name in _WITH_REFERENCES else _escaped(value)
        for name, value in found.items()
        if name not in _DROPPED
    }
    if scenario.workspace is not None:
        plain["workspace"]["path"] = os.path.relpath(scenario.workspace.path, place)
        # A test leaves the project as it is.
        plain["workspace"].pop("apply", None)

    for occasion, prompt in scenario.prompts.items():
        plain["prompts"][occasion] = os.path.relpath(prompt, place)

    if asked:
        # Nobody is there to be asked by a test; what was allowed is.
        plain["approvals"] = {"policy": {"*": "auto"}}
        plain.pop("mode", None)
        for ticket in plain.get("tickets", ()):
            ticket.pop("step", None)

    return plain


def _replace_models(plain: dict[str, Any], scenario: Scenario) -> dict[str, str]:
    """Put scripted models in place; return what those beside the tiers' stand for."""
    stand_ins = _stand_ins_before(scenario)

    def scripted(address: str) -> str:
        provider, _, model = address.partition(":")
        if provider == "scripted":
            return address

        label = f"{provider}-{model}"
        stand_ins[label] = address
        return f"scripted:{label}"

    tiers = plain.setdefault("tiers", {})
    for tier in TIERS:
        if scenario.tier(tier).model is not None:
            tiers.setdefault(tier, {})["model"] = f"scripted:{tier}"

    defaults = plain.get("defaults", {})
    defaults.pop("model", None)
    for options in (defaults, *tiers.values()):
        if options.get("escalate"):
            options["escalate"] = [scripted(one) for one in options["escalate"]]

    for ticket in plain.get("tickets", ()):
        if ticket.get("model"):
            ticket["model"] = scripted(ticket["model"])

    return stand_ins


def _stand_ins_before(scenario: Scenario) -> dict[str, str]:
    """Return what the models of a run stood for that was scripted itself."""
    if scenario.script is None:
        return {}

    with suppress(OSError, yaml.YAMLError, AttributeError):
        script = yaml.safe_load(scenario.script.read_text(encoding="utf-8"))
        return dict(script.get("stands_in_for", {}))

    return {}


def _escaped(value: Any) -> Any:
    """Return *value* with what would read as a reference written as it is meant."""
    if isinstance(value, str):
        return value.replace("${", "$${")

    return _escaped_many(value) if isinstance(value, list | dict) else value


def _escaped_many(value: Any) -> Any:
    if hasattr(value, "items"):
        return {name: _escaped(one) for name, one in value.items()}

    return [_escaped(one) for one in value]


def _write(path: Path, value: Mapping[str, Any]) -> None:
    text = yaml.safe_dump(value, sort_keys=False, allow_unicode=True)
    replace_file(path, text.encode())


def _reply(one: Recorded) -> dict[str, Any]:
    origin = one.record.origin
    turn: AssistantTurn = decode(one.contents["turn"])
    reply: dict[str, Any] = {"tier": origin.tier, "task": origin.task}
    if origin.track and not origin.ticket:
        reply["track"] = origin.track

    if origin.ticket:
        reply |= {"ticket": origin.ticket, "attempt": origin.attempt}

    reply["turn"] = int(one.record.call.rpartition(".")[2])
    if turn.text:
        reply["text"] = turn.text

    thoughts = "".join(p.text for p in turn.parts if isinstance(p, Reasoning))
    if thoughts:
        reply["reasoning"] = thoughts

    if turn.tool_calls:
        reply["tool_calls"] = [
            {"name": call.name, "arguments": dict(call.arguments)}
            if call.arguments is not None
            else {"name": call.name, "raw": call.raw}
            for call in turn.tool_calls
        ]

    reply["finish"] = one.facts["finish"]
    usage = one.facts["usage"]
    if usage is not None:
        reply["usage"] = {
            name: usage[name] for name in ("input", "output", "cache_read", "reasoning")
        }

    return reply
