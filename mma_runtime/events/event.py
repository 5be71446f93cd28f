"""Where something happened, and what every event has."""

from dataclasses import dataclass, field

LOWER_TIER = "worker"
"""The tier that all others go before, where there is not room for all at once."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where in a run something happened; made once per agent and shared by its events.

    *task* is the occasion that a tier agent works on: `plan`, `review`, `accept`,
    `ticket` or `hint`. *attempt* counts from 1.
    """

    run: str = ""
    tier: str = ""
    track: str = ""
    ticket: str = ""
    attempt: int = 1
    task: str = ""

    @property
    def agent(self) -> str:
        """The name of the tier agent's actor; empty where the runtime itself acted.

        Tier 1 is one for the run, Tier 2 one for each track; the others are born with
        an attempt at a ticket.
        """
        match self.tier:
            case "" | "orchestrator":
                return self.tier
            case "tech_lead":
                return f"tech_lead-{self.track}" if self.track else "tech_lead"
            case _:
                return f"{self.tier}-{self.ticket}-{self.attempt}"

    def call(self, turn: int) -> str:
        """Name a model call by what it is for, however often it has to be sent.

        The same run names it the same again. *turn* counts the agent's calls from 1.
        """
        return f"{self.task}/{self.ticket or self.track}/{self.attempt}.{turn}"


NOWHERE = Origin()


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """Base of all events.

    *seq* counts from 1 without gaps within one bus; *time* is seconds since the epoch.
    Both are 0 until the bus has stamped the event.
    """

    origin: Origin = NOWHERE
    seq: int = field(default=0, init=False)
    time: float = field(default=0.0, init=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventsSkipped(Event):
    """A slow subscriber missed *count* events; it was not waited for."""

    count: int
