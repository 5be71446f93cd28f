"""A wire server that gives out replies in order."""

from collections import deque
from collections.abc import Callable

from tests.wire.answers import Answer
from tests.wire.chat_completions import chat_reply, error_reply
from tests.wire.generate_content import content_reply
from tests.wire.messages import messages_reply
from tests.wire.responses import responses_reply
from tests.wire.server import Recorded, Reply, WireServer

Said = Answer | Reply | Callable[[Recorded], "Answer | Reply"]


class ScriptedServer(WireServer):
    """Says what it was told to, first in first out; then a plain error.

    An `Answer` is put into the format of the path that was asked; a `Reply` is sent as
    it is. `say_always` sets what is said when nothing is queued.
    """

    def __init__(self) -> None:
        super().__init__(self._reply)
        self._queue: deque[Said] = deque()
        self._default: Said = error_reply(500, message="the wire server has no more")

    @property
    def openai_url(self) -> str:
        """The base URL for Chat Completions and Responses."""
        return f"{self.url}/v1"

    def say(self, *said: Said) -> None:
        """Queue replies, one for each request."""
        self._queue.extend(said)

    def say_always(self, said: Said) -> None:
        """Set what is said when nothing is queued."""
        self._default = said

    def _reply(self, request: Recorded) -> Reply:
        said = self._queue.popleft() if self._queue else self._default
        if callable(said):
            said = said(request)
        return said if isinstance(said, Reply) else rendered(request, said)


def rendered(request: Recorded, answer: Answer) -> Reply:
    """Return *answer* in the format of the path that *request* asks."""
    if request.path.endswith("/v1/messages"):
        return messages_reply(request, answer)
    if "enerateContent" in request.path:
        return content_reply(request, answer)
    if request.path.endswith("/responses"):
        return responses_reply(request, answer)
    return chat_reply(request, answer)
