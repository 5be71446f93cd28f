"""A scenario from a file or a text: every problem at once, each with its place."""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from os import PathLike
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from yaml.nodes import MappingNode, Node

from mma_runtime.errors import (
    ConfigurationError,
    Problem,
    ScenarioInvalid,
    did_you_mean,
)
from mma_runtime.registry import Registry
from mma_runtime.registry.table import ProviderEntry, ProviderSpec
from mma_runtime.scenario.checks import (
    ENTRIES,
    NEEDED,
    Finding,
    Names,
    findings,
    is_true,
    table_of,
    without_model,
)
from mma_runtime.scenario.document import (
    MAX_BYTES,
    Document,
    Unreadable,
    compose,
    read,
)
from mma_runtime.scenario.references import expander
from mma_runtime.scenario.schema import CHECKED, TIERS, Scenario, tier_name
from mma_runtime.scenario.settings import load_settings
from mma_runtime.scenario.wording import words
from mma_runtime.tiers.sight import read_prompt
from mma_runtime.tools.choice import pattern_problem
from mma_runtime.tools.native import NATIVE_TOOLS


def load(
    path: str | PathLike[str],
    *,
    inputs: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    tools: Iterable[str] = (),
    registry: Registry | None = None,
    models: Mapping[str, str] | None = None,
) -> Scenario:
    """Read the scenario file *path*; paths in it are relative to its folder.

    *inputs* are the values of its declared inputs, *environ* is where other `${NAME}`
    are looked up, *tools* are the names of tools beside the native ones. Models have to
    be of providers that *registry* knows, or the built-in and installed ones.

    Raises:
        ScenarioInvalid: It cannot be read or used; the error lists every problem.
    """
    path = Path(path)
    scenario = loads(
        _text(path),
        file=str(path),
        folder=path.parent,
        inputs=inputs,
        environ=environ,
        tools=tools,
        registry=registry,
        models=models,
    )
    return (
        scenario if scenario.name else scenario.model_copy(update={"name": path.stem})
    )


def loads(
    text: str,
    *,
    file: str = "scenario",
    folder: Path = Path(),
    inputs: Mapping[str, str] | None = None,
    environ: Mapping[str, str] | None = None,
    tools: Iterable[str] = (),
    registry: Registry | None = None,
    models: Mapping[str, str] | None = None,
) -> Scenario:
    """Read a scenario from YAML *text*; *file* is its name in errors.

    The other arguments are those of `load`.

    Raises:
        ScenarioInvalid: It cannot be used; the error lists every problem.
        ConfigurationError: *models* names a tier that there is not.
    """
    try:
        document = _document(text, inputs or {}, environ or {})
        own = _providers(document.data)
        known = (registry or Registry()).extended(own, folders=[folder])
        servers = table_of(table_of(document.data).get("mcp_servers"))
        problem_of = partial(
            pattern_problem,
            names={*NATIVE_TOOLS, *tools},
            servers={*servers, *load_settings(known.folders).mcp_servers},
        )
        names = Names(problem_of, known)
        if models is not None:
            for finding in _unmanned(table_of(document.data), models):
                problem = document.problem(finding.loc, finding.message)
                document.problems.append(problem)

        scenario = _scenario(document, folder.absolute(), names)
    except Unreadable as error:
        raise ScenarioInvalid(file, [error.problem]) from error

    if scenario is None or document.problems:
        document.problems.sort(key=lambda problem: (problem.line, problem.column))
        raise ScenarioInvalid(file, document.problems)

    return scenario.with_models(models) if models else scenario


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        problem = Problem(message=f"cannot be read: {reason}")
        raise ScenarioInvalid(str(path), [problem]) from error

    if len(data) > MAX_BYTES:
        problem = Problem(message=f"larger than {MAX_BYTES:,} bytes")
        raise ScenarioInvalid(str(path), [problem])

    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        column = error.start - data.rfind(b"\n", 0, error.start)
        message = "not UTF-8 text; save the file in that encoding"
        problem = Problem(message=message, line=line, column=column)
        raise ScenarioInvalid(str(path), [problem]) from error


def _document(
    text: str, inputs: Mapping[str, str], environ: Mapping[str, str]
) -> Document:
    root = compose(text)
    if not isinstance(root, MappingNode):
        message = "a scenario is a table of keys, such as `name:` and `tiers:`"
        raise Unreadable(Problem(message=message, line=1, column=1))

    node = next((value for key, value in root.value if key.value == "inputs"), None)
    declared = _declared(node, text, environ)
    values = {
        name: str(table["default"])
        for name, table in declared.items()
        if table.get("default") is not None
    }
    document = read(root, expander({**values, **inputs}, declared, environ), text)
    for name, table in declared.items():
        if is_true(table.get("required")) and name not in inputs:
            message = f"is required; pass `--input {name}=...`"
            document.problems.append(document.problem(("inputs", name), message))

    for name in inputs:
        if name not in declared:
            hint = did_you_mean(name, declared)
            message = f"there is no input {name!r}{hint}"
            document.problems.append(document.problem(("inputs",), message))

    return document


def _declared(
    node: Node | None, text: str, environ: Mapping[str, str]
) -> dict[str, Mapping[str, Any]]:
    """Return the declared inputs by name, as far as they are well formed."""
    if node is None:
        return {}

    data = table_of(read(node, expander({}, (), environ), text).data)
    return {name: table_of(settings) for name, settings in data.items()}


def _scenario(document: Document, folder: Path, names: Names) -> Scenario | None:
    data = cast("dict[str, Any]", document.data)
    for finding in (
        *findings(data, names),
        *_absent(data, folder),
        *_prompts(data, folder),
    ):
        document.problems.append(document.problem(finding.loc, finding.message))

    try:
        scenario = Scenario.model_validate(data, context=CHECKED)
    except ValidationError as error:
        schema = Scenario.model_json_schema()
        document.problems += [
            document.problem(
                details["loc"],
                words(details, schema),
                at_key=details["type"] == "extra_forbidden",
            )
            for details in error.errors()
        ]
        return None

    return _with_paths(scenario, folder)


def _providers(data: Any) -> Iterator[ProviderSpec]:
    """Yield the providers that the scenario brings, as far as they are well formed."""
    for name, entry in table_of(table_of(data).get("providers")).items():
        with suppress(ValidationError):
            yield ProviderEntry.model_validate(entry).spec(name)


def _unmanned(data: Mapping[str, Any], models: Mapping[str, str]) -> Iterator[Finding]:
    """Find the tiers that are needed and have no model, of *models* or their own."""
    entry = next((entry for entry in ENTRIES if entry in data), None)
    tiers = table_of(data.get("tiers", {}))
    # What is no table, or a tier with a wrong name, is told as that.
    is_table = isinstance(data.get("tiers", {}), Mapping)
    if entry is None or not is_table or set(tiers) - set(TIERS):
        return

    manned = {tier_name(tier) for tier in models}
    manned |= {name for name, own in tiers.items() if "model" in table_of(own)}
    if "model" not in table_of(data.get("defaults")):
        for tier in NEEDED[entry]:
            if tier not in manned:
                yield Finding(("tiers", tier), without_model(tier))


def _absent(data: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    """Find the paths that the scenario names and that are not there."""
    workspace = data.get("workspace")
    path = table_of(workspace).get("path")
    if isinstance(path, str) and not _absolute(folder, path).is_dir():
        absolute = _absolute(folder, path)
        message = f"there is no folder {str(absolute)!r}"
        if absolute.exists():
            message = f"{str(absolute)!r} is a file; name a folder"

        yield Finding(("workspace", "path"), message)

    elif isinstance(path, str) and table_of(workspace).get("apply") == "branch":
        top = _absolute(folder, path)
        # What else it takes is seen when the run begins.
        if not (top / ".git").exists():
            message = f"{str(top)!r} is not the top of a git project"
            yield Finding(("workspace", "apply"), message)

    script = data.get("script")
    if isinstance(script, str) and not _absolute(folder, script).is_file():
        message = f"there is no file {str(_absolute(folder, script))!r}"
        yield Finding(("script",), message)


def _prompts(data: Mapping[str, Any], folder: Path) -> Iterator[Finding]:
    """Find prompts that are not there, have no occasion, or slots that it lacks."""
    for occasion, path in table_of(data.get("prompts")).items():
        if isinstance(path, str):
            try:
                read_prompt(occasion, _absolute(folder, path))
            except ConfigurationError as error:
                yield Finding(("prompts", occasion), str(error))


def _with_paths(scenario: Scenario, folder: Path) -> Scenario:
    workspace, script = scenario.workspace, scenario.script
    if workspace is not None:
        path = _absolute(folder, workspace.path)
        workspace = workspace.model_copy(update={"path": path})

    if script is not None:
        script = _absolute(folder, script)

    prompts = {name: _absolute(folder, path) for name, path in scenario.prompts.items()}
    servers = {
        name: entry.beside(folder) for name, entry in scenario.mcp_servers.items()
    }
    return scenario.model_copy(
        update={
            "workspace": workspace,
            "script": script,
            "prompts": prompts,
            "mcp_servers": servers,
        }
    )


def _absolute(folder: Path, path: str | Path) -> Path:
    return folder / Path(path).expanduser()
