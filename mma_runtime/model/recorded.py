"""A model whose calls are recorded: intended before, kept after, never paid twice."""

from decimal import Decimal
from functools import partial
from typing import Any

from mma_runtime.costs.reservations import Reservation
from mma_runtime.errors import BudgetExhausted, ProviderError
from mma_runtime.events import ModelCallFinished, ModelCallStarted
from mma_runtime.journal.codec import (
    completion_facts,
    decode,
    error_facts,
    to_completion,
    to_error,
)
from mma_runtime.journal.digests import settings_of
from mma_runtime.journal.journal import Journal
from mma_runtime.journal.kinds import FAILURE, INTENT, REPLY
from mma_runtime.journal.past import Recorded
from mma_runtime.journal.record import Content, Entry
from mma_runtime.llm.chat import ChatRequest, Completion
from mma_runtime.model.attempt import OnChunk
from mma_runtime.model.model import Model

Asked = dict[str, tuple[str, list[Content]]]
"""The calls under way, with each one's digest and turns."""


class RecordedModel(Model):
    """The model *inner* with a *journal* around each call."""

    def __init__(self, inner: Model, journal: Journal) -> None:
        super().__init__(*inner.routes)
        self._inner = inner
        self._journal = journal
        self._asked: Asked = {}
        for route in inner.routes:
            # Without this model, which has the route: a circle outlives its run.
            route.before_send = partial(
                _intend, journal=journal, asked=self._asked, address=route.address
            )

    async def complete(
        self, request: ChatRequest, on_chunk: OnChunk | None = None, **options: Any
    ) -> Completion:
        """Return the recorded reply to *request*, or send it and record the reply.

        The intent is durable before the request is sent, the reply before anybody sees
        it. Raises what `Model.complete` raises, a recorded error too.
        """
        journal = self._journal
        name = request.origin.call(request.turn)
        digest, turns = journal.digests.digest(request)
        if journal.past is not None:
            found = self._recall(request, name, digest)
            if found is not None:
                return self._again(request, found)

            await journal.demand_new(f"the call {name!r}", request.origin)

        self._asked[name] = (digest, turns)
        try:
            completion = await self._inner.complete(request, on_chunk, **options)
        except (ProviderError, BudgetExhausted) as error:
            facts = {"digest": digest, **error_facts(error)}
            await journal.append(
                Entry(kind=FAILURE, origin=request.origin, call=name, facts=facts)
            )
            raise
        finally:
            del self._asked[name]

        await journal.append(
            Entry(
                kind=REPLY,
                origin=request.origin,
                call=name,
                facts={
                    "digest": digest,
                    **completion_facts(completion),
                    **journal.cost_of(name),
                },
                contents={"turn": journal.digests.encoded(completion.turn)},
            )
        )
        return completion

    def _recall(self, request: ChatRequest, name: str, digest: str) -> Recorded | None:
        journal = self._journal
        found = journal.take(REPLY, name) or journal.take(FAILURE, name)
        if found is None or journal.digests.is_same(
            found.facts["digest"], digest, request
        ):
            return found

        if journal.strict:
            if not journal.is_of_earlier_leg(found):
                told = f"the request of call {name!r} is not as it was recorded"
                journal.differ(told)

            return found

        ticket = request.origin.ticket
        if not ticket or journal.is_settled(ticket):
            # What was accepted stays, even where its way there would be another now.
            return found

        journal.forget(found)
        return None

    def _again(self, request: ChatRequest, found: Recorded) -> Completion:
        origin, facts = request.origin, found.facts
        call = f"{found.record.call}.1"
        self._journal.emit(
            ModelCallStarted(origin=origin, call=call, model=self.address, attempt=1)
        )
        if found.record.kind == FAILURE:
            raise to_error(facts, "of this run")

        completion = to_completion(decode(found.contents["turn"]), facts)
        usage, usd = completion.usage, facts.get("usd")
        self._journal.emit(
            ModelCallFinished(
                origin=origin,
                call=call,
                model=facts.get("model", self.address),
                finish=completion.finish.value,
                input_tokens=usage.input if usage else 0,
                output_tokens=usage.output if usage else 0,
                usd=Decimal(usd) if usd is not None else None,
                billed=facts.get("billed", True),
                seconds=0.0,
            )
        )
        return completion


async def _intend(
    request: ChatRequest,
    number: int,
    held: Reservation,
    *,
    journal: Journal,
    asked: Asked,
    address: str,
) -> None:
    """Record that *request* is about to be sent to the model *address*."""
    name = request.origin.call(request.turn)
    digest, turns = asked[name]
    await journal.append(
        Entry(
            kind=INTENT,
            origin=request.origin,
            call=name,
            facts={
                "digest": digest,
                "attempt": number,
                "model": address,
                "billed": held.billed,
                "reserved": [str(held.amount.usd), held.amount.tokens],
                "settings": settings_of(request),
                "turns": len(request.turns),
            },
            contents={f"turn{place}": one for place, one in enumerate(turns)},
        )
    )
