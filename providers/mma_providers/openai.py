"""OpenAI and the servers that speak its Chat Completions interface."""

from collections.abc import Mapping
from dataclasses import replace
from datetime import date
from typing import ClassVar, Unpack

import httpx2
import openai

from mma_providers.chat_answer import ChatAnswer
from mma_providers.chat_request import chat_body
from mma_providers.client import Answer, Client, ClientOptions, Meaning, secret_of
from mma_providers.failures import Report, retry_after
from mma_providers.openai_error import error_report
from mma_providers.profiles import Profile, compatible_profile, openai_profile
from mma_providers.responses_answer import ResponsesAnswer
from mma_providers.responses_request import responses_body
from mma_providers.wire_json import Object
from mma_runtime.errors import ConnectionFailed, ProviderTimedOut
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.llm.provider import ModelInfo


class OpenAIProvider(Client[openai.AsyncOpenAI]):
    """A `Provider` over Chat Completions, and Responses for models that want it.

    *profile* makes it a client of another server that speaks Chat Completions: it says
    what that server takes, and is the same for all of its models.
    """

    service: ClassVar[str] = "openai"
    base_url: ClassVar[str] = "https://api.openai.com/v1"
    sdk_errors: ClassVar[type[Exception]] = openai.OpenAIError
    request_id_header: ClassVar[str] = "x-request-id"

    def __init__(
        self,
        *,
        profile: Mapping[str, object] | None = None,
        **options: Unpack[ClientOptions],
    ) -> None:
        super().__init__(**options)
        self._compatible = None if profile is None else compatible_profile(profile)

    def _make_sdk(self) -> openai.AsyncOpenAI:
        return openai.AsyncOpenAI(
            api_key=secret_of(self._key),
            base_url=self._base_url,
            http_client=self._transport.client,
            max_retries=0,
            timeout=self._transport.timeout,
        )

    def _profile(self, model: str) -> Profile:
        return self._compatible or openai_profile(model)

    def _wants_responses(self, model: str) -> bool:
        return self._profile(model).responses

    def _prepare(self, request: ChatRequest) -> tuple[Object, Answer]:
        profile = self._profile(request.model)
        if self._wants_responses(request.model):
            return responses_body(request, profile), ResponsesAnswer(request.model)
        return chat_body(request, profile), ChatAnswer(request.model)

    async def _send(self, request: ChatRequest, body: Object) -> httpx2.Response:
        # As `extra_body`, because the SDK walks through what it is given as arguments,
        # the whole history each time. Entered by hand: the caller closes the response.
        if self._wants_responses(request.model):
            sending = self._sdk.responses.with_streaming_response.create(
                stream=request.streamed,
                extra_body=body,
                extra_headers=dict(request.headers),
            )
            return (await sending.__aenter__()).http_response

        chatting = self._sdk.chat.completions.with_streaming_response.create(
            model=request.model,
            messages=[],
            stream=request.streamed,
            extra_body=body,
            extra_headers=dict(request.headers),
        )
        return (await chatting.__aenter__()).http_response

    async def _list_models(self) -> list[ModelInfo]:
        return [self._info(model) async for model in self._sdk.models.list()]

    def _info(self, model: openai.types.Model) -> ModelInfo:
        profile = self._profile(model.id)
        return ModelInfo(
            id=model.id,
            context=profile.context,
            max_output=profile.max_output,
            shutdown=_day(model.shutdown_date) or profile.shutdown,
        )

    def _meaning(self, error: Exception) -> Meaning | None:
        match error:
            case openai.APITimeoutError():
                return ProviderTimedOut
            case openai.APIConnectionError():
                return ConnectionFailed
            case openai.APIStatusError():
                return _status_report(error)
            case _:
                return None

    def _report(self, body: Object, status: int | None) -> Report | None:
        error = body.get("error")
        return error_report(error, status=status) if error else None


class OpenAIResponsesProvider(OpenAIProvider):
    """A `Provider` over Responses for every model; thoughts are kept between rounds."""

    def _wants_responses(self, model: str) -> bool:  # noqa: ARG002 - all do
        return True


def _status_report(error: openai.APIStatusError) -> Report:
    status = error.status_code
    report = error_report(error.body or {"message": error.message}, status=status)
    return replace(
        report,
        status=status,
        request_id=error.request_id,
        retry_after=retry_after(error.response.headers),
    )


def _day(text: str | None) -> date | None:
    try:
        return date.fromisoformat((text or "")[:10])
    except (ValueError, TypeError):
        return None
