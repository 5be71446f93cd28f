"""`mma check`: says what a scenario would do and what it lacks; runs nothing."""

import os
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from mma_runtime.cli.options import (
    inputs_option,
    json_option,
    models_option,
    scenario_file,
)
from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results, report_error
from mma_runtime.cli.wording import count, dollars
from mma_runtime.errors import CredentialsMissing, MMAError
from mma_runtime.registry import Registry
from mma_runtime.scenario.load import load
from mma_runtime.scenario.schema import Scenario
from mma_runtime.staffing import SCRIPTED, registry_of, tier_settings


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One tier's model; *key* says where its key was found, *problem* why not."""

    tier: str
    model: str
    scripted: bool
    key: str
    problem: str

    @property
    def remark(self) -> str:
        """Say whether the model is real, and whether it can be reached."""
        if self.scripted:
            return "scripted, nothing is billed"

        if self.problem:
            # What to do about it is the same for all; the JSON has it.
            return f"real model, KEY MISSING: {self.problem.partition('. ')[0]}"

        return f"real model, key from {self.key}" if self.key else "real model, no key"


@click.command("check")
@scenario_file
@models_option
@inputs_option
@json_option
def command(
    *,
    file: Path,
    models: tuple[tuple[str, str], ...],
    inputs: tuple[tuple[str, str], ...],
    as_json: bool,
) -> int:
    """Check the scenario FILE and say what it would do; nothing is run or sent.

    All problems are shown at once, each with its line. Exit codes: 0 valid, also when a
    key is missing; 2 invalid.
    """
    results = Results(sys.stdout)
    try:
        scenario = load(file, inputs=dict(inputs), environ=os.environ)
        folders = (file.absolute().parent, Path.cwd())
        registry = registry_of(scenario, Registry(), folders)
        posts = tuple(_posts(scenario.with_models(dict(models)), registry))
    except MMAError as error:
        return report_error(error, results if as_json else None)

    if as_json:
        results.write(to_json(_record(file, scenario, posts), indent=2))
    else:
        results.write("\n".join(_lines(file, scenario, posts)))

    return 0


def _posts(scenario: Scenario, registry: Registry) -> Iterable[Post]:
    tiers = tier_settings(scenario, registry, os.environ, ())
    addresses = [settings.address for settings in tiers.values()]
    if any(address.startswith(f"{SCRIPTED}:") for address in addresses):
        # Made and dropped: it opens nothing, but reads the whole script.
        registry.open_provider(SCRIPTED, script=scenario.script)

    for tier, address in zip(tiers, addresses, strict=True):
        key = problem = ""
        try:
            key = registry.credentials_for(address.partition(":")[0]).source
        except CredentialsMissing as error:
            problem = str(error)

        yield Post(
            tier=tier.value,
            model=address,
            scripted=address.startswith(f"{SCRIPTED}:"),
            key=key,
            problem=problem,
        )


def _lines(file: Path, scenario: Scenario, posts: tuple[Post, ...]) -> Iterable[str]:
    yield f"ok: {file} ({scenario.name})"
    yield f"  begins with  {_entry(scenario)}"
    yield f"  workspace    {_workspace(scenario)}"
    yield f"  budget       {_budget(scenario)}"
    tier_width = max(len(post.tier) for post in posts)
    model_width = max(len(post.model) for post in posts)
    for post in posts:
        tier, model = post.tier.ljust(tier_width), post.model.ljust(model_width)
        yield f"  {tier}  {model}  {post.remark}"


def _entry(scenario: Scenario) -> str:
    if scenario.epic is not None:
        return "an epic, planned by the orchestrator"

    if scenario.track is not None:
        return f"the track {scenario.track.id!r}, planned by the tech lead"

    return f"{count(len(scenario.tickets or ()), 'ticket')}, ready for workers"


def _workspace(scenario: Scenario) -> str:
    workspace = scenario.workspace
    if workspace is None:
        return "none, so there are no file tools"

    then = "written back after a success" if workspace.apply else "kept apart"
    return f"{workspace.path}; changes are {then}"


def _budget(scenario: Scenario) -> str:
    budget = scenario.budget
    limits = [dollars(budget.usd)] if budget.usd is not None else []
    limits += [count(budget.tokens, "token")] if budget.tokens is not None else []
    limits += [count(budget.calls, "call")] if budget.calls is not None else []
    limits += [f"{budget.seconds:g} s"] if budget.seconds is not None else []
    return ", ".join(limits) or "none"


def _record(file: Path, scenario: Scenario, posts: tuple[Post, ...]) -> dict[str, Any]:
    return {
        "ok": True,
        "file": str(file),
        "name": scenario.name,
        "budget": scenario.budget.model_dump(mode="json"),
        "tickets": [ticket.id for ticket in scenario.tickets or ()],
        "tiers": {
            post.tier: {
                "model": post.model,
                "scripted": post.scripted,
                "key": post.key or None,
                "problem": post.problem or None,
            }
            for post in posts
        },
    }
