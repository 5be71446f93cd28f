"""Which tool calls run at once, which are asked about, and which never run.

A policy is a list of rules; the first that matches a call decides. Pure functions:
who is asked, and how, is in `approval`.
"""

import json
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from fnmatch import fnmatchcase
from posixpath import basename, normpath
from typing import cast

from mma_runtime.arguments import check_kind
from mma_runtime.errors import ConfigurationError, did_you_mean
from mma_runtime.llm.chat import ToolCall

SHELL_SIGN = "sh: "
"""Stands before a command that a shell would read: no rule for a plain one matches."""

_COMMAND = "command"
_SUBJECTS = (_COMMAND, "path", "url")
# Shells; interpreters; what takes a command; what runs a package by its name.
_NAMES = """
ash bash busybox csh dash fish ksh mksh pwsh sh tcsh toybox zsh
awk bun clojure deno elixir erl gawk ghci groovy jshell julia lua mawk nawk node nodejs
ocaml osascript perl php pypy python R racket Rscript ruby scala sed swift tclsh ts-node
tsx
chroot chrt command cpulimit doas entr env eval exec expect faketime fakeroot find flock
gdb ionice linux lldb ltrace nice nohup nsenter numactl parallel prlimit proot rlwrap
runuser schroot screen script setarch setpriv setsid ssh start-stop-daemon stdbuf strace
su sudo systemd-run taskset time timeout tmux unbuffer unshare valgrind watch xargs
xvfb-run
bunx npx pipx pnpx uvx
"""
_STARTERS = frozenset(_NAMES.split())
"""Programs whose arguments say what runs: a yes to one line is none to another."""

_STARTING = frozenset({"dlx", "eval", "exec", "run", "x"})
"""Subcommands of which the same is true, as of `uv run` and `docker exec`."""

_GLOB_SIGNS = str.maketrans({"*": "[*]", "?": "[?]", "[": "[[]"})


class Decision(StrEnum):
    """What becomes of a call before anybody has been asked."""

    AUTO = "auto"
    ASK = "ask"
    DENY = "deny"


Table = Mapping[str, str | Mapping[str, str]]
"""Rules as they are written: by tool, and where need be by pattern of what it is for.

`{"run_command": {"pytest *": "auto", "*": "ask"}, "write_file": "auto"}`
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """What is decided for some calls; `*` in any of the patterns stands for anything.

    *subject* is held against what the call is for, see `subject`. A pattern that ends
    in ` *` also matches what stands before that alone. *tier* empty is every tier.
    """

    decision: Decision
    tool: str = "*"
    subject: str = "*"
    tier: str = ""

    def matches(self, tier: str, tool: str, subject: str) -> bool:
        """Tell whether the rule is for such a call."""
        return (
            self.tier in ("", tier)
            and fnmatchcase(tool, self.tool)
            and (
                fnmatchcase(subject, self.subject)
                or (
                    self.subject.endswith(" *")
                    and fnmatchcase(subject, self.subject.removesuffix(" *"))
                )
            )
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """Rules in order; a call that none matches runs if it is read-only, or is asked."""

    rules: tuple[Rule, ...] = ()

    def decide(self, call: ToolCall, *, tier: str, read_only: bool) -> Decision:
        """Decide what becomes of *call*, made by *tier*."""
        about = subject(call)
        for rule in self.rules:
            if rule.matches(tier, call.name, about):
                return rule.decision

        return Decision.AUTO if read_only else Decision.ASK

    def denies(self, command: str, *, tier: str) -> bool:
        """Tell whether *tier* may never run the plain *command*, a line of words."""
        call = ToolCall("", "run_command", {_COMMAND: command}, command)
        return self.decide(call, tier=tier, read_only=False) is Decision.DENY

    def over(self, other: "Policy") -> "Policy":
        """Return a policy that asks this one first, then *other*."""
        return Policy(self.rules + other.rules)

    def step_by_step(self) -> "Policy":
        """Return a policy that asks about every call but those that this one denies."""
        asking = tuple(
            replace(rule, decision=Decision.ASK)
            if rule.decision is Decision.AUTO
            else rule
            for rule in self.rules
        )
        return Policy(asking).over(ASK_ALWAYS)

    @classmethod
    def of(cls, table: Table, *, tier: str = "") -> "Policy":
        """Read rules as they are written, for one tier or for all.

        Raises:
            ArgumentInvalid: It is no table.
            ConfigurationError: A decision is none of `auto`, `ask` and `deny`.
        """
        check_kind("table", table, Mapping, "a table of tools and decisions")
        return cls(tuple(_rules(table, tier)))


def subject(call: ToolCall) -> str:
    """Return what a call is for, as patterns see it.

    A command is put as one line of plain words, behind `SHELL_SIGN` if it is for a
    shell. A path is put without `.` and `..`. Otherwise it is the URL, or else all
    arguments as JSON.
    """
    arguments = call.arguments or {}
    for name in _SUBJECTS:
        if name in arguments:
            value: object = arguments[name]
            break
    else:
        return json.dumps(arguments, sort_keys=True, default=str)

    if name == "path":
        return normpath(str(value))

    if name != _COMMAND:
        return str(value)

    line = command_line(value)
    return SHELL_SIGN + line if arguments.get("shell") else line


def command_line(command: object) -> str:
    """Return a command, a line or a list of words, as the line that patterns see."""
    try:
        if isinstance(command, str):
            return shlex.join(shlex.split(command))

        return shlex.join(cast("list[str]", command))
    except (TypeError, ValueError):
        return str(command)


def alike(call: ToolCall) -> Rule:
    """Return the rule that lets calls like *call* run, for "approve all like this".

    Of a plain command the program and its subcommand count, of a shell's command the
    whole line, and so it does where the program is told what to run by its arguments
    (`_STARTERS`), has an option first, or stands alone; of other tools the tool alone.
    """
    arguments = call.arguments or {}
    pattern = "*"
    if _COMMAND in arguments:
        line = subject(call)
        kept = None if line.startswith(SHELL_SIGN) else _shared(line)
        pattern = (kept or line).translate(_GLOB_SIGNS) + (" *" if kept else "")

    return Rule(
        decision=Decision.AUTO, tool=call.name.translate(_GLOB_SIGNS), subject=pattern
    )


def _shared(line: str) -> str | None:
    """Return the words that commands like *line* begin with; `None`: all of it."""
    try:
        words = shlex.split(line)
    except ValueError:
        return None

    if len(words) < 2 or shlex.join(words) != line:  # noqa: PLR2004 - and a subcommand
        return None

    name = basename(words[0]).rstrip("0123456789.")
    if name == "python" and words[1] == "-m":
        return shlex.join(words[:3])

    if name in _STARTERS or words[1].startswith("-") or words[1] in _STARTING:
        return None

    return shlex.join(words[:2])


def _rules(table: Table, tier: str) -> Iterator[Rule]:
    known = [each.value for each in Decision]
    for tool, given in table.items():
        patterns: Mapping[str, str]
        patterns = {"*": given} if isinstance(given, str) else given
        for pattern, decision in patterns.items():
            if decision not in known:
                raise ConfigurationError(
                    f"{decision!r} is no decision for {tool!r}: use `auto`, `ask` or"
                    f" `deny`{did_you_mean(decision, known)}"
                )

            yield Rule(
                decision=Decision(decision), tool=tool, subject=pattern, tier=tier
            )


DEFAULT_POLICY = Policy.of(
    {
        "write_file": "auto",
        "edit_file": "auto",
        "update_definition": "auto",
        "fetch_url": "ask",
        "run_command": {
            **dict.fromkeys(
                (
                    "pytest *",
                    "python -m pytest *",
                    "python -m unittest *",
                    "python -m compileall *",
                    "ruff *",
                    "python -m ruff *",
                    "mypy *",
                    "python -m mypy *",
                    "pyright *",
                    "go build *",
                    "go test *",
                    "go vet *",
                    "cargo build *",
                    "cargo check *",
                    "cargo clippy *",
                    "cargo test *",
                    "npm test *",
                    "npm run test *",
                    "npm run lint *",
                    "npx tsc *",
                    "make test *",
                    "make check *",
                    "git status *",
                    "true",
                ),
                "auto",
            ),
            "*": "ask",
        },
    }
)
"""Reading and writing in the workspace runs; so do tests and checks; the rest is asked.

What tests run is what the worker has written: the walls around commands are for that.
"""

ASK_ALWAYS = Policy((Rule(decision=Decision.ASK),))
"""Every call is asked about, those that only read as well."""
