"""`mma new`: writes a small scenario that runs as it is, to begin with."""

import shlex
import sys
from collections.abc import Mapping
from pathlib import Path

import click

from mma_runtime.cli.terminal import Results, report_error

SCENARIO = "hello.yaml"

# The tutorial shows and explains the same files.
FILES: Mapping[str, str] = {
    SCENARIO: """\
version: 1
name: hello
workspace: {path: project}
budget: {usd: 0.05}
tiers:
  worker: {model: scripted:worker}
script: hello.script.yaml
tickets:
  - id: greet
    description: Let `greet` in greeting.py say the name.
    target_file: greeting.py
    acceptance:
      - python -c "from greeting import greet; assert 'Ada' in greet('Ada')"
expect:
  files:
    - {path: greeting.py, contains: ["{name}"]}
  max_usd: 0.01
""",
    "hello.script.yaml": """\
stands_in_for:
  worker: openai:gpt-4o-mini    # whose prices are reckoned with
replies:
  - tier: worker
    turn: 1
    tool_calls:
      - name: edit_file
        arguments:
          path: greeting.py
          old: '"Hello"'
          new: 'f"Hello, {name}!"'
  - tier: worker
    turn: 2
    text: greet says the name.
""",
    "project/greeting.py": """\
def greet(name):
    return "Hello"
""",
}
"""What is written: paths in the new folder, and texts."""


@click.command("new")
@click.argument("folder", type=click.Path(path_type=Path), default=Path())
def command(*, folder: Path) -> int:
    """Write a first scenario into FOLDER, or the current one.

    It runs without a key: a script holds what its model says. No file is overwritten.
    Exit codes: 0 written; 2 a file is there already, or cannot be written.
    """
    there = [name for name in FILES if (folder / name).exists()]
    if there:
        raise click.UsageError(
            f"There is {', '.join(there)} in {str(folder.absolute())!r} already;"
            " nothing was written. Name another folder: 'mma new FOLDER'."
        )

    try:
        # All folders first: what is in their way leaves no half of it behind.
        for name in FILES:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)

        for name, text in FILES.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        return report_error(error, None)

    go = f"cd {shlex.quote(str(folder))} && " if folder != Path() else ""
    lines = [f"wrote {folder / name}" for name in FILES]
    Results(sys.stdout).write("\n".join([*lines, f"next: {go}mma run {SCENARIO}"]))
    return 0
