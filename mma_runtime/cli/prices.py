"""`mma prices`: what a model is reckoned to cost, and where that is known from."""

import os
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from io import StringIO
from pathlib import Path

import click
from rich.console import Console
from rich.table import Table

from mma_runtime.cli.options import json_option
from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results, report_error
from mma_runtime.errors import MMAError
from mma_runtime.llm.pricing import FlatRates, Price, PriceList, known_models
from mma_runtime.registry import Registry
from mma_runtime.scenario.load import load
from mma_runtime.scenario.money import price_overrides
from mma_runtime.scenario.settings import load_settings

UNKNOWN = 2


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One price of one model; *above* is the length of input from which it holds."""

    model: str
    above: int
    rates: FlatRates | None
    source: str


@click.command("prices")
@click.argument("model", required=False)
@click.option(
    "--scenario",
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    metavar="FILE",
    help="Look into the prices of this scenario first.",
)
@json_option
def command(*, model: str | None, scenario: Path | None, as_json: bool) -> int:
    """Show what MODEL costs in US dollars per million tokens, or what all known cost.

    A scenario's prices come before those of `mma.toml`, those before genai-prices'.
    Exit codes: 0 shown; 2 nobody knows the price.
    """
    results = Results(sys.stdout)
    try:
        lines = list(_lines(model, scenario))
    except MMAError as error:
        return report_error(error, results if as_json else None)

    if as_json:
        results.write(to_json({"prices": [_record(line) for line in lines]}, indent=2))
    else:
        results.write(_text(lines))

    return UNKNOWN if all(line.rates is None for line in lines) else 0


def _lines(model: str | None, scenario: Path | None) -> Iterator[Line]:
    folders = (Path.cwd(),) if scenario is None else (scenario.parent, Path.cwd())
    registry = Registry(folders=folders)
    own = price_overrides(load(scenario, environ=os.environ)) if scenario else ()
    prices = PriceList((*own, *load_settings(folders).prices))
    for provider, name in _wanted(model, registry):
        listed_by = registry.spec(provider).options.get("prices", provider)
        yield from _of(f"{provider}:{name}", prices.find(listed_by, name))


def _wanted(model: str | None, registry: Registry) -> Iterable[tuple[str, str]]:
    if model is not None:
        address = registry.parse_address(model)
        return [(address.provider, address.model)]

    return known_models(("openai", "anthropic", "gemini"))


def _of(address: str, price: Price | None) -> Iterator[Line]:
    if price is None:
        yield Line(model=address, above=0, rates=None, source="nobody knows")
        return

    rates = price.rates.earlier(0.0)
    steps = ((0, rates),) if isinstance(rates, FlatRates) else reversed(rates.steps)
    for above, flat in steps:
        yield Line(model=address, above=above, rates=flat, source=price.source)


def _record(line: Line) -> dict[str, object]:
    return {
        "model": line.model,
        "above_input_tokens": line.above,
        **dict(zip(_COLUMNS, _figures(line.rates), strict=True)),
        "source": line.source,
    }


_COLUMNS = ("input", "cached", "cache_write", "output")


def _figures(rates: FlatRates | None) -> tuple[str | None, ...]:
    if rates is None:
        return (None,) * len(_COLUMNS)

    prices = (rates.input, rates.cache_read, rates.cache_write, rates.output)
    return tuple(f"{price.normalize():f}" for price in prices)


def _text(lines: Iterable[Line]) -> str:
    table = Table(box=None, pad_edge=False, header_style="")
    table.add_column("model", no_wrap=True)
    for name in ("$ in/M", "cached", "cache write", "$ out/M"):
        table.add_column(name, justify="right", no_wrap=True)

    table.add_column("from", no_wrap=True)
    for line in lines:
        table.add_row(
            f"  above {line.above:,} tokens" if line.above else line.model,
            *(figure or "unknown" for figure in _figures(line.rates)),
            "" if line.above else line.source,
        )

    console = Console(
        file=StringIO(), width=160, color_system=None, highlight=False, markup=False
    )
    with console.capture() as capture:
        console.print(table)

    return "\n".join(row.rstrip() for row in capture.get().splitlines())
