"""What no single key of a scenario can tell: keys that contradict or miss each other.

Works on plain data as it stands in the file, whatever its types, so that these problems
are found together with the wrong types and not only after them.
"""

import re
import shlex
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Any, cast

from mma_runtime.errors import ConfigurationError
from mma_runtime.plan.dag import find_problems
from mma_runtime.registry import Registry
from mma_runtime.scenario.references import written_out

ENTRIES = ("epic", "track", "tickets")
NEEDED: Mapping[str, tuple[str, ...]] = {
    "epic": ("orchestrator", "tech_lead", "worker"),
    "track": ("tech_lead", "worker"),
    "tickets": ("worker",),
}
"""The tiers that each entry cannot do without."""

_SERVER = re.compile(r"[A-Za-z0-9-]{1,24}")

# What makes a pattern of a tool's name.
_SIGNS = frozenset("*?[")

Loc = tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Finding:
    """One problem and the keys that lead to it."""

    loc: Loc
    message: str

    def __str__(self) -> str:
        """Return both as one sentence."""
        return f"{dotted(self.loc)}: {self.message}" if self.loc else self.message


@dataclass(frozen=True, slots=True)
class Names:
    """What only the surroundings tell: the *registry* of providers, and tools.

    *tool_problem* returns what is wrong with a tool's name or pattern, or nothing.
    """

    tool_problem: Callable[[str], str]
    registry: Registry


def dotted(loc: Loc) -> str:
    """Write *loc* as people do: `tickets[0].depends_on`."""
    text = "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in loc)
    return text.removeprefix(".")


def table_of(value: object) -> Mapping[str, Any]:
    """Return *value* if it has keys, else an empty table."""
    return cast("Mapping[str, Any]", value) if isinstance(value, Mapping) else {}


def is_true(value: object) -> bool:
    """Tell whether *value* is a yes, in any way that a file may write it."""
    return str(value).lower() in {"true", "yes", "on", "y", "t", "1"}


def findings(data: Mapping[str, Any], names: Names | None = None) -> list[Finding]:
    """Find what is wrong between the keys of *data*.

    Names of tools and providers are checked if *names* tells which there are.
    """
    found = [
        *_entry(data),
        *_inputs(table_of(data.get("inputs"))),
        *_models(data, names),
        *_tier_keys(table_of(data.get("tiers"))),
        *_tickets(data),
        *_commands(data),
        *_prices(data),
        *_budget(data),
        *server_findings(table_of(data.get("mcp_servers"))),
        *_paths(data),
    ]
    if names is not None:
        found += _tools(data, names.tool_problem)

    return found


def without_model(tier: str) -> str:
    """Say that *tier* has no model, and what to do about it."""
    return (
        f"tier {tier!r} has no model; set `tiers.{tier}.model` or `defaults.model`, or"
        f" give `--model {tier}=PROVIDER:MODEL`"
    )


def _list(value: object) -> Sequence[Any]:
    return cast("Sequence[Any]", value) if isinstance(value, list | tuple) else ()


def _texts(value: object, loc: Loc) -> Iterator[tuple[Loc, str]]:
    for position, text in enumerate(_list(value)):
        if isinstance(text, str):
            yield (*loc, position), text


def _text(table: object, key: str, loc: Loc) -> Iterator[tuple[Loc, str]]:
    text = table_of(table).get(key)
    if isinstance(text, str):
        yield (*loc, key), text


def _each_ticket(data: Mapping[str, Any]) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    for position, ticket in enumerate(_list(data.get("tickets"))):
        # What is no table is a ticket already, which has been checked.
        if table := table_of(ticket):
            yield ("tickets", position), table


def _each_tier(data: Mapping[str, Any]) -> Iterator[tuple[Loc, Mapping[str, Any]]]:
    yield ("defaults",), table_of(data.get("defaults"))
    for name, settings in table_of(data.get("tiers")).items():
        yield ("tiers", name), table_of(settings)


def _entry(data: Mapping[str, Any]) -> Iterator[Finding]:
    present = [entry for entry in ENTRIES if entry in data]
    if not present:
        yield Finding(
            (), "nothing is to be done; add one of `epic`, `track` and `tickets`"
        )

    if data.get("tickets") in ([], ()):
        yield Finding(("tickets",), "must not be empty")

    for entry in present[1:]:
        yield Finding((entry,), f"there is `{present[0]}` already; keep one of them")


def _inputs(inputs: Mapping[str, Any]) -> Iterator[Finding]:
    for name, settings in inputs.items():
        if not re.fullmatch(r"[A-Za-z_][A-Za-z0-9_]*", name):
            message = "an input's name has only letters, digits and `_`"
            yield Finding(("inputs", name), message)

        table = table_of(settings)
        if table.get("default") is not None and is_true(table.get("required")):
            message = "has a default, so it cannot be required as well"
            yield Finding(("inputs", name, "required"), message)


def _models(data: Mapping[str, Any], names: Names | None) -> Iterator[Finding]:
    for loc, table in (*_each_tier(data), *_each_ticket(data)):
        models = _texts(table.get("escalate"), (*loc, "escalate"))
        for place, model in (*_text(table, "model", loc), *models):
            if (problem := address_problem(model)) or (
                problem := _provider_problem(model, names)
            ):
                yield Finding(place, problem)
            elif model.startswith("scripted") and "script" not in data:
                message = "a scripted model needs a file of replies; add `script`"
                yield Finding(place, message)


def address_problem(address: str) -> str:
    """Return what is wrong with the form of an address, or nothing.

    A bare model's name has the right form; the registry knows if one provider has it.
    """
    if re.fullmatch(r"[a-z][a-z0-9_-]*[:/]\S+|[A-Za-z0-9][\w.-]*", address):
        return ""

    model = address.strip(":/ ") or "gpt-4o-mini"
    return (
        f"{address!r} does not say which provider serves it;"
        f" write `provider:model`, as in `openai:{model}`"
    )


def _provider_problem(address: str, names: Names | None) -> str:
    if names is None:
        return ""

    try:
        names.registry.spec(names.registry.parse_address(address).provider)
    except ConfigurationError as error:
        return str(error)

    return ""


def _tier_keys(tiers: Mapping[str, Any]) -> Iterator[Finding]:
    for name in ("orchestrator", "tech_lead", "qa"):
        own = table_of(tiers.get(name))
        for key in ("count", "attempts"):
            # One of each is what there is, so saying so is no mistake.
            if str(own.get(key, 1)) != "1":
                message = "only the `worker` tier has more than one"
                yield Finding(("tiers", name, key), message)

        for key in ("tools", "policy"):
            if own.get(key):
                message = "only the `worker` tier has tools; the others are shown what"
                yield Finding(("tiers", name, key), f"{message} is theirs to see")

        if own.get("max_tool_rounds") is not None:
            message = "only the `worker` tier has tools, and so rounds of them"
            yield Finding(("tiers", name, "max_tool_rounds"), message)

        if own.get("escalate"):
            message = "only the `worker` tier has more than one attempt"
            yield Finding(("tiers", name, "escalate"), message)

    for name in ("orchestrator", "worker", "qa"):
        if table_of(tiers.get(name)).get("max_added_tickets"):
            message = "only the `tech_lead` tier adds tickets"
            yield Finding(("tiers", name, "max_added_tickets"), message)


def _tickets(data: Mapping[str, Any]) -> Iterator[Finding]:
    rows = [
        (loc, str(ticket.get("id", f"#{loc[-1]}")), _list(ticket.get("depends_on")))
        for loc, ticket in _each_ticket(data)
    ]
    for problem in find_problems((name, map(str, needs)) for _, name, needs in rows):
        loc = rows[problem.ticket][0]
        key = (
            ("id",)
            if problem.dependency is None
            else ("depends_on", problem.dependency)
        )
        yield Finding((*loc, *key), problem.message)


def _commands(data: Mapping[str, Any]) -> Iterator[Finding]:
    expect = table_of(data.get("expect"))
    lists: list[tuple[Loc, object]] = [(("expect", "commands"), expect.get("commands"))]
    for loc, ticket in _each_ticket(data):
        lists.append(((*loc, "acceptance"), ticket.get("acceptance")))

    commands: list[tuple[Loc, str]] = []
    for loc, entries in lists:
        commands += _texts(entries, loc)
        for position, entry in enumerate(_list(entries)):
            commands += _text(entry, "run", (*loc, position))

    for loc, command in commands:
        if problem := _command_problem(command):
            yield Finding(loc, problem)


def _command_problem(command: str) -> str:
    try:
        words = shlex.split(command)
    except ValueError as error:
        return f"{command!r} is not a command: {error}".lower()

    return "" if words else "an empty command"


def _prices(data: Mapping[str, Any]) -> Iterator[Finding]:
    for position, price in enumerate(_list(data.get("prices"))):
        for loc, pattern in _text(price, "match", ("prices", position)):
            try:
                re.compile(pattern)
            except re.error as error:
                message = f"{pattern!r} is not a regular expression: {error}"
                yield Finding(loc, message)


def _budget(data: Mapping[str, Any]) -> Iterator[Finding]:
    table = table_of(table_of(data.get("budget")).get("track"))
    in_tracks = "epic" in data or "track" in data
    if any(limit is not None for limit in table.values()) and not in_tracks:
        message = "`tickets` by themselves belong to no track; set `budget` itself"
        yield Finding(("budget", "track"), f"{message} or `budget.ticket`")


def _paths(data: Mapping[str, Any]) -> Iterator[Finding]:
    expect = table_of(data.get("expect"))
    paths = [*_texts(expect.get("files"), ("expect", "files"))]
    for position, file in enumerate(_list(expect.get("files"))):
        paths += _text(file, "path", ("expect", "files", position))

    for key in ("rules", "context"):
        paths += _texts(data.get(key), (key,))

    for loc, ticket in _each_ticket(data):
        paths += _texts(ticket.get("context"), (*loc, "context"))
        paths += _text(ticket, "target_file", loc)

    for loc, path in paths:
        if PurePosixPath(path).is_absolute() or ".." in PurePosixPath(path).parts:
            message = f"{path!r} leads out of the workspace; paths are relative to it"
            yield Finding(loc, message)


def server_findings(servers: Mapping[str, Any]) -> Iterator[Finding]:
    """Find what is wrong between the keys of MCP servers, by their names."""
    for name, entry in servers.items():
        loc, table = ("mcp_servers", name), table_of(entry)
        if not _SERVER.fullmatch(name):
            message = "a server's name has letters, digits and `-`, at most 24 of them"
            yield Finding(loc, message)

        url = table.get("url")
        if bool(table.get("command")) == bool(url):
            yield Finding(loc, "has either a `command` or a `url`")
        elif url and not str(url).startswith(("http://", "https://")):
            yield Finding((*loc, "url"), f"{url!r} is no http(s) address")

        for key, other in (("env", "url"), ("folder", "url"), ("headers", "command")):
            if table.get(key) and table.get(other):
                yield Finding((*loc, key), f"means nothing to a `{other}`")

        for place, command in _text(table, "command", loc):
            if problem := _command_problem(command):
                yield Finding(place, problem)

        yield from _written_out(table, loc)


def _written_out(server: Mapping[str, Any], loc: Loc) -> Iterator[Finding]:
    """Find secrets that are written out."""
    for key in ("env", "headers"):
        for name, value in table_of(server.get(key)).items():
            if written_out(name, str(value)):
                message = (
                    "looks like a secret, and scenarios are recorded; set it in the"
                    " environment or in `.env` and write `${NAME}` here"
                )
                yield Finding((*loc, key, name), message)


def _tools(
    data: Mapping[str, Any], problem_of: Callable[[str], str]
) -> Iterator[Finding]:
    for loc, table in (*_each_tier(data), *_each_ticket(data)):
        for place, name in _texts(table.get("tools"), (*loc, "tools")):
            if problem := problem_of(name):
                yield Finding(place, problem)

    for name in table_of(data.get("once")):
        if not _SIGNS.intersection(name) and (problem := problem_of(name)):
            yield Finding(("once", name), problem)
