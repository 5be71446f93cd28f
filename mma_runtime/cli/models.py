"""`mma models`: what the keys at hand can use, with context and price."""

import sys
from collections.abc import Iterator
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
from mma_runtime.errors import CredentialsMissing, MMAError, ProviderError
from mma_runtime.registry import Registry
from mma_runtime.registry.listing import ListedModel, record
from mma_runtime.runtime import Runtime
from mma_runtime.runtime.staffing import SCRIPTED


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
    names = (provider,) if provider is not None else tuple(_with_keys())
    try:
        listed, failed = anyio.run(_ask, names, fresh, provider is not None)
    except MMAError as error:
        return report_error(error, results if as_json else None)

    for problem in failed:
        click.echo(f"mma: {printable(problem)}", err=True)
    if not names:
        click.echo("mma: there is no key for any provider", err=True)
    if as_json:
        results.write(to_json({"models": [record(one) for one in listed]}, indent=2))
    elif listed:
        results.write(_text(listed))
    return 6 if not listed and (failed or not names) else 0


def _with_keys() -> Iterator[str]:
    """Yield the providers that have a key; one that needs none may not be running."""
    registry = Registry(folders=(Path.cwd(),))
    for name in registry.names:
        if name == SCRIPTED:
            continue
        try:
            if registry.credentials_for(name).source:
                yield name
        except CredentialsMissing:
            continue


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
