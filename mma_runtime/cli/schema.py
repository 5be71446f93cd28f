"""`mma schema`: the JSON schema of scenario files, for editors."""

import sys

import click

from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results
from mma_runtime.scenario.schema import Scenario

DIALECT = "https://json-schema.org/draft/2020-12/schema"


@click.command("schema")
def command() -> int:
    """Print the JSON schema of scenario files.

    Editors with a YAML language server use it when a scenario's first line is
    `# yaml-language-server: $schema=FILE`.
    """
    schema = {"$schema": DIALECT, **Scenario.model_json_schema()}
    Results(sys.stdout).write(to_json(schema, indent=2))
    return 0
