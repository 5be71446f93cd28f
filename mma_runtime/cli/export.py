"""`mma export`: a recorded run's replies as a script, for a test that costs nothing."""

import sys
from pathlib import Path
from typing import Any

import click
import yaml

from mma_runtime.cli.options import home_option
from mma_runtime.cli.terminal import Results, report_error
from mma_runtime.cli.wording import count
from mma_runtime.errors import MMAError
from mma_runtime.journal import Past
from mma_runtime.journal.codec import decode
from mma_runtime.journal.past import REPLY, Recorded
from mma_runtime.llm.chat import AssistantTurn, Reasoning
from mma_runtime.recording import JOURNAL, find_run


@click.command("export")
@click.argument("name", metavar="RUN")
@click.option(
    "--script",
    type=click.Path(path_type=Path, dir_okay=False),
    required=True,
    metavar="FILE",
    help="Where to write the script.",
)
@home_option
def command(*, name: str, script: Path, home: Path) -> int:
    """Save the replies of RUN as the script of a scripted scenario.

    Name the file as `script` in the scenario and set the tiers' models to
    `scripted:TIER`.
    """
    try:
        past = Past.read(find_run(home, name) / JOURNAL)
        replies = [one for (kind, _), one in past.done.items() if kind == REPLY]
        replies.sort(key=lambda one: one.record.seq)
        text = yaml.safe_dump(
            {"replies": [_reply(one) for one in replies]},
            sort_keys=False,
            allow_unicode=True,
        )
        script.write_text(text, encoding="utf-8")
    except (MMAError, OSError) as error:
        return report_error(error, None)

    told = count(len(replies), "reply").replace("replys", "replies")
    Results(sys.stdout).write(f"{told} written to {script}")
    return 0


def _reply(one: Recorded) -> dict[str, Any]:
    origin = one.record.origin
    turn: AssistantTurn = decode(one.contents["turn"])
    reply: dict[str, Any] = {"tier": origin.tier, "task": origin.task}
    if origin.track and not origin.ticket:
        reply["track"] = origin.track

    if origin.ticket:
        reply |= {"ticket": origin.ticket, "attempt": origin.attempt}

    reply["turn"] = int(one.record.call.rpartition(".")[2])
    if turn.text:
        reply["text"] = turn.text

    thoughts = "".join(p.text for p in turn.parts if isinstance(p, Reasoning))
    if thoughts:
        reply["reasoning"] = thoughts

    if turn.tool_calls:
        reply["tool_calls"] = [
            {"name": call.name, "arguments": dict(call.arguments)}
            if call.arguments is not None
            else {"name": call.name, "raw": call.raw}
            for call in turn.tool_calls
        ]

    reply["finish"] = one.facts["finish"]
    usage = one.facts["usage"]
    if usage is not None:
        reply["usage"] = {
            name: usage[name] for name in ("input", "output", "cache_read", "reasoning")
        }

    return reply
