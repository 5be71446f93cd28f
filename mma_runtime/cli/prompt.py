"""`mma prompt`: prints what a tier's model would receive, and how long it is."""

import os
import sys
from functools import partial
from pathlib import Path

import anyio
import click

from mma_runtime.cli.options import inputs_option, json_option, scenario_file
from mma_runtime.cli.records import to_json
from mma_runtime.cli.terminal import Results, report_error
from mma_runtime.cli.wording import count
from mma_runtime.errors import MMAError
from mma_runtime.runtime.preview import parts, preview
from mma_runtime.scenario.load import load
from mma_runtime.scenario.schema import tier_name
from mma_runtime.tiers import Tier


@click.command("prompt")
@click.argument("role")
@scenario_file
@inputs_option
@json_option
def command(
    *, role: str, file: Path, inputs: tuple[tuple[str, str], ...], as_json: bool
) -> int:
    """Print what the model of ROLE would receive first in the scenario FILE.

    ROLE is orchestrator, tech_lead, worker, qa, or 1 to 4. No model is asked; what an
    upper tier would write is stood in for. Tokens are estimated.
    """
    results = Results(sys.stdout)
    try:
        tier = Tier(tier_name(role))
        scenario = load(file, inputs=dict(inputs), environ=os.environ)
        request = anyio.run(partial(preview, scenario, tier))
    except (MMAError, OSError) as error:
        return report_error(error, results if as_json else None)

    found = list(parts(request))
    if as_json:
        shown = [
            {"part": part.name, "tokens": part.tokens, "text": part.text}
            for part in found
        ]
        results.write(to_json({"tier": tier.value, "parts": shown}))
        return 0

    for part in found:
        results.write(f"─── {part.name} · {count(part.tokens, 'token')}\n{part.text}\n")

    total = sum(part.tokens for part in found)
    results.write(f"─── about {count(total, 'token')} in all")
    return 0
