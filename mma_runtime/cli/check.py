"""`mma check`: says what a scenario would do and what it lacks; runs nothing."""

import os
import shlex
import sys
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import which
from typing import Any

import anyio
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
from mma_runtime.errors import (
    ConfigurationError,
    CredentialsMissing,
    CredentialsUnusable,
    MMAError,
)
from mma_runtime.llm.base_url import shown_url
from mma_runtime.registry import Registry
from mma_runtime.runtime.staffing import SCRIPTED, registry_of, tier_settings
from mma_runtime.runtime.tool_servers import load_mcp
from mma_runtime.scenario.load import load
from mma_runtime.scenario.schema import Scenario
from mma_runtime.scenario.settings import Settings, load_settings
from mma_runtime.scenario.tooling import mcp_server, sandbox_mode
from mma_runtime.tools.command import search_path
from mma_runtime.tools.sandbox import SandboxMode, find_confinement
from mma_runtime.tools.servers import McpServer


@dataclass(frozen=True, slots=True, kw_only=True)
class Post:
    """One tier's model; *key* says where its key was found, *problem* why not.

    *server* is its address where it is not the service's own; *advice* says in short
    what to do about the problem, *looked_in* names the files that may hold the key.
    """

    tier: str
    model: str
    scripted: bool
    server: str = ""
    key: str = ""
    problem: str = ""
    advice: str = ""
    looked_in: tuple[str, ...] = ()

    @property
    def remark(self) -> str:
        """Say whether the model is real, and whether it can be reached."""
        if self.scripted:
            return "scripted, nothing is billed"

        if self.problem:
            return f"real model, {self.advice}"

        at = f", at {self.server}" if self.server else ""
        return f"real model, {f'key from {self.key}' if self.key else 'no key'}{at}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Server:
    """An MCP server, and how it is *reached*; *problem* says why it could not be."""

    name: str
    reached: str
    problem: str


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
    key, a variable or bubblewrap is missing; 2 invalid.
    """
    results = Results(sys.stdout)
    try:
        here = Registry(folders=[Path.cwd()])
        scenario = load(
            file,
            inputs=dict(inputs),
            environ=os.environ,
            registry=here,
            models=dict(models),
        )
        folders = (file.absolute().parent, Path.cwd())
        registry = registry_of(scenario, Registry(), folders)
        posts = tuple(_posts(scenario, registry))
        settings = load_settings(registry.folders)
        walls = anyio.run(_walls, sandbox_mode(scenario, settings))
        servers = tuple(_servers(scenario, settings, registry))
    except MMAError as error:
        return report_error(error, results if as_json else None)

    if as_json:
        results.write(to_json(_record(file, scenario, posts, walls, servers), indent=2))
    else:
        results.write("\n".join(_lines(file, scenario, posts, walls, servers)))

    return 0


def _posts(scenario: Scenario, registry: Registry) -> Iterable[Post]:
    tiers = tier_settings(scenario, registry, os.environ)
    addresses = [settings.address for settings in tiers.values()]
    if any(address.startswith(f"{SCRIPTED}:") for address in addresses):
        # Made and dropped: it opens nothing, but reads the whole script.
        registry.open_provider(SCRIPTED, script=scenario.script)

    for tier, address in zip(tiers, addresses, strict=True):
        yield _post(tier.value, address, registry)


def _post(tier: str, address: str, registry: Registry) -> Post:
    name = address.partition(":")[0]
    post = Post(tier=tier, model=address, scripted=name == SCRIPTED)
    try:
        found = registry.credentials_for(name)
    except CredentialsMissing as error:
        variables = " or ".join(error.variables)
        advice = f"KEY MISSING: set {variables}" if variables else "KEY MISSING"
        return replace(post, problem=str(error), advice=advice, looked_in=error.files)
    except CredentialsUnusable as error:
        return replace(post, problem=str(error), advice=f"KEY UNUSABLE: {error}")

    return replace(post, key=found.source, server=shown_url(found.base_url or ""))


async def _walls(mode: SandboxMode) -> str:
    """Say what will stand around commands, or why a run would be refused."""
    try:
        return (await find_confinement(mode)).name
    except ConfigurationError as error:
        return f"MISSING: {error}"


def _servers(
    scenario: Scenario, settings: Settings, registry: Registry
) -> Iterable[Server]:
    for name, entry in {**settings.mcp_servers, **scenario.mcp_servers}.items():
        command = entry.command or ""
        reached = command if isinstance(command, str) else shlex.join(command)
        problem = ""
        try:
            load_mcp()
            server = mcp_server(name, entry, registry.variable)
        except ConfigurationError as error:
            problem = str(error)
        else:
            problem = _unstartable(server)

        yield Server(name=name, reached=entry.url or reached, problem=problem)


def _unstartable(server: McpServer) -> str:
    if not server.command:
        return ""

    program, folder = server.command[0], Path(server.folder or "")
    found = which(program, path=search_path())
    if "/" in program:
        found = which(folder / program)

    return "" if found else f"there is no program {program!r}"


def _lines(
    file: Path,
    scenario: Scenario,
    posts: tuple[Post, ...],
    walls: str,
    servers: tuple[Server, ...],
) -> Iterable[str]:
    yield f"ok: {file} ({scenario.name})"
    yield f"  begins with  {_entry(scenario)}"
    yield f"  workspace    {_workspace(scenario)}"
    yield f"  budget       {_budget(scenario)}"
    if scenario.workspace is not None:
        yield f"  sandbox      {walls}"

    for server in servers:
        problem = f"; PROBLEM: {server.problem}" if server.problem else ""
        yield f"  MCP server   {server.name}: {server.reached}{problem}"

    tier_width = max(len(post.tier) for post in posts)
    model_width = max(len(post.model) for post in posts)
    for post in posts:
        tier, model = post.tier.ljust(tier_width), post.model.ljust(model_width)
        yield f"  {tier}  {model}  {post.remark}"

    looked_in = dict.fromkeys(file for post in posts for file in post.looked_in)
    if looked_in:
        yield f"  keys were looked for in the environment, {', '.join(looked_in)}"


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
    if workspace.apply == "branch":
        then = "made a branch after a success"

    return f"{workspace.path}; changes are {then}"


def _budget(scenario: Scenario) -> str:
    budget = scenario.budget
    limits = [dollars(budget.usd)] if budget.usd is not None else []
    limits += [count(budget.tokens, "token")] if budget.tokens is not None else []
    limits += [count(budget.calls, "call")] if budget.calls is not None else []
    limits += [f"{budget.seconds:g} s"] if budget.seconds is not None else []
    return ", ".join(limits) or "none"


def _record(
    file: Path,
    scenario: Scenario,
    posts: tuple[Post, ...],
    walls: str,
    servers: tuple[Server, ...],
) -> dict[str, Any]:
    return {
        "ok": True,
        "file": str(file),
        "name": scenario.name,
        "budget": scenario.budget.model_dump(mode="json"),
        "sandbox": walls,
        "mcp_servers": {
            server.name: {"at": server.reached, "problem": server.problem or None}
            for server in servers
        },
        "tickets": [ticket.id for ticket in scenario.tickets or ()],
        "tiers": {
            post.tier: {
                "model": post.model,
                "scripted": post.scripted,
                "server": post.server or None,
                "key": post.key or None,
                "problem": post.problem or None,
            }
            for post in posts
        },
    }
