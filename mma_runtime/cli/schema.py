"""`mma schema`: the JSON schemas of scenario files and of events."""

import sys
from collections.abc import Callable, Mapping
from typing import Any

import click

from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results
from mma_runtime.events import schema as event_schema
from mma_runtime.scenario.manual import manual
from mma_runtime.scenario.schema import Scenario


def _scenario_schema() -> dict[str, Any]:
    return {"$schema": event_schema.DIALECT, **Scenario.model_json_schema()}


SCHEMAS: Mapping[str, tuple[Callable[[], dict[str, Any]], Callable[[], str]]] = {
    "scenario": (_scenario_schema, manual),
    "events": (event_schema.json_schema, event_schema.manual),
}
"""What there is a schema of: how it is made, and a page for people."""


@click.command("schema")
@click.argument("what", type=click.Choice(list(SCHEMAS)), default="scenario")
@click.option("--markdown", is_flag=True, help="Print a page for people instead.")
def command(*, what: str, markdown: bool) -> int:
    """Print the JSON schema of scenario files, or of events.

    Editors with a YAML language server use the first when a scenario's first line is
    `# yaml-language-server: $schema=FILE`. The second is that of the lines which
    `mma run --jsonl` prints.
    """
    schema, page = SCHEMAS[what]
    text = page() if markdown else to_json(schema(), indent=2)
    Results(sys.stdout).write(text)
    return 0
