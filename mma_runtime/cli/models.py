"""`mma models`: what the keys at hand can use, with context and price."""

import sys
from dataclasses import dataclass, field
from io import StringIO
from pathlib import Path

import anyio
import click
from rich.console import Console
from rich.table import Table

from mma_runtime.cli.options import json_option
from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results, report_error
from mma_runtime.cli.wording import printable
from mma_runtime.errors import (
    CredentialsMissing,
    CredentialsUnusable,
    MMAError,
    ProviderError,
)
from mma_runtime.registry import Registry
from mma_runtime.registry.listing import ListedModel, record
from mma_runtime.runtime import Runtime


@click.command("models")
@click.argument("provider", required=False)
@click.option("--fresh", is_flag=True, help="Ask again, whatever was asked today.")
@json_option
def command(*, provider: str | None, fresh: bool, as_json: bool) -> int:
    """List the models of PROVIDER, or of all providers that there are keys for.

    Answers are kept for a day. Exit codes: 0 listed; 2 unknown provider; 6 no key, or
    the provider did not answer.
    """
    results = Results(sys.stdout)
    try:
        keys = _keys(Registry(folders=(Path.cwd(),))) if provider is None else _Keys()
        names = (provider,) if provider is not None else tuple(keys.found)
        listed, failed = anyio.run(_ask, names, fresh, provider is not None)
    except MMAError as error:
        return report_error(error, results if as_json else None)

    problems = [*keys.unusable, *failed]
    if not names and not problems:
        problems = [_without_keys(keys)]

    for problem in problems:
        click.echo(f"mma: {printable(problem)}", err=True)
    if as_json:
        results.write(to_json({"models": [record(one) for one in listed]}, indent=2))
    elif listed:
        results.write(_text(listed))
    return 6 if problems and not listed else 0


@dataclass(frozen=True, slots=True)
class _Keys:
    """The providers whose keys were *found*, and what is wrong with the others."""

    found: list[str] = field(default_factory=list[str])
    unusable: list[str] = field(default_factory=list[str])
    missing: list[CredentialsMissing] = field(default_factory=list[CredentialsMissing])


def _keys(registry: Registry) -> _Keys:
    """Look for all keys; a provider that needs none may not be running."""
    keys = _Keys()
    for name in registry.names:
        try:
            if registry.credentials_for(name).source:
                keys.found.append(name)
        except CredentialsMissing as error:
            keys.missing.append(error)
        except CredentialsUnusable as error:
            keys.unusable.append(str(error))

    return keys


def _without_keys(keys: _Keys) -> str:
    variables = dict.fromkeys(name for one in keys.missing for name in one.variables)
    files = dict.fromkeys(one.files[-1] for one in keys.missing)
    return (
        f"there is no key for any provider; set one of {', '.join(variables)}, or write"
        f" one into {', '.join(files)}. A server that needs none is asked by its name,"
        " as in `mma models ollama`"
    )


async def _ask(
    names: tuple[str, ...], fresh: bool, strict: bool
) -> tuple[list[ListedModel], list[str]]:
    listed: list[ListedModel] = []
    failed: list[str] = []
    async with Runtime() as runtime:
        for name in names:
            try:
                listed += await runtime.models(name, fresh=fresh)
            except ProviderError as error:
                if strict:
                    raise
                failed.append(str(error))
    return listed, failed


def _text(listed: list[ListedModel]) -> str:
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("model", no_wrap=True)
    for name in ("context", "output", "$ in/M", "$ out/M"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("ends", no_wrap=True)
    for one in listed:
        table.add_row(
            printable(one.address),
            "?" if one.context is None else f"{one.context:,}",
            "?" if one.max_output is None else f"{one.max_output:,}",
            "?" if one.input is None else f"{one.input.normalize():f}",
            "?" if one.output is None else f"{one.output.normalize():f}",
            one.shutdown.isoformat() if one.shutdown else "",
        )
    console = Console(
        file=StringIO(), width=120, color_system=None, highlight=False, markup=False
    )
    with console.capture() as capture:
        console.print(table)
    return "\n".join(line.rstrip() for line in capture.get().splitlines())
