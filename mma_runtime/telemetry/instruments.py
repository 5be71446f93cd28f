"""What is measured: the instruments, their units and the buckets of histograms."""

from opentelemetry.metrics import Counter, Histogram, Meter, UpDownCounter

_TOKENS = tuple(4**power for power in range(14))
_SHORT = tuple(0.01 * 2**power for power in range(14))
_LONG = tuple(0.1 * 2**power for power in range(13))


class Instruments:
    """One of each instrument, made from *meter* and shared by all runs.

    Those that begin with `gen_ai.` are as its conventions say, buckets included.
    """

    def __init__(self, meter: Meter) -> None:
        self.tokens: Histogram = meter.create_histogram(
            "gen_ai.client.token.usage",
            unit="{token}",
            description="Number of input and output tokens used.",
            explicit_bucket_boundaries_advisory=_TOKENS,
        )
        self.chat_seconds: Histogram = meter.create_histogram(
            "gen_ai.client.operation.duration",
            unit="s",
            description="GenAI operation duration.",
            explicit_bucket_boundaries_advisory=_SHORT,
        )
        self.first_chunk_seconds: Histogram = meter.create_histogram(
            "gen_ai.client.operation.time_to_first_chunk",
            unit="s",
            description="Time to receive the first chunk of a streamed answer.",
            explicit_bucket_boundaries_advisory=_SHORT,
        )
        self.agent_seconds: Histogram = meter.create_histogram(
            "gen_ai.invoke_agent.duration",
            unit="s",
            description="Duration of one task of an agent, and of whole runs.",
            explicit_bucket_boundaries_advisory=_LONG,
        )
        self.tool_seconds: Histogram = meter.create_histogram(
            "gen_ai.execute_tool.duration",
            unit="s",
            description="Duration of one tool call.",
            explicit_bucket_boundaries_advisory=_SHORT,
        )
        self.ticket_seconds: Histogram = meter.create_histogram(
            "mma.ticket.duration",
            unit="s",
            description="From the first worker of a ticket to its end.",
            explicit_bucket_boundaries_advisory=_LONG,
        )
        self.cost: Counter = meter.create_counter(
            "mma.cost", unit="{USD}", description="What model calls cost."
        )
        self.retries: Counter = meter.create_counter(
            "mma.model.retries",
            unit="{retry}",
            description="Model calls that are sent again after an error.",
        )
        self.fallbacks: Counter = meter.create_counter(
            "mma.model.fallbacks",
            unit="{fallback}",
            description="Model calls that go to the next model of their tier.",
        )
        self.queued_calls: UpDownCounter = meter.create_up_down_counter(
            "mma.model.queue.depth",
            unit="{call}",
            description="Model calls that wait for a budget or a rate limit.",
        )
        self.waiting_tickets: UpDownCounter = meter.create_up_down_counter(
            "mma.ticket.queue.depth",
            unit="{ticket}",
            description="Tickets that wait for what they need, or for a worker.",
        )
        self.running_tickets: UpDownCounter = meter.create_up_down_counter(
            "mma.ticket.running",
            unit="{ticket}",
            description="Tickets that are being worked on.",
        )
