"""Anthropic's Claude models over Messages."""

from dataclasses import replace
from typing import Any, ClassVar

import anthropic
import httpx2

from mma_providers.client import Answer, Client, Meaning, secret_of
from mma_providers.failures import Report, retry_after
from mma_providers.messages_answer import MessagesAnswer, messages_report
from mma_providers.messages_request import (
    answers_by_tool,
    default_output,
    messages_body,
)
from mma_providers.profiles import Profile, anthropic_profile
from mma_providers.wire_json import Object, is_object
from mma_runtime.errors import ConnectionFailed, ProviderTimedOut
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.llm.provider import Capabilities, ModelInfo


class AnthropicProvider(Client[anthropic.AsyncAnthropic]):
    """A `Provider` over Messages; one account at one server."""

    service: ClassVar[str] = "anthropic"
    base_url: ClassVar[str] = "https://api.anthropic.com"
    sdk_errors: ClassVar[type[Exception]] = anthropic.AnthropicError
    request_id_header: ClassVar[str] = "request-id"

    def _make_sdk(self) -> anthropic.AsyncAnthropic:
        return anthropic.AsyncAnthropic(
            # Always given: without one the SDK would look for a profile on disk.
            api_key=secret_of(self._key),
            base_url=self._base_url,
            http_client=self._transport.client,
            max_retries=0,
            timeout=self._transport.timeout,
            # The runtime traces its calls itself, and only when it is told to.
            open_telemetry={"traces": False, "propagation": False},
        )

    def capabilities(self, model: str) -> Capabilities:
        """Say what may be sent to *model*, from the table of profiles."""
        limit = default_output(self._profile(model))
        return replace(super().capabilities(model), default_output=limit)

    def _profile(self, model: str) -> Profile:
        return anthropic_profile(model)

    def _prepare(self, request: ChatRequest) -> tuple[Object, Answer]:
        profile = self._profile(request.model)
        by_tool = answers_by_tool(request, profile)
        answer = MessagesAnswer(request.model, by_tool=by_tool)
        return messages_body(request, profile), answer

    async def _send(self, request: ChatRequest, body: Object) -> httpx2.Response:
        # As `extra_body`, because the SDK walks through what it is given as arguments,
        # takes no temperature and warns of models that end, which the runtime does
        # itself. Entered by hand: the caller closes the response.
        sending = self._sdk.messages.with_streaming_response.create(
            model="",
            max_tokens=1,
            messages=[],
            stream=request.streamed,
            extra_body=body,
            extra_headers=dict(request.headers),
        )
        return (await sending.__aenter__()).http_response

    async def _list_models(self) -> list[ModelInfo]:
        return [self._info(model) async for model in self._sdk.models.list(limit=1000)]

    def _info(self, model: anthropic.types.ModelInfo) -> ModelInfo:
        profile = self._profile(model.id)
        return ModelInfo(
            id=model.id,
            context=model.max_input_tokens or profile.context,
            max_output=model.max_tokens or profile.max_output,
            shutdown=model.retires_at.date() if model.retires_at else profile.shutdown,
        )

    def _meaning(self, error: Exception) -> Meaning | None:
        match error:
            case anthropic.APITimeoutError():
                return ProviderTimedOut
            case anthropic.APIConnectionError():
                return ConnectionFailed
            case anthropic.APIStatusError():
                return _status_report(error)
            case _:
                return None

    def _report(self, body: Object, status: int | None) -> Report | None:
        return messages_report(body, status) if body.get("type") == "error" else None


def _status_report(error: anthropic.APIStatusError) -> Report:
    told = is_object(error.body) and is_object(error.body.get("error"))
    body: Any = error.body if told else {"error": {"message": error.message}}
    return replace(
        messages_report(body, error.status_code),
        request_id=error.request_id,
        retry_after=retry_after(error.response.headers),
    )
