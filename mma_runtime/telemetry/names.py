"""The names of attributes: those that telemetry of language models shares, and ours.

The former are those of `opentelemetry-semantic-conventions` 0.66b2, written out here
because that package comes with the SDK and not with the API.
"""

OPERATION = "gen_ai.operation.name"
PROVIDER = "gen_ai.provider.name"
CONVERSATION = "gen_ai.conversation.id"
WORKFLOW = "gen_ai.workflow.name"
AGENT = "gen_ai.agent.name"
REQUEST_MODEL = "gen_ai.request.model"
REQUEST_STREAM = "gen_ai.request.stream"
REQUEST_MAX_TOKENS = "gen_ai.request.max_tokens"
REQUEST_TEMPERATURE = "gen_ai.request.temperature"
OUTPUT_TYPE = "gen_ai.output.type"
RESPONSE_ID = "gen_ai.response.id"
RESPONSE_MODEL = "gen_ai.response.model"
FINISH_REASONS = "gen_ai.response.finish_reasons"
FIRST_CHUNK = "gen_ai.response.time_to_first_chunk"
INPUT_TOKENS = "gen_ai.usage.input_tokens"
OUTPUT_TOKENS = "gen_ai.usage.output_tokens"
CACHE_READ_TOKENS = "gen_ai.usage.cache_read.input_tokens"
CACHE_WRITE_TOKENS = "gen_ai.usage.cache_creation.input_tokens"
REASONING_TOKENS = "gen_ai.usage.reasoning.output_tokens"
TOKEN_TYPE = "gen_ai.token.type"  # noqa: S105 - of a model's tokens
TOOL = "gen_ai.tool.name"
TOOL_TYPE = "gen_ai.tool.type"
TOOL_CALL = "gen_ai.tool.call.id"
ERROR_TYPE = "error.type"

# Content.
SYSTEM = "gen_ai.system_instructions"
INPUT_MESSAGES = "gen_ai.input.messages"
OUTPUT_MESSAGES = "gen_ai.output.messages"
TOOL_ARGUMENTS = "gen_ai.tool.call.arguments"
TOOL_RESULT = "gen_ai.tool.call.result"

# Ours.
TIER = "mma.tier"
TRACK = "mma.track"
TICKET = "mma.ticket"
TASK = "mma.task"
ATTEMPT = "mma.attempt"
CALL_ATTEMPT = "mma.call.attempt"
COST = "mma.cost.usd"
BILLED = "mma.cost.billed"
COUNTED = "mma.cost.state"
RUN_STATE = "mma.run.state"
RESUMED = "mma.run.resumed"
TICKET_STATE = "mma.ticket.state"
QUEUE_REASON = "mma.queue.reason"

CANCELLED = "cancelled"

_PROVIDERS = {
    "gemini": "gcp.gemini",
    "mistral": "mistral_ai",
    "moonshot": "moonshot_ai",
    "openai-responses": "openai",
    "xai": "x_ai",
}


def provider_name(name: str) -> str:
    """Return what others call the provider that is *name* in `provider:model`."""
    return _PROVIDERS.get(name, name)
