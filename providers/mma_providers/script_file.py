"""The YAML file that holds a script."""

from pathlib import Path
from typing import Any, cast

import yaml
from pydantic import ValidationError

from mma_providers.script import Script
from mma_runtime.errors import Problem, ScenarioInvalid
from mma_runtime.scenario.checks import dotted
from mma_runtime.scenario.wording import words


def load_script(path: Path) -> Script:
    """Read a script file.

    Raises:
        ScenarioInvalid: It cannot be read or is not a script; names every problem.
    """
    file = str(path)
    try:
        loader = yaml.SafeLoader(path.read_text(encoding="utf-8"))
        root = loader.get_single_node()
    except OSError as error:
        reason = error.strerror or str(error)
        raise ScenarioInvalid(file, [Problem(message=reason)]) from error
    except UnicodeDecodeError as error:
        raise ScenarioInvalid(file, [Problem(message="is not UTF-8")]) from error
    except yaml.MarkedYAMLError as error:
        raise ScenarioInvalid(file, [_syntax_problem(error)]) from error

    if root is None:
        raise ScenarioInvalid(file, [Problem(message="the file is empty")])
    repeated = _repeated_keys(root)
    if repeated:
        raise ScenarioInvalid(file, repeated)

    try:
        return Script.model_validate(cast("Any", loader).construct_document(root))
    except yaml.MarkedYAMLError as error:
        raise ScenarioInvalid(file, [_syntax_problem(error)]) from error
    except ValidationError as error:
        raise ScenarioInvalid(file, _problems(error, root)) from error


def _syntax_problem(error: yaml.MarkedYAMLError) -> Problem:
    message = error.problem or "is not YAML"
    mark = error.problem_mark
    if mark is None:
        return Problem(message=message)
    return Problem(message=message, line=mark.line + 1, column=mark.column + 1)


def _repeated_keys(node: yaml.Node, path: str = "") -> list[Problem]:
    found: list[Problem] = []
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            found += _repeated_keys(item, f"{path}.{index}")
    elif isinstance(node, yaml.MappingNode):
        seen: set[str] = set()
        for key, value in node.value:
            place = f"{path}.{key.value}".lstrip(".")
            if str(key.value) in seen:
                found.append(_problem("is given twice", place, key))
            seen.add(str(key.value))
            found += _repeated_keys(value, place)
    return found


def _problems(error: ValidationError, root: yaml.Node) -> list[Problem]:
    schema = Script.model_json_schema()
    return [
        _problem(
            words(details, schema),
            dotted(details["loc"]),
            _node_at(root, details["loc"]),
        )
        for details in error.errors(include_url=False)
    ]


def _problem(message: str, path: str, node: yaml.Node) -> Problem:
    mark = node.start_mark
    return Problem(
        message=message, path=path, line=mark.line + 1, column=mark.column + 1
    )


def _node_at(node: yaml.Node, path: tuple[int | str, ...]) -> yaml.Node:
    """Follow *path* as far as it leads; a key that is not there ends it."""
    for step in path:
        if isinstance(node, yaml.SequenceNode) and isinstance(step, int):
            node = node.value[step]
        elif isinstance(node, yaml.MappingNode):
            values = {key.value: value for key, value in node.value}
            if step not in values:
                break
            node = values[step]
    return node
