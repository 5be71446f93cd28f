"""A tool call's arguments in a person's own editor."""

import os
import shlex
import shutil
import tempfile
from collections.abc import Mapping
from typing import Any

import anyio
import yaml
from pydantic import TypeAdapter, ValidationError

from mma_runtime.cli.keyboard import Keyboard

_EDITORS = ("sensible-editor", "nano", "vi")
_ARGUMENTS = TypeAdapter(dict[str, Any])
_HEAD = "# Save to run {tool} with these arguments; leave nothing to go back.\n"


class EditFailed(Exception):
    """The arguments could not be edited; says why, to the person at the terminal."""


class _Blocks(yaml.SafeDumper):
    """Writes texts of several lines as they are."""


def _text(_dumper: yaml.SafeDumper, text: str) -> yaml.ScalarNode:
    style = "|" if "\n" in text else None
    return yaml.ScalarNode("tag:yaml.org,2002:str", text, style=style)


_Blocks.add_representer(str, _text)


async def edit_arguments(
    tool: str, arguments: Mapping[str, Any], keyboard: Keyboard
) -> dict[str, Any] | None:
    """Show *arguments* as YAML in `$VISUAL` or `$EDITOR`, and return what was saved.

    `None` when nothing was left or changed. Cancellation ends the editor.

    Raises:
        EditFailed: there is no editor, it failed, or what was saved is no YAML mapping.
    """
    with tempfile.TemporaryDirectory(prefix="mma-") as folder:
        path = anyio.Path(folder) / "arguments.yaml"
        head = _HEAD.format(tool=tool)
        await path.write_text(head + _dumped(arguments), encoding="utf-8")
        command = [*_editor(os.environ), str(path)]
        try:
            with keyboard.lent():
                done = await anyio.run_process(
                    command, stdin=None, stdout=None, stderr=None, check=False
                )
        except OSError as error:
            raise EditFailed(f"{command[0]!r} cannot be started: {error}") from error

        if done.returncode:
            code = done.returncode
            raise EditFailed(f"{command[0]!r} ended with exit code {code}")

        edited = _read(await path.read_text(encoding="utf-8"))

    return None if edited is None or edited == dict(arguments) else edited


def _editor(environ: Mapping[str, str]) -> list[str]:
    chosen = environ.get("VISUAL") or environ.get("EDITOR")
    if chosen:
        return shlex.split(chosen)

    for name in _EDITORS:
        if path := shutil.which(name):
            return [path]

    raise EditFailed("no editor was found; set EDITOR to one")


def _dumped(arguments: Mapping[str, Any]) -> str:
    return yaml.dump(
        dict(arguments),
        Dumper=_Blocks,
        sort_keys=False,
        allow_unicode=True,
        width=1_000_000,
    )


def _read(text: str) -> dict[str, Any] | None:
    try:
        found: object = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise EditFailed(f"that is no YAML: {' '.join(str(error).split())}") from error

    if found is None:
        return None

    try:
        return _ARGUMENTS.validate_python(found, strict=True)
    except ValidationError as error:
        wanted = "write `name: value` lines"
        raise EditFailed(f"that is no list of arguments: {wanted}") from error
