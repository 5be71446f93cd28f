"""Every error of the runtime, in one tree; imports the words of rate limits alone.

::

    MMAError
     ├─ ActorError
     │   ├─ ActorStopped        the actor has ended, or ended before it answered
     │   ├─ ActorFailed         a bug in the handler; the cause is attached
     │   ├─ ActorStartFailed    the actor could not be built or enter its lifespan
     │   ├─ RestartsExhausted   a supervisor gave up on a child
     │   ├─ AskCycle            actors that wait for each other in a circle
     │   ├─ MailboxFull         no room, and the sender would not wait
     │   ├─ NameTaken           another live actor has that name
     │   ├─ Refused             an answer: no, and why
     │   └─ UnhandledMessage    sent to an actor that has no handler for it
     ├─ ProviderError           a model provider did not answer as asked
     │   ├─ AuthenticationFailed
     │   ├─ PermissionRefused
     │   ├─ ModelNotFound
     │   ├─ RateLimited
     │   ├─ QuotaExhausted
     │   ├─ BalanceExhausted
     │   ├─ ContextTooLong
     │   ├─ ContentFiltered
     │   ├─ RequestRejected
     │   ├─ ProviderOverloaded
     │   ├─ ProviderFailed
     │   ├─ ConnectionFailed
     │   ├─ ProviderTimedOut
     │   ├─ ProtocolViolated
     │   └─ ScriptUnmatched
     ├─ ConfigurationError      the user has to change something; nothing was run
     │   ├─ ArgumentInvalid     what a program handed in is of the wrong kind
     │   ├─ ScenarioInvalid
     │   ├─ CredentialsMissing
     │   ├─ CredentialsUnusable
     │   └─ UnknownProvider
     ├─ BudgetExhausted         a limit in dollars, tokens or seconds was reached
     ├─ PlanRejected            a plan that cannot be run: cycle, unknown id, duplicate
     ├─ AnswerUnusable          a tier's model did not answer in the form that is due
     ├─ NotRepeated             a call that is to happen once was not made again
     ├─ AnswerMissing           a single agent's run ended without an answer
     ├─ ToolFailed              what a tool tells the model that went wrong
     │   └─ CommandFailed       a command's exit code is not 0, or its time is up
     ├─ WorkspaceError
     │   ├─ NoRoom              the disk is full or read-only; the run pauses
     │   ├─ OutsideWorkspace
     │   └─ MergeConflict
     ├─ RecordInvalid           a line of JSON that is no event of this version
     └─ JournalError            the record of a run cannot be used
         ├─ JournalInUse        another process writes it
         ├─ JournalTooNew       written by a newer version
         ├─ JournalUnreadable   missing, not a journal, or nothing of it can be read
         ├─ RunUnknown          no recorded run has that name, or several begin so
         └─ JournalUnavailable  it cannot be written: the disk is full or read-only

An error takes the facts and words itself. All are picklable: they hold plain values.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from difflib import get_close_matches

from mma_runtime.rate_limits import RateLimits


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return "; did you mean `x`?" for the nearest of *known*, or nothing."""
    near = nearest(word, known)
    return f"; did you mean `{near}`?" if near else ""


def nearest(word: str, known: Iterable[str]) -> str:
    """Return the one of *known* that *word* is most like, or nothing."""
    near = get_close_matches(word, list(known), n=1)
    return near[0] if near else ""


class MMAError(Exception):
    """Base of every error that the runtime raises on purpose."""

    def __reduce__(self) -> tuple[object, ...]:
        """Rebuild from the attributes: the arguments are facts, not one message."""
        return _rebuild, (type(self), self.args, self.__dict__)


def _rebuild(
    kind: type[MMAError], args: tuple[object, ...], state: dict[str, object]
) -> MMAError:
    error = kind.__new__(kind)
    error.args = args
    error.__dict__.update(state)
    return error


# --- actors -------------------------------------------------------------------


class ActorError(MMAError):
    """Base of what can go wrong between actors."""


class ActorStopped(ActorError):
    """The actor has ended, or it ended before it answered.

    Not `ActorFailed`: nothing is known to be wrong with the request.
    """

    def __init__(self, name: str, reason: str = "") -> None:
        self.name = name
        self.reason = reason
        super().__init__(f"actor {name!r} has stopped" + (reason and f": {reason}"))


class ActorFailed(ActorError):
    """A handler raised; the bug is the `__cause__`, and the parent has heard of it.

    Not `Refused`, which is an answer and restarts nothing.
    """

    def __init__(self, name: str, message: str, problem: str) -> None:
        self.name = name
        self.message = message
        self.problem = problem
        super().__init__(f"actor {name!r} failed while it handled {message}: {problem}")


class ActorStartFailed(ActorError):
    """The actor's constructor or the entry of its `lifespan` raised (the cause)."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"actor {name!r} could not start: {problem}")


class RestartsExhausted(ActorError):
    """A child failed more often than its parent's restart intensity allows.

    The last failure is the `__cause__`. It escalates to the parent's parent, and from
    the top it leaves through `async with` in an `ExceptionGroup`.
    """

    def __init__(self, name: str, restarts: int, seconds: float) -> None:
        self.name = name
        self.restarts = restarts
        self.seconds = seconds
        super().__init__(
            f"actor {name!r} failed again after {restarts} restarts"
            f" within {seconds:g} s; giving up"
        )


class AskCycle(ActorError):
    """An ask that would wait for ever, because its answer waits for the asker.

    `chain` spells out who asks whom, first to last.
    """

    def __init__(self, chain: Sequence[str]) -> None:
        self.chain: tuple[str, ...] = tuple(chain)
        super().__init__(
            "these actors would wait for each other for ever: "
            + " → ".join(self.chain)
            + "; let one of them `tell`, or answer from a task of its own"
        )


class MailboxFull(ActorError):
    """The mailbox had no room, and the sender would not wait (`tell`).

    *capacity* is how many messages may wait. `await ref.send(...)` waits for room
    instead.
    """

    def __init__(self, name: str, capacity: int) -> None:
        self.name = name
        self.capacity = capacity
        super().__init__(
            f"the mailbox of {name!r} is full ({capacity} messages);"
            " `await ref.send(...)` waits for room"
        )


class NameTaken(ActorError):
    """Another live actor has that name; names are free again after the end."""

    def __init__(self, name: str) -> None:
        self.name = name
        super().__init__(f"an actor named {name!r} is already running")


class Refused(ActorError):
    """The answer is no. Raise it in a handler: the asker gets it, nothing restarts."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(reason)


class UnhandledMessage(ActorError, TypeError):
    """A message was sent to an actor that does not handle its type.

    Raised where it is sent, and names what the actor does handle.
    """

    def __init__(self, name: str, message: str, handled: Sequence[str]) -> None:
        self.name = name
        self.message = message
        self.handled: tuple[str, ...] = tuple(handled)
        known = ", ".join(self.handled) or "no messages at all"
        super().__init__(
            f"actor {name!r} does not handle {message}; it handles {known}"
        )


# --- providers ----------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class ProviderFacts:
    """What is known about a provider's error; plain values, no secrets.

    *status* is that of HTTP, *retry_after* is in seconds. *in_stream* tells that output
    had begun, *partial_text* is what had come by then. Without *sent* the request never
    left this machine.
    """

    provider: str
    model: str | None = None
    status: int | None = None
    code: str | None = None
    request_id: str | None = None
    retry_after: float | None = None
    in_stream: bool = False
    partial_text: str = ""
    sent: bool = True


class ProviderError(MMAError):
    """A model provider did not answer as asked; the SDK's error is the `__cause__`.

    Subclasses tell the meaning. `retryable` says whether the same request may succeed
    when it is sent again later, unchanged. `limits` is what the answer said of the
    account's rate limits.
    """

    meaning = "the provider failed"
    advice = ""
    retryable = False
    limits: RateLimits | None = None

    def __init__(self, message: str, facts: ProviderFacts) -> None:
        self.message = message
        self.facts = facts
        where = facts.provider + (f":{facts.model}" if facts.model else "")
        known = [f"HTTP {facts.status}"] if facts.status else []
        known += [facts.code] if facts.code else []
        known += [f"request {facts.request_id}"] if facts.request_id else []
        text = f"{where}: {self.meaning}"
        text += f" ({', '.join(known)})" if known else ""
        text += f": {message}" if message else ""
        text += f". {self.advice}" if self.advice else ""
        super().__init__(text)


class AuthenticationFailed(ProviderError):
    """The key is missing, wrong or expired. Not `PermissionRefused`: it is unknown."""

    meaning = "the API key was not accepted"
    advice = "Check the key, and that it belongs to this provider"


class PermissionRefused(ProviderError):
    """The key is good but may not do this (model, region, organisation)."""

    meaning = "this key may not do that"


class ModelNotFound(ProviderError):
    """There is no such model or deployment at this provider."""

    meaning = "no such model"


class RateLimited(ProviderError):
    """Too many requests or tokens just now; waiting helps. Not `QuotaExhausted`."""

    meaning = "rate limit reached"
    retryable = True


class QuotaExhausted(ProviderError):
    """A quota for a day or a project is used up; waiting seconds does not help."""

    meaning = "the quota is used up"


class BalanceExhausted(ProviderError):
    """There is no credit left, or a spending limit of the account was reached."""

    meaning = "no credit is left on the account"


class ContextTooLong(ProviderError):
    """The request holds more tokens than the model's context window."""

    meaning = "the request is longer than the model's context window"


class ContentFiltered(ProviderError):
    """The provider's filter stopped the request or the answer."""

    meaning = "stopped by the provider's content filter"


class RequestRejected(ProviderError):
    """The provider does not take the request as it is; to send it again is useless."""

    meaning = "the request was rejected"


class ProviderOverloaded(ProviderError):
    """The provider is overloaded. Not `RateLimited`: it is not about this account."""

    meaning = "the provider is overloaded"
    retryable = True


class ProviderFailed(ProviderError):
    """The provider failed within (5xx)."""

    meaning = "the provider failed"
    retryable = True


class ConnectionFailed(ProviderError):
    """The connection could not be made, or broke."""

    meaning = "the connection failed"
    retryable = True


class ProviderTimedOut(ProviderError):
    """No answer, or no next part of it, came in time."""

    meaning = "no answer in time"
    retryable = True


class ProtocolViolated(ProviderError):
    """The answer was not what the interface promises: broken JSON, a stream cut off."""

    meaning = "the answer was malformed"
    retryable = True


class ScriptUnmatched(ProviderError):
    """A scripted model has no reply for this request."""

    meaning = "the script has no reply for this request"


# --- configuration ------------------------------------------------------------


class ConfigurationError(MMAError):
    """Something must be changed by the user before anything can run."""


class ArgumentInvalid(ConfigurationError, TypeError, ValueError):
    """What a program handed in is of the wrong kind; the calling line is to be mended.

    *given* is told in words: what may be long or secret is told by its type alone. It
    is a `TypeError` and a `ValueError` as well, as Python's own errors about arguments.
    """

    def __init__(self, argument: str, given: object, wanted: str) -> None:
        self.argument = argument
        self.given: str = _in_short(given)
        self.wanted = wanted
        super().__init__(f"`{argument}` must be {wanted}, not {self.given}")


def _in_short(value: object) -> str:
    if isinstance(value, type):
        return f"the class `{value.__qualname__}`"

    if value is None or isinstance(value, bool | int | float):
        return repr(value)

    if isinstance(value, str) and len(value) <= _SHOWN_CHARACTERS:
        return repr(value)

    name = getattr(value, "__qualname__", None)
    if callable(value) and isinstance(name, str):
        return f"the function `{name}`"

    return f"a `{type(value).__qualname__}`"


_SHOWN_CHARACTERS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """One thing wrong in a file. *line* and *column* count from 1; 0 is unknown."""

    message: str
    path: str = ""
    line: int = 0
    column: int = 0


class ScenarioInvalid(ConfigurationError):
    """A scenario cannot be used; `problems` holds everything that was found."""

    def __init__(self, file: str, problems: Sequence[Problem]) -> None:
        self.file = file
        self.problems: tuple[Problem, ...] = tuple(problems)
        super().__init__("\n".join(self._line(problem) for problem in self.problems))

    def _line(self, problem: Problem) -> str:
        place = self.file
        if problem.line:
            place += f":{problem.line}:{problem.column}"

        path = f"{problem.path}: " if problem.path else ""
        return f"{place}: {path}{problem.message}"


class CredentialsMissing(ConfigurationError):
    """A provider needs a key that was not found; names where it was looked for.

    *variables* are names of the environment, *files* paths.
    """

    def __init__(
        self,
        provider: str,
        variables: Sequence[str],
        files: Sequence[str],
        advice: str,
    ) -> None:
        self.provider = provider
        self.variables: tuple[str, ...] = tuple(variables)
        self.files: tuple[str, ...] = tuple(files)
        self.advice = advice
        looked_in = [f"environment variable {name}" for name in variables]
        looked_in += files
        super().__init__(
            f"no API key for {provider!r}; looked in {', '.join(looked_in)}. {advice}"
        )


class CredentialsUnusable(ConfigurationError):
    """A provider's key holds what no key can; *source* says where it stands.

    The key itself is never told. Not `AuthenticationFailed`: nothing was sent.
    """

    def __init__(self, provider: str, source: str) -> None:
        self.provider = provider
        self.source = source
        super().__init__(
            f"the API key for {provider!r} from {source} holds characters that no key"
            " has (only printable ASCII can be sent); paste the whole key anew"
        )


class UnknownProvider(ConfigurationError):
    """No provider has that name, or it is not available in this version."""

    def __init__(self, name: str, problem: str) -> None:
        self.name = name
        self.problem = problem
        super().__init__(f"provider {name!r} {problem}")


# --- runs ---------------------------------------------------------------------


class BudgetExhausted(MMAError):
    """A budget does not allow another model call; none was made.

    *level* is `run`, `tier`, `track` or `ticket`, *name* is which of them. *unit* is
    `usd`, `tokens`, `calls` or `seconds`; *limit*, *spent*, *reserved* (by calls in
    flight and for tickets' conclusions) and *needed* (by this call, at least) are in
    that unit.
    """

    def __init__(
        self,
        level: str,
        unit: str,
        limit: str,
        spent: str,
        *,
        name: str = "",
        reserved: str = "0",
        needed: str = "0",
    ) -> None:
        self.level = level
        self.unit = unit
        self.limit = limit
        self.spent = spent
        self.name = name
        self.reserved = reserved
        self.needed = needed
        of = f"the budget of {level} {name!r}" if name else f"the {level}'s budget"
        text = f"{of} is used up: {spent} of {limit} {unit} spent"
        if needed != "0":
            text += f", {reserved} reserved; the next call needs up to {needed}"

        super().__init__(text)


class PlanRejected(MMAError):
    """A plan cannot be run as it is; `problems` lists every reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        self.problems: tuple[str, ...] = tuple(problems)
        super().__init__("; ".join(self.problems))


class AnswerUnusable(MMAError):
    """A tier's model did not answer in the form that is due, after every attempt."""

    def __init__(self, agent: str, attempts: int, problem: str) -> None:
        self.agent = agent
        self.attempts = attempts
        self.problem = problem
        super().__init__(
            f"{agent} gave no usable answer in {attempts}"
            f" attempt{'s' * (attempts != 1)}; the last: {problem}"
        )


class AnswerMissing(MMAError):
    """The run of a question to a single agent ended without an answer.

    *state* is the outcome's (`failed`, `over_budget`, `bounded`, `provider_failed`,
    `cancelled`), *partial* what the model had said by then. *usd* is what is known to
    have been spent, in US dollars; what *unknown_calls* calls cost is not.

    Not `AnswerUnusable`, which may be the reason.
    """

    def __init__(
        self,
        *,
        run: str,
        state: str,
        reason: str,
        partial: str,
        usd: Decimal,
        unknown_calls: int,
    ) -> None:
        self.run = run
        self.state = state
        self.reason = reason
        self.partial = partial
        self.usd = usd
        self.unknown_calls = unknown_calls
        super().__init__(f"no answer: {state}: {reason}")


class ToolFailed(MMAError):
    """Raise it in a tool: the model gets the text as an error result and may go on."""

    def __init__(self, message: str) -> None:
        self.message = message
        super().__init__(message)


class CommandFailed(ToolFailed):
    """A command ran and failed; not for a command that could not be run at all.

    *output* is all that was kept of what it printed. *exit_code* is `None` when its
    time was up, and negative when a signal ended it, as in `subprocess`.
    """

    def __init__(self, command: str, exit_code: int | None, output: str) -> None:
        self.command = command
        self.exit_code = exit_code
        self.output = output
        verdict = "time is up" if exit_code is None else f"exit code {exit_code}"
        super().__init__(f"{verdict}\n{output or '(no output)'}")


class NotRepeated(MMAError):
    """A call that is to happen once may have happened, and was not made again.

    It fails its ticket, and no model is told: it would look for a way around. Somebody
    has to look what became of it, and say so when they are asked.
    """

    def __init__(self, about: str, why: str, reason: str) -> None:
        self.about = about
        self.why = why
        self.reason = reason
        super().__init__(
            f"{about} is to run once and was not run again: {why}; asked whether it may"
            f" run again: {reason}"
        )


class WorkspaceError(MMAError):
    """A file operation on the workspace cannot be done."""


class NoRoom(WorkspaceError):
    """The disk that holds a run's files is full or read-only, or a quota is used up.

    It is nobody's mistake: the run pauses, and can be resumed when there is room. Not
    `JournalUnavailable`, which is about the record alone.
    """

    def __init__(self, problem: str) -> None:
        self.problem = problem
        super().__init__(
            f"{problem}. Nothing that was acknowledged is lost; make room or access,"
            " then resume the run"
        )


class OutsideWorkspace(WorkspaceError):
    """A path leads out of the workspace, after symbolic links were followed."""

    def __init__(self, path: str) -> None:
        self.path = path
        super().__init__(f"{path!r} is outside the workspace")


_SHOWN_CONFLICTS = 5


class MergeConflict(WorkspaceError):
    """A ticket changed lines that another accepted ticket changed as well.

    *conflicts* holds for each path what clashes, in words or between markers.
    """

    def __init__(self, conflicts: Mapping[str, str]) -> None:
        self.conflicts: dict[str, str] = dict(conflicts)
        self.paths: tuple[str, ...] = tuple(self.conflicts)
        super().__init__(
            "conflicts with changes that were accepted meanwhile: "
            + ", ".join(self.paths)
        )

    @property
    def shown(self) -> str:
        """The conflicts to show to whoever is to resolve them; some of many."""
        shown = [f"{path}\n{text}" for path, text in self.conflicts.items()]
        more = len(shown) - _SHOWN_CONFLICTS
        rest = [f"(and conflicts in {more} more files)"] if more > 0 else []
        return "\n\n".join([*shown[:_SHOWN_CONFLICTS], *rest])


class RecordInvalid(MMAError):
    """A record is no event of this version; see `events.schema.from_record`.

    Not `JournalError`: the record may be from anywhere.
    """


# --- the journal --------------------------------------------------------------


class JournalError(MMAError):
    """The record of a run cannot be used as asked."""


class JournalInUse(JournalError):
    """Another process writes this journal; *holder* says which, as far as known.

    It may be read meanwhile: `mma show RUN --follow`.
    """

    def __init__(self, path: str, holder: str) -> None:
        self.path = path
        self.holder = holder
        super().__init__(
            f"the journal {path} is being written by {holder};"
            " wait for its end, or stop it"
        )


class JournalTooNew(JournalError):
    """A newer version of the runtime wrote this journal; it was not touched.

    *version* is that of its format, *known* the newest version that can be read here.
    """

    def __init__(self, path: str, version: int, known: int) -> None:
        self.path = path
        self.version = version
        self.known = known
        super().__init__(
            f"the journal {path} has format {version}, this version knows up to"
            f" {known}; use a newer mma-runtime"
        )


class JournalUnreadable(JournalError):
    """There is no journal, the file is something else, or nothing of it can be read.

    Not `JournalUnavailable`, which is about writing.
    """

    def __init__(self, path: str, problem: str) -> None:
        self.path = path
        self.problem = problem
        super().__init__(f"the journal {path} cannot be read: {problem}")


class RunUnknown(JournalError):
    """No run in the folder *home* is named so, or more than one begins so.

    *known* are the names of all that were recorded there, *alike* those that begin with
    the *name*. Not `JournalUnreadable`: no journal was opened.
    """

    def __init__(
        self, home: str, name: str, known: Sequence[str], alike: Sequence[str] = ()
    ) -> None:
        self.home = home
        self.name = name
        self.known: tuple[str, ...] = tuple(known)
        self.alike: tuple[str, ...] = tuple(alike)
        if not known:
            text = (
                f"no run was recorded in {home}; `mma run FILE` records one, and"
                " `--journal` names another folder"
            )
        elif alike:
            text = f"several runs begin with {name!r}: {', '.join(alike)}; write more"
        else:
            hint = (
                did_you_mean(name, known) or "; `mma runs` lists those that there are"
            )
            text = f"there is no run {name!r} in {home}{hint}"

        super().__init__(text)


class JournalUnavailable(JournalError):
    """The journal cannot be written: the disk is full, read-only or gone.

    All that was acknowledged is safe. A run stops before its next effect and can be
    resumed when the journal can be written again; one that *has_begun* not is none.
    """

    def __init__(self, path: str, problem: str, *, has_begun: bool = True) -> None:
        self.path = path
        self.problem = problem
        then = (
            "Nothing that was acknowledged is lost; make room or access, then resume"
            " the run"
        )
        if not has_begun:
            then = (
                "The run has not begun; make room or access, or record it elsewhere"
                " with `--journal FOLDER` or `home=`"
            )

        super().__init__(f"the journal {path} cannot be written: {problem}. {then}")
