"""Scripts: replies for a scripted model, and the file that holds them.

A file is YAML: ``stands_in_for`` (tier → address whose prices count) and ``replies``,
a list in which only ``tier`` must be given; what else an entry names must match too.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar, cast

import yaml
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from mma_runtime.errors import Problem, ScenarioInvalid
from mma_runtime.llm.chat import Finish
from mma_runtime.scenario.checks import dotted
from mma_runtime.scenario.wording import words


class ScriptedUsage(BaseModel):
    """Tokens that a reply pretends to have used."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    input: int = Field(ge=0)
    output: int = Field(ge=0)
    cache_read: int = Field(default=0, ge=0)
    reasoning: int = Field(default=0, ge=0)


class ScriptedCall(BaseModel):
    """A tool call of a reply; *raw* instead of *arguments* can be broken JSON."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    name: str = Field(min_length=1)
    arguments: Mapping[str, Any] | None = None
    raw: str | None = None

    @model_validator(mode="after")
    def _one_form(self) -> "ScriptedCall":
        if self.arguments is not None and self.raw is not None:
            raise ValueError("give `arguments` or `raw`, not both")
        return self


class Reply(BaseModel):
    """What a model says, and when: every matcher that is given must hold.

    *turn* counts the model's calls within one task, *attempt* the workers of a ticket
    (both from 1). *contains* must stand in the last turn. *delay* is in seconds.
    """

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    tier: str = Field(min_length=1)
    task: str | None = None
    track: str | None = None
    ticket: str | None = None
    attempt: int | None = Field(default=None, ge=1)
    turn: int | None = Field(default=None, ge=1)
    contains: str | None = None

    text: str = ""
    reasoning: str = ""
    tool_calls: tuple[ScriptedCall, ...] = ()
    finish: Finish | None = None
    usage: ScriptedUsage | None = None
    delay: float = Field(default=0.0, ge=0)

    @property
    def matchers(self) -> dict[str, str | int]:
        """What this reply wants to match, by name, without those left open."""
        wanted = {
            "tier": self.tier,
            "task": self.task,
            "track": self.track,
            "ticket": self.ticket,
            "attempt": self.attempt,
            "turn": self.turn,
            "contains": self.contains,
        }
        return {name: value for name, value in wanted.items() if value is not None}


class Script(BaseModel):
    """All replies of a scripted team."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid", frozen=True)

    stands_in_for: Mapping[str, str] = Field(default_factory=dict)
    replies: tuple[Reply, ...]


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
