"""OpenAI and the servers that speak its Chat Completions interface."""

import json
from collections.abc import AsyncGenerator
from dataclasses import replace
from datetime import date

import httpx2
import openai
from pydantic import SecretStr

from mma_providers.chat_answer import ChatAnswer, error_report
from mma_providers.chat_request import chat_body
from mma_providers.failures import (
    Late,
    Malformed,
    Progress,
    Report,
    Reported,
    provider_error,
    retry_after,
    without_secret,
)
from mma_providers.profiles import Profile, openai_profile
from mma_providers.sse import EventDecoder
from mma_providers.transport import Limits, Pace, Transport, reading
from mma_providers.wire_json import Object, read_object
from mma_runtime.errors import (
    ConnectionFailed,
    ProtocolViolated,
    ProviderError,
    ProviderTimedOut,
    RequestRejected,
)
from mma_runtime.llm.chat import (
    ChatRequest,
    Chunk,
    Completion,
    Image,
    ToolTurn,
    UserTurn,
)
from mma_runtime.llm.provider import Capabilities, ModelInfo

BASE_URL = "https://api.openai.com/v1"
_FAILURES = (
    openai.OpenAIError,
    httpx2.HTTPError,
    httpx2.StreamError,
    json.JSONDecodeError,
    Reported,
    Malformed,
    Late,
)


class OpenAIProvider:
    """A `Provider` over Chat Completions; one account at one server.

    *http_client* replaces the client that is otherwise built at the first call; it
    stays its owner's to close.
    """

    def __init__(
        self,
        *,
        api_key: SecretStr | str | None,
        name: str = "openai",
        base_url: str | None = None,
        http_client: httpx2.AsyncClient | None = None,
        limits: Limits | None = None,
    ) -> None:
        self._name = name
        self._key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._base_url = base_url or BASE_URL
        self._transport = Transport(
            secure=not self._base_url.startswith("http://"),
            limits=limits or Limits(),
            client=http_client,
        )
        self._sdk: openai.AsyncOpenAI | None = None

    def __repr__(self) -> str:
        """Show name and address; the key has no place here."""
        return f"OpenAIProvider(name={self._name!r}, base_url={self._base_url!r})"

    @property
    def name(self) -> str:
        """The name in `provider:model` addresses."""
        return self._name

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Completion, None]:
        """Send *request* and yield its answer; see `Provider.stream`."""
        profile = openai_profile(request.model)
        self._refuse_unfit(request, profile)
        answer = ChatAnswer(request.model)
        decoder = EventDecoder()
        pace = Pace(self._transport.limits)
        request_id: str | None = None
        try:
            response = await pace.answer(self._send(chat_body(request, profile)))
            request_id = response.headers.get("x-request-id")
            await _check_is_stream(response, pace)
            async with reading(response) as source:
                while not answer.done:
                    data = await pace.read(source)
                    events = decoder.end() if data is None else decoder.feed(data)
                    for event in events:
                        for chunk in answer.take(event.data):
                            yield chunk
                    if data is None:
                        break
                else:
                    await pace.drain(source)
            if not decoder.events:
                raise Malformed("the answer is no event stream")
            completion = answer.completion(request_id)
        except _FAILURES as error:
            progress = Progress(
                model=request.model,
                request_id=request_id,
                begun=decoder.events > 0,
                partial_text=answer.text,
            )
            raise self._failure(error, progress) from self._cause(error)

        yield completion

    async def models(self) -> tuple[ModelInfo, ...]:
        """List the models that the key can use."""
        pace = Pace(self._transport.limits)
        try:
            page = await pace.answer(self._open_sdk("").models.list())
            found = [model async for model in page]
        except _FAILURES as error:
            raise self._failure(error, Progress(model="")) from self._cause(error)

        return tuple(self._model_info(model) for model in found)

    def capabilities(self, model: str) -> Capabilities:
        """Say what may be sent to *model*, from the table of profiles."""
        profile = openai_profile(model)
        return Capabilities(
            tools=profile.tools,
            images=profile.images,
            temperature=profile.sampling != "no",
            json_schema=profile.json_schema,
        )

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Return the model itself; it is billed."""
        return self._name, model, True

    async def aclose(self) -> None:
        """Close all connections; calls that come later are refused."""
        await self._transport.aclose()

    def _open_sdk(self, model: str) -> openai.AsyncOpenAI:
        if self._transport.closed:
            raise provider_error(
                self._name,
                RequestRejected,
                Progress(model=model),
                message="this provider has been closed",
            )
        if self._sdk is None:
            self._sdk = openai.AsyncOpenAI(
                api_key=self._key.get_secret_value() if self._key else "none",
                base_url=self._base_url,
                http_client=self._transport.client,
                max_retries=0,
                timeout=httpx2.Timeout(None, connect=self._transport.limits.connect),
            )
        return self._sdk

    async def _send(self, body: Object) -> httpx2.Response:
        """Return the answer's head, its body unread.

        The body goes as `extra_body`: the SDK would otherwise walk through the whole
        history to check it, and build an object for each chunk of the answer.
        """
        completions = self._open_sdk(body["model"]).chat.completions
        sending = completions.with_streaming_response.create(
            model=body["model"], messages=[], stream=True, extra_body=body
        )
        return (await sending.__aenter__()).http_response

    def _refuse_unfit(self, request: ChatRequest, profile: Profile) -> None:
        problem = ""
        if not profile.images and _has_image(request):
            problem = "this model takes no images"
        elif not profile.tools and request.tools:
            problem = "this model takes no tools"
        if problem:
            raise provider_error(
                self._name,
                RequestRejected,
                Progress(model=request.model),
                message=problem,
            )

    def _failure(self, error: Exception, progress: Progress) -> ProviderError:
        found: Report | type[ProviderError]
        match error:
            case Reported():
                found = error.report
            case openai.APIStatusError():
                found = _status_report(error)
            case openai.APITimeoutError() | httpx2.TimeoutException() | Late():
                found = ProviderTimedOut
            case (
                openai.APIConnectionError() | httpx2.HTTPError() | httpx2.StreamError()
            ):
                found = ConnectionFailed
            case openai.APIError():
                found = error_report(error.body or {"message": error.message})
            case _:
                found = ProtocolViolated
        message = "" if isinstance(found, Report) else _words(error)
        return provider_error(
            self._name, found, progress, message=message, secret=self._key
        )

    def _cause(self, error: Exception) -> Exception | None:
        """Return what to chain: the SDK's error, unless it repeats the key."""
        ours = isinstance(error, (Reported, Malformed, Late))
        text = str(error)
        if ours or without_secret(text, self._key) != text:
            return None
        return error

    def _model_info(self, model: openai.types.Model) -> ModelInfo:
        profile = openai_profile(model.id)
        return ModelInfo(
            id=model.id,
            context=profile.context,
            max_output=profile.max_output,
            shutdown=_day(model) or profile.shutdown,
        )


async def _check_is_stream(response: httpx2.Response, pace: Pace) -> None:
    """Raise where a good status comes with something else than events."""
    kind = response.headers.get("content-type", "").partition(";")[0].strip()
    if kind not in {"application/json", "text/html"}:
        return

    answer = read_object(await pace.answer(response.aread()))
    if answer.get("error"):
        raise Reported(error_report(answer["error"], status=response.status_code))
    raise Malformed(f"a stream of events is due, {kind} came")


def _status_report(error: openai.APIStatusError) -> Report:
    status = error.status_code
    report = error_report(error.body or {"message": error.message}, status=status)
    return replace(
        report,
        status=status,
        request_id=error.request_id,
        retry_after=retry_after(error.response.headers),
    )


def _has_image(request: ChatRequest) -> bool:
    for turn in request.turns:
        match turn:
            case UserTurn():
                parts = turn.parts
            case ToolTurn():
                parts = tuple(part for each in turn.results for part in each.content)
            case _:
                continue
        if any(isinstance(part, Image) for part in parts):
            return True
    return False


def _words(error: Exception) -> str:
    """Return the message of *error*, or of what caused it where that says more."""
    if isinstance(error, openai.APIConnectionError) and error.__cause__:
        error = error.__cause__ if isinstance(error.__cause__, Exception) else error
    return str(error) or type(error).__name__


def _day(model: openai.types.Model) -> date | None:
    try:
        return date.fromisoformat((model.shutdown_date or "")[:10])
    except (ValueError, TypeError):
        return None
