"""A wire server that gives out replies in order."""

from collections import deque
from collections.abc import Callable, Generator
from contextlib import contextmanager

from mma_runtime.arguments import check_kind
from mma_runtime.testing.wire import chat_completions, generate_content, messages
from mma_runtime.testing.wire.answers import Answer, Failure
from mma_runtime.testing.wire.responses import responses_reply
from mma_runtime.testing.wire.server import Recorded, Reply, WireServer

Said = Answer | Failure | Reply | Callable[[Recorded], "Answer | Failure | Reply"]


class ScriptedServer(WireServer):
    """Says what it was told to, first in first out; then a plain error.

    An `Answer` or a `Failure` is put into the format of the path that was asked; a
    `Reply` is sent as it is. `requests` holds what was asked, in order.
    """

    def __init__(self) -> None:
        super().__init__(self._reply)
        self._queue: deque[Said] = deque()
        self._default: Said = Failure(
            status=500, message="the wire server has no more to say"
        )

    @property
    def openai_url(self) -> str:
        """The base URL for Chat Completions and Responses; `url` is the others'."""
        return f"{self.url}/v1"

    def say(self, *said: Said) -> None:
        """Queue replies, one for each request.

        Raises:
            ArgumentInvalid: Something among them cannot be said.
        """
        for one in said:
            _check(one)

        self._queue.extend(said)

    def say_always(self, said: Said) -> None:
        """Set what is said when nothing is queued; raises what `say` raises."""
        _check(said)
        self._default = said

    def environment(self, key: str = "test-key") -> dict[str, str]:
        """Return the variables that send every request of the three services here."""
        return {
            "OPENAI_API_KEY": key,
            "OPENAI_BASE_URL": self.openai_url,
            "ANTHROPIC_API_KEY": key,
            "ANTHROPIC_BASE_URL": self.url,
            "GEMINI_API_KEY": key,
            "GEMINI_BASE_URL": self.url,
        }

    def _reply(self, request: Recorded) -> Reply:
        said = self._queue.popleft() if self._queue else self._default
        if callable(said):
            said = said(request)

        return said if isinstance(said, Reply) else rendered(request, said)


def _check(said: Said) -> None:
    if not callable(said):
        wanted = "an `Answer`, a `Failure`, a `Reply` or a function"
        check_kind("said", said, (Answer, Failure, Reply), wanted)


@contextmanager
def wire_server(*said: Said) -> Generator[ScriptedServer]:
    """Serve *said* on a free port of this machine, one for each request.

    The server runs on a thread of its own, so sync and async tests can use it, and
    commands in other processes. Raises what `ScriptedServer.say` raises.
    """
    with ScriptedServer() as server:
        server.say(*said)
        yield server


def rendered(request: Recorded, said: Answer | Failure) -> Reply:
    """Return *said* in the format of the path that *request* asks."""
    if request.path.endswith("/v1/messages"):
        return _reply_of(messages.messages_reply, messages.failure_reply, request, said)

    if "enerateContent" in request.path:
        content = generate_content
        return _reply_of(content.content_reply, content.failure_reply, request, said)

    answer = chat_completions.chat_reply
    if request.path.endswith("/responses"):
        answer = responses_reply

    return _reply_of(answer, chat_completions.failure_reply, request, said)


def _reply_of(
    answer: Callable[[Recorded, Answer], Reply],
    failure: Callable[[Failure], Reply],
    request: Recorded,
    said: Answer | Failure,
) -> Reply:
    return failure(said) if isinstance(said, Failure) else answer(request, said)
