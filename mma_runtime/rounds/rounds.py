"""The tool loop: ask the model, run its tools, bounded by MAX_TOOL_ROUNDS."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

from mma_runtime.costs.reservations import (
    WRAP_UP_INPUT,
    WRAP_UP_OUTPUT,
    WrapUp,
)
from mma_runtime.errors import (
    AnswerUnusable,
    BudgetExhausted,
    ConfigurationError,
    ContentFiltered,
    ProviderError,
    ProviderFacts,
)
from mma_runtime.events import (
    AnswerRejected,
    ConclusionAsked,
    Event,
    HistoryCut,
    Origin,
    RoundStarted,
)
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Completion,
    Finish,
    Reasoning,
    Text,
    ToolCall,
    ToolSpec,
    ToolTurn,
    user,
)
from mma_runtime.model import Model
from mma_runtime.model.attempt import OnChunk
from mma_runtime.rounds.conversation import Conversation
from mma_runtime.tools.toolbox import RoundResults, Toolbox

MAX_TOOL_ROUNDS = 10
"""The default bound of the loop: model calls for one task, the closing one included.

`max_tool_rounds` in a scenario and the environment variable `MAX_TOOL_ROUNDS` set it.
"""

CONCLUDE = (
    "This was the last tool round. You get no more tools. Conclude now: say what is"
    " done, what is not, and what is left to do."
)
OVER_BUDGET = (
    "The budget for this task is used up. You get no more tools. Conclude now, in a few"
    " sentences: say what is done, what is not, and what is left to do."
)
CONTEXT_TOKENS = 100_000
"""How long a history may be, estimated in tokens, unless told otherwise."""

EMPTY_REPLY = "Your reply was empty. Use a tool or answer in words."


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How a model is asked to answer; `None` leaves it to the provider."""

    temperature: float | None = None
    max_output_tokens: int | None = None
    reasoning_effort: str | None = None


PLAIN = Sampling()


@dataclass(frozen=True, slots=True, kw_only=True)
class Concluded:
    """The model answered of its own accord, within the bound."""

    answer: str
    rounds: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounded:
    """The bound ended the loop: *partial* is no answer, only what there is.

    The conversation holds all that was said; run the rounds again on it to go on.
    *exhausted* is the budget that ended it before its rounds were used up.
    """

    partial: str
    rounds: int
    reason: str
    exhausted: BudgetExhausted | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Stuck:
    """The loop was ended because the model went in circles; *reason* says how."""

    partial: str
    rounds: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Aside:
    """What comes between two rounds.

    *text* is said to the model and stays in the history. *refresh* is said for one
    round. *stuck* ends the loop, and is the reason.
    """

    text: str = ""
    refresh: str = ""
    stuck: str = ""


AfterRound = Callable[[Sequence[ToolCall], RoundResults], Awaitable[Aside]]


async def run_rounds(
    model: Model,
    toolbox: Toolbox,
    conversation: Conversation,
    *,
    origin: Origin,
    emit: Callable[[Event], None],
    max_rounds: int = MAX_TOOL_ROUNDS,
    sampling: Sampling = PLAIN,
    after_round: AfterRound | None = None,
    conclude: str = CONCLUDE,
    on_chunk: OnChunk | None = None,
    context_tokens: int = CONTEXT_TOKENS,
) -> Concluded | Bounded | Stuck:
    """Let *model* work on *conversation* with tools until it answers.

    A round is one model call and the tools that it asks for. In the last of
    *max_rounds* the model is told to conclude and gets no tools; if it asks for one all
    the same, the outcome is `Bounded`. What *after_round* returns is said to the model
    before its next call, or ends the loop as `Stuck`. A history that is estimated at
    more than *context_tokens* loses its oldest rounds.

    When a budget has no room for another round, the model is told to conclude with what
    was kept back for that; the outcome is `Bounded` and names the budget.

    Raises `ProviderError` when the model cannot be reached, `BudgetExhausted` when a
    budget has no room for the first round, and `AnswerUnusable` when it replies with
    nothing twice in a row. Broken arguments, unknown tools and failing
    tools go back to the model as error results. Cancellation stops the call and the
    tools that are running; the conversation keeps what was complete.
    """
    turns = conversation.turns
    silent = False
    for number in range(1, max_rounds + 1):
        last = number == max_rounds
        if last and number > 1:
            emit(ConclusionAsked(origin=origin, reason="the last tool round"))
            turns.append(user(conclude))

        if cut := conversation.fit(context_tokens):
            emit(HistoryCut(origin=origin, turns=cut.turns, tokens=cut.tokens))

        emit(RoundStarted(origin=origin, round=number, max_rounds=max_rounds))
        tools = () if last else toolbox.specs
        try:
            completion = await _ask(
                model,
                conversation,
                origin,
                tools=tools,
                sampling=sampling,
                on_chunk=on_chunk,
            )
        except BudgetExhausted as exhausted:
            if number == 1:
                raise

            emit(ConclusionAsked(origin=origin, reason=str(exhausted)))
            short = replace(sampling, max_output_tokens=WRAP_UP_OUTPUT)
            return await _cut_short(
                partial(
                    _ask, model, conversation, origin, sampling=short, on_chunk=on_chunk
                ),
                conversation,
                number,
                exhausted,
            )

        reply = completion.turn
        _raise_if_filtered(model, completion)
        calls = reply.tool_calls
        if not calls and not reply.text.strip():
            if silent or last:
                raise AnswerUnusable(origin.tier, number, "an empty reply")

            silent = True
            emit(AnswerRejected(origin=origin, problem="an empty reply", tries=1))
            turns.append(user(EMPTY_REPLY))
            continue

        silent = False
        if not calls or last:
            return _ended(conversation, completion, number)

        turns.append(reply)
        results = await toolbox.run(
            calls, origin=origin, emit=emit, model_call=origin.call(conversation.calls)
        )
        turns.append(ToolTurn(results.results))
        stuck = await _listen(after_round, conversation, calls, results)
        if stuck:
            return Stuck(partial=reply.text, rounds=number, reason=stuck)

    raise ValueError(f"max_rounds must be at least 1, not {max_rounds}")


async def _ask(
    model: Model,
    conversation: Conversation,
    origin: Origin,
    *,
    tools: tuple[ToolSpec, ...] = (),
    sampling: Sampling,
    on_chunk: OnChunk | None,
) -> Completion:
    """Make one call; one with tools keeps enough back for one without."""
    conversation.calls += 1
    request = ChatRequest(
        model=model.name,
        system=conversation.system,
        turns=tuple(conversation.turns),
        tools=tools,
        temperature=sampling.temperature,
        max_output_tokens=sampling.max_output_tokens,
        reasoning_effort=sampling.reasoning_effort,
        origin=origin,
        turn=conversation.calls,
        counted=conversation.counted,
    )
    completion = await model.complete(
        request, on_chunk, wrap_up=WrapUp.KEEP if tools else WrapUp.USE
    )
    if completion.usage is not None and not model.has_fallbacks:
        conversation.count(request, completion.usage.input)

    return completion


async def _cut_short(
    ask: Callable[[], Awaitable[Completion]],
    conversation: Conversation,
    number: int,
    exhausted: BudgetExhausted,
) -> Bounded:
    """Let the model conclude with what was kept back; keep what it said in any case."""
    turns = conversation.turns
    said = [turn.text for turn in turns if isinstance(turn, AssistantTurn)]
    last_words = next((text for text in reversed(said) if text.strip()), "")
    conversation.conclude(OVER_BUDGET, WRAP_UP_INPUT)
    rounds = number - 1
    try:
        completion = await ask()
    except (BudgetExhausted, ProviderError):
        # What went wrong is an event; why there is no round more is the budget.
        turns.pop()
    else:
        rounds = number
        last_words = completion.turn.text or last_words
        turns.append(AssistantTurn(_without_calls(completion.turn)))

    return Bounded(
        partial=last_words, rounds=rounds, reason=str(exhausted), exhausted=exhausted
    )


def _without_calls(reply: AssistantTurn) -> tuple[Text | Reasoning, ...]:
    kept = tuple(part for part in reply.parts if isinstance(part, Text | Reasoning))
    return kept or (Text("(asked for a tool)"),)


def _ended(
    conversation: Conversation, completion: Completion, number: int
) -> Concluded | Bounded:
    """Keep the last reply, which is an answer, or what there is of one."""
    reply = completion.turn
    if reply.tool_calls:
        # Without the calls: they have no results, and no provider takes a conversation
        # that goes on after a call without its result.
        conversation.turns.append(AssistantTurn(_without_calls(reply)))
        return Bounded(
            partial=reply.text,
            rounds=number,
            reason=f"still asked for {reply.tool_calls[0].name!r} in the last of"
            f" {number} tool rounds",
        )

    conversation.turns.append(reply)
    if completion.finish is Finish.LENGTH:
        return Bounded(
            partial=reply.text,
            rounds=number,
            reason="the answer was cut off at the model's output limit",
        )

    return Concluded(answer=reply.text, rounds=number)


async def _listen(
    after_round: AfterRound | None,
    conversation: Conversation,
    calls: Sequence[ToolCall],
    results: RoundResults,
) -> str:
    """Say what comes between two rounds; return why it goes in circles, or nothing."""
    if after_round is None:
        return ""

    aside = await after_round(calls, results)
    conversation.refresh(aside.refresh)
    if aside.text:
        conversation.say(aside.text)

    return aside.stuck


def _raise_if_filtered(model: Model, completion: Completion) -> None:
    if completion.finish is Finish.CONTENT_FILTER:
        raise ContentFiltered(
            completion.turn.text,
            ProviderFacts(
                provider=model.provider.name,
                model=model.name,
                code=completion.raw_finish,
                request_id=completion.request_id,
            ),
        )


def default_max_rounds(environment: Mapping[str, str]) -> int:
    """Return the bound that `MAX_TOOL_ROUNDS` in *environment* sets, or the default.

    Raises `ConfigurationError` when the variable is not a whole number above 0.
    """
    text = environment.get("MAX_TOOL_ROUNDS", "")
    if not text:
        return MAX_TOOL_ROUNDS

    if not text.isdecimal() or int(text) < 1:
        raise ConfigurationError(
            f"the environment variable MAX_TOOL_ROUNDS is {text!r};"
            " it has to be a whole number above 0"
        )

    return int(text)
