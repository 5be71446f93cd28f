"""`mma schema`: the JSON schema of scenario files, for editors."""

import sys

import click

from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results
from mma_runtime.scenario.manual import manual
from mma_runtime.scenario.schema import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.command("schema")
@click.option("--markdown", is_flag=True, help="Print a page for people instead.")
def command(*, markdown: bool) -> int:
    """Print the JSON schema of scenario files.

    Editors with a YAML language server use it when a scenario's first line is
    `# yaml-language-server: $schema=FILE`.
    """
    if markdown:
        Results(sys.stdout).write(manual())
        return 0

    schema = {"$schema": DIALECT, **Scenario.model_json_schema()}
    Results(sys.stdout).write(to_json(schema, indent=2))
    return 0
