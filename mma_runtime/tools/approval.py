"""People's word on tool calls: who is asked, and what holds from then on."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Self

import anyio

from mma_runtime.arguments import check_flag, check_kind, check_text
from mma_runtime.errors import ToolFailed
from mma_runtime.llm.chat import ToolCall
from mma_runtime.news import News
from mma_runtime.tools.policy import (
    DEFAULT_POLICY,
    Decision,
    Policy,
    Rule,
    alike,
    subject,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Approval:
    """The answer to one question; made by `approve`, `reject` or `happened`.

    *arguments* are what the call is to run with instead of its own. *reason* is told
    to the model. *all_alike* lets calls like this one run from now on. *has_happened*
    has the run go on as if the call had been made.

    Raises:
        ArgumentInvalid: One of them is of another kind: no text passes for a yes.
    """

    approved: bool
    arguments: Mapping[str, Any] | None = None
    reason: str = ""
    all_alike: bool = False
    has_happened: bool = False

    def __post_init__(self) -> None:
        """Check what was given."""
        check_flag("approved", self.approved)
        check_flag("all_alike", self.all_alike)
        check_flag("has_happened", self.has_happened)
        check_text("reason", self.reason)
        if self.arguments is not None:
            check_kind("arguments", self.arguments, Mapping, "a table of arguments")

    @classmethod
    def approve(
        cls, arguments: Mapping[str, Any] | None = None, *, all_alike: bool = False
    ) -> Self:
        """Let the call run, with other *arguments* if they are given."""
        return cls(approved=True, arguments=arguments, all_alike=all_alike)

    @classmethod
    def reject(cls, reason: str = "") -> Self:
        """Do not let the call run, and tell the model why."""
        return cls(approved=False, reason=reason)

    @classmethod
    def happened(cls, reason: str = "") -> Self:
        """Go on without the call: it has happened, and succeeded.

        Only for what is to happen once and may have happened (`Question.why`); *reason*
        then stands for what it has put out.
        """
        return cls(approved=False, reason=reason, has_happened=True)


Approver = Callable[[ToolCall], Awaitable[Approval]]
"""Asks somebody about a call and waits for the answer. Several may wait at once."""

Aliases = Callable[[str], tuple[str, ...]]
"""Returns all that a path is called, as rules put it: see `Files.aliases`."""

_STRICTNESS = tuple(Decision).index


@dataclass(slots=True)
class Consents:
    """What was approved for all calls alike; shared by the agents of a run."""

    rules: list[Rule] = field(default_factory=list[Rule])
    _changed: News = field(default_factory=News)

    def add(self, rule: Rule) -> None:
        """Let calls that *rule* matches run, those that are being asked about too."""
        self.rules.append(rule)
        self._changed.tell()

    def cover(self, call: ToolCall) -> bool:
        """Tell whether *call* needs no question any more."""
        about = subject(call)
        return any(rule.matches("", call.name, about) for rule in self.rules)

    async def covering(self, call: ToolCall) -> None:
        """Wait until *call* needs no question any more; may be for ever."""
        while not self.cover(call):
            await self._changed.wait()


class Gate:
    """Stands before an agent's tools and lets calls through, as they are or changed.

    Without *approve* nobody is there to ask, and what would be asked is rejected.
    *consents* are shared between the gates of a run. Of the names that *aliases* gives
    a call's path the one counts for which the policy is strictest.
    """

    def __init__(
        self,
        policy: Policy = DEFAULT_POLICY,
        *,
        tier: str = "",
        approve: Approver | None = None,
        consents: Consents | None = None,
        aliases: Aliases | None = None,
    ) -> None:
        self._policy = policy
        self._tier = tier
        self._approve = approve
        self._consents = consents or Consents()
        self._aliases = aliases

    def decide(self, call: ToolCall, *, read_only: bool) -> Decision:
        """Tell what becomes of *call* by the policy and what was approved before."""
        decision = max(
            (
                self._policy.decide(each, tier=self._tier, read_only=read_only)
                for each in self._called(call)
            ),
            key=_STRICTNESS,
        )
        if decision is Decision.ASK and self._consents.cover(call):
            return Decision.AUTO

        return decision

    def _called(self, call: ToolCall) -> list[ToolCall]:
        arguments = call.arguments or {}
        path = arguments.get("path")
        if self._aliases is None or not isinstance(path, str):
            return [call]

        return [
            replace(call, arguments={**arguments, "path": name})
            for name in self._aliases(path)
        ]

    def refuse_unasked(self, call: ToolCall, *, read_only: bool) -> None:
        """Raise if *call*, about which nobody was asked, is not to run.

        Raises:
            ToolFailed: the policy denies it, or wants it asked about by now, as a call
                before it has put a link in its way; worded for the model.
        """
        decision = self.decide(call, read_only=read_only)
        if decision is Decision.DENY:
            raise ToolFailed(
                f"{call.name} is not allowed for {subject(call)!r} here; do without it"
            )

        if decision is Decision.ASK:
            raise ToolFailed(
                f"{call.name} for {subject(call)!r} has to be asked about by now;"
                " call it again"
            )

    async def ask(self, call: ToolCall) -> Approval:
        """Ask about *call* and return the answer.

        An approval of all calls alike meanwhile is an answer to this one, too.
        Cancellation withdraws the question.
        """
        if self._approve is None:
            return Approval.reject("nobody is there to approve it")

        answer = Approval.approve()
        async with anyio.create_task_group() as group:

            async def wait_for_consent() -> None:
                await self._consents.covering(call)
                group.cancel_scope.cancel()

            group.start_soon(wait_for_consent)
            answer = await _answer(self._approve, call)
            group.cancel_scope.cancel()

        if answer.approved and answer.all_alike:
            self._consents.add(alike(call))

        return answer


async def _answer(approve: Approver, call: ToolCall) -> Approval:
    try:
        return await approve(call)
    except Exception as error:  # noqa: BLE001 - no answer is no, and the reason is told
        return Approval.reject(
            f"the question could not be asked: {type(error).__name__}: {error}"
        )


def admitted(call: ToolCall, answer: Approval) -> ToolCall:
    """Return *call* as it was approved.

    Raises:
        ToolFailed: it was rejected; worded for the model.
    """
    if not answer.approved:
        because = f": {answer.reason}" if answer.reason else ", without a reason"
        raise ToolFailed(f"this call was rejected{because}")

    if answer.arguments is None:
        return call

    return replace(call, arguments=dict(answer.arguments))
