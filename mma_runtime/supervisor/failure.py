"""What a failed command's output says: the error, the places it names, what failed.

Reads text and knows no files; what looks like a path need not exist.
"""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass

ERROR_LINES = 30
"""How many lines of an output count as its error."""

ERROR_CHARACTERS = 2_000
"""How long the error is at most."""

LINTERS = frozenset(
    {
        "biome",
        "black",
        "eslint",
        "flake8",
        "gofmt",
        "golangci-lint",
        "isort",
        "prettier",
        "pycodestyle",
        "pylint",
        "ruff",
        "rustfmt",
        "stylelint",
    }
)
"""Programs that judge how code is written and not what it does."""

_RUNNERS = frozenset({"uv", "uvx", "npx", "poetry", "pipx", "pnpm", "yarn", "run"})
_PYTHON = re.compile(r"^python[\d.]*$")

_PATH = r"[\w./@+-]*[\w@+-]\.\w{1,8}"
_PLACES = (
    # Python's tracebacks.
    re.compile(r'File "(?P<path>[^"\n]+)", line (?P<line>\d+)'),
    # pytest, linters, compilers; in Rust's the arrow stands before it.
    re.compile(rf"(?:^|[\s(])(?P<path>{_PATH}):(?P<line>\d+)(?::\d+)?(?=[:)\s,]|$)"),
)
_ERROR = re.compile(
    r"error|exception|failed|failure|panic|assert|expected|undefined|cannot|^E\s",
    re.IGNORECASE,
)
_FAILED_TEST = re.compile(
    r"^(?:FAILED|ERROR) (?P<path>[^\s:]+)::(?P<name>\S+)", re.MULTILINE
)
_UNITTEST = re.compile(
    r"^(?:FAIL|ERROR): (?P<name>\w+) \((?P<where>[\w.]+)\)", re.MULTILINE
)


@dataclass(frozen=True, slots=True)
class Place:
    """A line of a file that an output names; lines count from 1."""

    path: str
    line: int


@dataclass(frozen=True, slots=True)
class FailedTest:
    """A test that an output names: *symbol* is `function` or `Class.function`."""

    path: str
    symbol: str


def is_lint(command: str) -> bool:
    """Whether *command* runs a linter or formatter, by its first words."""
    try:
        words = shlex.split(command)
    except ValueError:
        return False

    for place, word in enumerate(words):
        name = word.rpartition("/")[2]
        if name in LINTERS:
            return True

        module = _PYTHON.match(name) or word == "-m"
        if not (module or name in _RUNNERS) or place > 3:  # noqa: PLR2004 - uv run python -m
            return False

    return False


def error_text(output: str) -> str:
    """Return the lines of *output* that say what went wrong, mostly near its end."""
    lines = output.rstrip().splitlines()
    if len(lines) > ERROR_LINES:
        telling = {n for n, line in enumerate(lines) if _ERROR.search(line)}
        # The end says most; then what looks like an error, the last first.
        chosen = set(range(len(lines) - ERROR_LINES // 3, len(lines)))
        for number in sorted(telling, reverse=True):
            if len(chosen) >= ERROR_LINES:
                break

            chosen.add(number)

        lines = [lines[number] for number in sorted(chosen)]

    text = "\n".join(lines)
    return text if len(text) <= ERROR_CHARACTERS else "…" + text[-ERROR_CHARACTERS:]


def places(output: str) -> Iterator[Place]:
    """Yield the places that *output* names, the last one first, each once."""
    found: list[tuple[int, Place]] = []
    for pattern in _PLACES:
        for match in pattern.finditer(output):
            place = Place(match["path"].removeprefix("./"), int(match["line"]))
            found.append((match.start("path"), place))

    yield from dict.fromkeys(place for _, place in sorted(found, key=_late_first))


def failed_test(output: str) -> FailedTest | None:
    """Return the first test that *output* names as failed, from pytest or unittest."""
    if match := _FAILED_TEST.search(output):
        symbol = match["name"].partition("[")[0].replace("::", ".")
        return FailedTest(match["path"], symbol)

    if match := _UNITTEST.search(output):
        where = match["where"].removesuffix("." + match["name"])
        module, _, case = where.rpartition(".")
        if module:
            return FailedTest(
                module.replace(".", "/") + ".py", f"{case}.{match['name']}"
            )

    return None


def _late_first(found: tuple[int, Place]) -> int:
    return -found[0]
