"""OpenAI and the servers that speak its Chat Completions interface."""

from dataclasses import replace
from datetime import date

import httpx2
import openai
from pydantic import SecretStr

from mma_providers.chat_answer import ChatAnswer
from mma_providers.chat_request import chat_body
from mma_providers.client import Answer, Client, Meaning, secret_of
from mma_providers.failures import Report, retry_after
from mma_providers.openai_error import error_report
from mma_providers.profiles import Profile, openai_profile
from mma_providers.transport import Limits
from mma_providers.wire_json import Object
from mma_runtime.errors import ConnectionFailed, ProviderTimedOut
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.llm.provider import ModelInfo


class OpenAIClient(Client):
    """What both of OpenAI's interfaces share: the SDK, its errors and its models."""

    base_url = "https://api.openai.com/v1"
    sdk_errors = openai.OpenAIError
    request_id_header = "x-request-id"

    def __init__(
        self,
        *,
        api_key: SecretStr | str | None,
        name: str = "openai",
        base_url: str | None = None,
        http_client: httpx2.AsyncClient | None = None,
        limits: Limits | None = None,
    ) -> None:
        super().__init__(
            name=name,
            api_key=api_key,
            base_url=base_url,
            http_client=http_client,
            limits=limits,
        )
        self._opened: openai.AsyncOpenAI | None = None

    @property
    def _sdk(self) -> openai.AsyncOpenAI:
        if self._opened is None:
            self._opened = openai.AsyncOpenAI(
                api_key=secret_of(self._key),
                base_url=self._base_url,
                http_client=self._transport.client,
                max_retries=0,
                timeout=self._transport.timeout,
            )
        return self._opened

    def _profile(self, model: str) -> Profile:
        return openai_profile(model)

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


class OpenAIProvider(OpenAIClient):
    """A `Provider` over Chat Completions; one account at one server."""

    def _prepare(self, request: ChatRequest) -> tuple[Object, Answer]:
        body = chat_body(request, self._profile(request.model))
        return body, ChatAnswer(request.model)

    async def _send(self, request: ChatRequest, body: Object) -> httpx2.Response:
        # As `extra_body`, because the SDK walks through what it is given as arguments,
        # the whole history each time. Entered by hand: the caller closes the response.
        sending = self._sdk.chat.completions.with_streaming_response.create(
            model=request.model,
            messages=[],
            stream=request.streamed,
            extra_body=body,
        )
        return (await sending.__aenter__()).http_response


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
