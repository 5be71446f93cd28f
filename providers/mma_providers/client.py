"""What the clients of all services share: one call, from the request to its answer."""

import json
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import aclosing
from dataclasses import replace
from functools import cached_property
from hashlib import sha256
from typing import ClassVar, Generic, Protocol, Required, TypedDict, TypeVar

import httpx2
from pydantic import SecretStr

from mma_providers.failures import (
    Late,
    Malformed,
    Progress,
    Report,
    Reported,
    never_connected,
    provider_error,
    without_secret,
)
from mma_providers.profiles import Profile
from mma_providers.rate_limits import rate_limits
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
from mma_runtime.llm.base_url import is_loopback, shown_url
from mma_runtime.llm.chat import (
    AssistantTurn,
    ChatRequest,
    Chunk,
    Completion,
    Image,
    Text,
    ToolTurn,
    Turn,
    UserTurn,
)
from mma_runtime.llm.provider import Capabilities, ModelInfo
from mma_runtime.llm.usage import Usage
from mma_runtime.rate_limits import RateLimits

T = TypeVar("T")
ReadT = TypeVar("ReadT")
SdkT = TypeVar("SdkT")
Meaning = Report | type[ProviderError]


class Answer(Protocol):
    """Collects one answer of a service's own format."""

    @property
    def done(self) -> bool:
        """Whether the stream has said that it is over."""
        ...

    @property
    def text(self) -> str:
        """What has come so far."""
        ...

    @property
    def usage(self) -> Usage | None:
        """What has been told of what is billed; the same object until there is more."""
        ...

    def take(self, event: bytes) -> list[Chunk]:
        """Read an event and return what it adds; raises `Malformed`, `Reported`.

        May raise what reading JSON of a wrong shape raises.
        """
        ...

    def take_whole(self, body: Object) -> list[Chunk]:
        """Read an answer that was not streamed, as `take` does."""
        ...

    def completion(self, request_id: str | None) -> Completion:
        """Return the whole answer; raises `Malformed` where it is not whole.

        May raise what reading JSON of a wrong shape raises.
        """
        ...


class ClientOptions(TypedDict, total=False):
    """What every client is made with; `Client` says what each means."""

    api_key: Required[SecretStr | str | None]
    name: str
    base_url: str | None
    http_client: httpx2.AsyncClient | None
    limits: Limits | None
    prices: str | None


class Client(Generic[SdkT]):
    """A `Provider` over an SDK; base of one class for each service.

    The SDK builds the request, sends it and words what goes wrong. The answer is read
    from the bytes: the SDKs make objects of every chunk, which costs more than all the
    rest of a call.

    *http_client* replaces the client that is otherwise built at the first call; it
    stays its owner's to close. *prices* is the price list's name for the service, where
    it is another than *name*, which is the service's by default.
    """

    service: ClassVar[str]
    base_url: ClassVar[str]
    sdk_errors: ClassVar[type[Exception]]
    request_id_header: ClassVar[str]

    def __init__(
        self,
        *,
        api_key: SecretStr | str | None,
        name: str | None = None,
        base_url: str | None = None,
        http_client: httpx2.AsyncClient | None = None,
        limits: Limits | None = None,
        prices: str | None = None,
    ) -> None:
        self._name = name or self.service
        self._prices = prices or self._name
        self._key = SecretStr(api_key) if isinstance(api_key, str) else api_key
        self._base_url = base_url or self.base_url
        self._transport = Transport(
            secure=not self._base_url.startswith("http://"),
            limits=limits or Limits(),
            client=http_client,
        )
        self._failures = (
            self.sdk_errors,
            httpx2.HTTPError,
            httpx2.StreamError,
            json.JSONDecodeError,
            Reported,
            Malformed,
            Late,
        )

    def __repr__(self) -> str:
        """Show name and address; the key has no place here."""
        kind = type(self).__name__
        url = shown_url(self._base_url)
        return f"{kind}(name={self._name!r}, base_url={url!r})"

    @property
    def name(self) -> str:
        """The name in `provider:model` addresses."""
        return self._name

    @property
    def account(self) -> str:
        """The service's address and a digest of the key."""
        key = self._key.get_secret_value() if self._key else ""
        return f"{self._base_url}#{sha256(key.encode()).hexdigest()[:16]}"

    async def stream(
        self, request: ChatRequest
    ) -> AsyncGenerator[Chunk | Usage | Completion, None]:
        """Send *request* and yield its answer; see `Provider.stream`."""
        self._check(request)
        body, answer = self._prepare(request)
        self._open()
        pace = Pace(self._transport.limits)
        decoder = EventDecoder()
        request_id: str | None = None
        limits: RateLimits | None = None
        begun = False
        try:
            response = await pace.answer(self._send(request, body))
            request_id = response.headers.get(self.request_id_header)
            limits = rate_limits(response.headers)
            if request.streamed:
                await self._check_is_stream(response, pace)
                async with reading(response) as source:
                    while not answer.done:
                        data = await pace.read(source)
                        events = decoder.end() if data is None else decoder.feed(data)
                        for event in events:
                            begun = True
                            for item in _added(answer, answer.take, event):
                                yield item
                        if data is None:
                            break
                    else:
                        await pace.drain(source)
                if not begun:
                    raise Malformed("the answer is no stream of events")
            else:
                whole = await self._read_whole(response, pace)
                for item in _added(answer, answer.take_whole, whole):
                    yield item
            completion = _read(answer.completion, request_id)
            if limits is not None:
                completion = replace(completion, limits=limits)
        except self._failures as error:
            progress = Progress(
                model=request.model,
                request_id=request_id,
                limits=limits,
                begun=begun,
                partial_text=answer.text,
            )
            raise self._failure(error, progress) from self._cause(error)

        yield completion

    async def models(self) -> tuple[ModelInfo, ...]:
        """List the models that the key can use."""
        self._check_open("")
        self._open()
        try:
            found = await Pace(self._transport.limits).answer(self._list_models())
        except self._failures as error:
            raise self._failure(error, Progress(model="")) from self._cause(error)
        return tuple(found)

    def capabilities(self, model: str) -> Capabilities:
        """Say what may be sent to *model*, from the table of profiles."""
        profile = self._profile(model)
        return Capabilities(
            tools=profile.tools,
            images=profile.images,
            temperature=profile.sampling != "no",
            json_schema=profile.json_schema,
            shutdown=profile.shutdown,
            max_output=profile.max_output,
            context=profile.context,
            counts_cached=profile.counts_cached,
            reasoning=profile.reasoning,
        )

    def priced_as(self, model: str) -> tuple[str, str, bool]:
        """Return the model itself; it is billed."""
        return self._prices, model, True

    async def aclose(self) -> None:
        """Close all connections; calls that come later are refused."""
        await self._transport.aclose()

    @cached_property
    def _sdk(self) -> SdkT:
        return self._make_sdk()

    def _open(self) -> SdkT:
        """Make the SDK's client where there is none yet, ahead of any time limit."""
        return self._sdk

    # What each service does its own way.

    def _make_sdk(self) -> SdkT:
        raise NotImplementedError

    def _profile(self, model: str) -> Profile:
        raise NotImplementedError

    def _prepare(self, request: ChatRequest) -> tuple[Object, Answer]:
        """Return the body to send and what collects its answer."""
        raise NotImplementedError

    async def _send(self, request: ChatRequest, body: Object) -> httpx2.Response:
        """Return the answer's head, its body unread."""
        raise NotImplementedError

    async def _list_models(self) -> list[ModelInfo]:
        raise NotImplementedError

    def _meaning(self, error: Exception) -> Meaning | None:
        """Say what an error of the SDK means; `None` for nothing in particular."""
        raise NotImplementedError

    def _report(self, body: Object, status: int | None) -> Report | None:
        """Return the error that a body tells of, `None` where it tells of none."""
        raise NotImplementedError

    # The checks and words that they share.

    def _check(self, request: ChatRequest) -> None:
        self._check_open(request.model)
        profile = self._profile(request.model)
        problem = ""
        if not profile.images and _has_image(request):
            problem = "this model takes no images"
        elif not profile.tools and request.tools:
            problem = "this model takes no tools"
        if problem:
            raise self._refusal(request.model, problem)

    def _check_open(self, model: str) -> None:
        if self._transport.closed:
            raise self._refusal(model, "this provider has been closed")

    def _refusal(self, model: str, problem: str) -> ProviderError:
        progress = Progress(model=model)
        return provider_error(
            self._name, RequestRejected, progress, message=problem, sent=False
        )

    async def _check_is_stream(self, response: httpx2.Response, pace: Pace) -> None:
        """Raise where a good status comes with something else than events."""
        kind = response.headers.get("content-type", "").partition(";")[0].strip()
        if kind in {"application/json", "text/html"}:
            await self._read_whole(response, pace)
            raise Malformed(f"a stream of events is due, {kind} came")

    async def _read_whole(self, response: httpx2.Response, pace: Pace) -> Object:
        async with aclosing(response):
            body = read_object(await pace.answer(response.aread()))
        report = self._report(body, response.status_code)
        if report is not None:
            raise Reported(report)
        return body

    def _failure(self, error: Exception, progress: Progress) -> ProviderError:
        found: Meaning
        match error:
            case Reported():
                found = error.report
            case Late() | httpx2.TimeoutException():
                found = ProviderTimedOut
            case httpx2.HTTPError() | httpx2.StreamError():
                found = ConnectionFailed
            case _:
                found = self._meaning(error) or ProtocolViolated
        message = "" if isinstance(found, Report) else _words(error)
        sent = not never_connected(error)
        if found is ConnectionFailed or not sent:
            message += f" ({self._server(answers=sent)})"

        failure = provider_error(
            self._name,
            found,
            progress,
            message=message,
            secret=self._key,
            sent=sent,
        )
        failure.limits = progress.limits or _limits_in(error)
        if failure.limits is None and isinstance(found, Report):
            failure.limits = found.limits

        return failure

    def _server(self, *, answers: bool) -> str:
        """Say where requests go, and what to look at first if nobody *answers*."""
        url = shown_url(self._base_url)
        if answers or not is_loopback(self._base_url):
            return f"server {url}"

        return f"server {url}; is it started?"

    def _cause(self, error: Exception) -> Exception | None:
        """Return what to chain: the SDK's error, unless it repeats the key."""
        ours = isinstance(error, (Reported, Malformed, Late))
        text = str(error)
        if ours or without_secret(text, self._key) != text:
            return None
        return error


def secret_of(key: SecretStr | None) -> str:
    """Return the key in plain, for the SDK alone; servers without keys get a word."""
    return key.get_secret_value() if key else "none"


def _added(
    answer: Answer, take: Callable[[T], list[Chunk]], what: T
) -> list[Chunk | Usage]:
    """Return what it adds, and what is billed where that is told with it."""
    told = answer.usage
    added: list[Chunk | Usage] = [*_read(take, what)]
    if answer.usage is not None and answer.usage is not told:
        added.append(answer.usage)

    return added


def _read(take: Callable[[T], ReadT], what: T) -> ReadT:
    try:
        return take(what)
    except (AttributeError, TypeError, KeyError, IndexError, ValueError) as error:
        raise Malformed(f"a part of the answer has a wrong shape: {error}") from error


def _limits_in(error: Exception) -> RateLimits | None:
    """Read the head of the answer that an SDK's error holds, if it holds one."""
    response = getattr(error, "response", None)
    if not isinstance(response, httpx2.Response):
        return None

    return rate_limits(response.headers)


def _has_image(request: ChatRequest) -> bool:
    return any(
        isinstance(part, Image)
        for turn in request.turns
        for part in _visible_parts(turn)
    )


def _visible_parts(turn: Turn) -> Iterator[Text | Image]:
    match turn:
        case UserTurn():
            yield from turn.parts
        case ToolTurn():
            for result in turn.results:
                yield from result.content
        case AssistantTurn():
            pass


def _words(error: Exception) -> str:
    """Return the message of *error*, or of what caused it where that says more."""
    cause = error.__cause__
    if isinstance(cause, httpx2.HTTPError):
        return str(cause) or type(cause).__name__
    return str(error) or type(error).__name__
