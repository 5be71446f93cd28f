"""Google's Gemini models over generateContent."""

from contextvars import ContextVar
from dataclasses import replace
from functools import cached_property
from typing import Any, ClassVar, NoReturn, Unpack

import httpx2
from google import genai
from google.genai import errors, types

from mma_providers.client import Answer, Client, ClientOptions, Meaning, secret_of
from mma_providers.content_answer import ContentAnswer
from mma_providers.content_request import content_body
from mma_providers.failures import Report, retry_after
from mma_providers.gemini_cache import PrefixCache
from mma_providers.google_error import google_report
from mma_providers.profiles import Profile, gemini_profile
from mma_providers.transport import Transport, no_trust
from mma_providers.wire_json import Object, is_object
from mma_runtime.llm.chat import ChatRequest
from mma_runtime.llm.provider import ModelInfo

_GONE = frozenset({403, 404})  # How the service says that it keeps a prefix no more.
_HANDED_OVER: ContextVar[list[httpx2.Response] | None] = ContextVar(
    "handed_over", default=None
)


class GeminiProvider(Client[genai.Client]):
    """A `Provider` over generateContent; one account at one server.

    With *cache_ttl* (seconds) large prefixes that come again are kept at the service
    for that long, beside what it keeps by itself; storage is billed there by the hour.
    """

    service: ClassVar[str] = "gemini"
    base_url: ClassVar[str] = "https://generativelanguage.googleapis.com"
    sdk_errors: ClassVar[type[Exception]] = errors.APIError
    request_id_header: ClassVar[str] = "x-request-id"

    def __init__(
        self, *, cache_ttl: float | None = None, **options: Unpack[ClientOptions]
    ) -> None:
        super().__init__(**options)
        self._cache_ttl = cache_ttl

    def _make_sdk(self) -> genai.Client:
        return genai.Client(
            api_key=secret_of(self._key),
            vertexai=False,
            http_options=types.HttpOptions(
                base_url=self._base_url,
                httpx_async_client=httpx2.AsyncClient(
                    transport=_HandOver(self._transport), trust_env=False
                ),
                # Two things that are never used here, and that the SDK would
                # otherwise build, each with certificates of its own.
                httpx_client=httpx2.Client(transport=_Unused(), trust_env=False),
                async_client_args={"ssl": no_trust()},
            ),
        )

    @cached_property
    def _prefixes(self) -> PrefixCache | None:
        if self._cache_ttl is None:
            return None
        return PrefixCache(self._sdk.aio.caches, self._cache_ttl)

    async def aclose(self) -> None:
        """Remove what the service keeps for us, then close all connections."""
        if self._prefixes is not None and not self._transport.closed:
            await self._prefixes.clear()
        await super().aclose()

    def _profile(self, model: str) -> Profile:
        return gemini_profile(model)

    def _prepare(self, request: ChatRequest) -> tuple[Object, Answer]:
        body = content_body(request, self._profile(request.model))
        return body, ContentAnswer(request.model, first_call=len(request.turns))

    async def _send(self, request: ChatRequest, body: Object) -> httpx2.Response:
        if self._prefixes is None:
            return await self._generate(request, body)

        short = await self._prefixes.shortened(request.model, body)
        try:
            return await self._generate(request, short)
        except errors.ClientError as error:
            if short is body or error.code not in _GONE:
                raise
            self._prefixes.forget(short)
        return await self._generate(request, body)

    async def _generate(self, request: ChatRequest, body: Object) -> httpx2.Response:
        config = types.GenerateContentConfig(
            automatic_function_calling=types.AutomaticFunctionCallingConfig(
                disable=True
            ),
            automatic_continuation=False,
            http_options=types.HttpOptions(
                extra_body=body, headers=dict(request.headers)
            ),
        )
        models: Any = self._sdk.aio.models
        handed_over: list[httpx2.Response] = []
        token = _HANDED_OVER.set(handed_over)
        try:
            if request.streamed:
                stream = await models.generate_content_stream(
                    model=request.model, contents="", config=config
                )
                async for _ in stream:
                    pass
            else:
                await models.generate_content(
                    model=request.model, contents="", config=config
                )
        except BaseException:
            for response in handed_over:
                await response.aclose()
            raise
        finally:
            _HANDED_OVER.reset(token)
        return handed_over[0]

    async def _list_models(self) -> list[ModelInfo]:
        pager = await self._sdk.aio.models.list()
        return [self._info(model) async for model in pager]

    def _info(self, model: types.Model) -> ModelInfo:
        name = (model.name or "").removeprefix("models/")
        profile = self._profile(name)
        return ModelInfo(
            id=name,
            context=model.input_token_limit or profile.context,
            max_output=model.output_token_limit or profile.max_output,
            shutdown=profile.shutdown,
        )

    def _meaning(self, error: Exception) -> Meaning | None:
        if not isinstance(error, errors.APIError):
            return None

        told: Any = error
        body = told.details if is_object(told.details) else {"message": told.message}
        report = google_report(body, told.code)
        wait = retry_after(told.response.headers)
        return replace(report, retry_after=report.retry_after if wait is None else wait)

    def _report(self, body: Object, status: int | None) -> Report | None:
        return google_report(body, status) if "error" in body else None


class _HandOver(httpx2.AsyncBaseTransport):
    """Sends through our client and keeps a good answer back for us.

    The SDK gets an empty answer in its place, and so makes no objects of it. What tells
    of an error goes to the SDK as it is.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    async def handle_async_request(self, request: httpx2.Request) -> httpx2.Response:
        # The SDK knows one limit for all; ours is for connecting.
        request.extensions["timeout"] = self._transport.timeout.as_dict()
        response = await self._transport.client.send(request, stream=True)
        handed_over = _HANDED_OVER.get()
        if handed_over is None or not response.is_success:
            return response

        handed_over.append(response)
        return httpx2.Response(
            response.status_code, headers={"content-type": "text/event-stream"}
        )


class _Unused(httpx2.BaseTransport):
    def handle_request(self, request: httpx2.Request) -> NoReturn:
        raise httpx2.UnsupportedProtocol("the provider is async", request=request)
