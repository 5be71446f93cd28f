"""A web app that starts runs and streams their events, on asyncio and on trio.

`GET /runs/NAME` starts `scenarios/NAME.yaml` and answers with its events as they come
(server-sent events). Who closes the connection cancels the run: its model calls and
commands end at once. `GET /runs` tells how the runs have ended and what they cost.

    python web_app.py            # asyncio, by uvicorn
    python web_app.py --trio     # trio, by hypercorn

Needs `starlette`, and `uvicorn` or `hypercorn`.
"""

import json
import signal
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any, cast

import anyio
import hypercorn
import hypercorn.trio
import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mma_runtime import MMAError, Outcome, Run, Runtime
from mma_runtime.events.records import to_record

SCENARIOS = Path("scenarios")
GRACE = 1  # Seconds that open streams get when the server is stopped.


@asynccontextmanager
async def lifespan(_app: Starlette) -> AsyncGenerator[dict[str, Any]]:
    """Keep one runtime for all requests; with the app, all runs end."""
    async with Runtime() as runtime:
        yield {"runtime": runtime, "outcomes": list[Outcome]()}


class EventStream:
    """The response with the events of a run, for as long as the client listens."""

    def __init__(self, run: Run, outcomes: list[Outcome]) -> None:
        self._run = run
        self._outcomes = outcomes

    async def __call__(self, _scope: Scope, receive: Receive, send: Send) -> None:
        """Send until the run ends or the client leaves."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._stream, send, tasks.cancel_scope)
                while (await receive())["type"] != "http.disconnect":
                    pass

                tasks.cancel_scope.cancel()
        finally:
            # The app may be going down: the run's end is waited for all the same.
            with anyio.CancelScope(shield=True):
                self._outcomes.append(await self._run.cancel("the client has left"))

    async def _stream(self, send: Send, scope: anyio.CancelScope) -> None:
        head = {"type": "http.response.start", "status": 200}
        await send({**head, "headers": [(b"content-type", b"text/event-stream")]})
        async for event in self._run.events():
            data = json.dumps(to_record(event))
            text = f"id: {event.seq}\nevent: {type(event).__name__}\ndata: {data}\n\n"
            body = {"type": "http.response.body", "body": text.encode()}
            await send({**body, "more_body": True})

        await send({"type": "http.response.body", "body": b""})
        scope.cancel()


async def start(request: Request) -> EventStream | JSONResponse:
    """Start a scenario by its name."""
    path = SCENARIOS / f"{request.path_params['name']}.yaml"
    try:
        run = await request.state.runtime.start(path)
    except MMAError as error:
        return JSONResponse({"error": str(error)}, status_code=422)

    return EventStream(run, request.state.outcomes)


async def outcomes(request: Request) -> JSONResponse:
    """Tell how runs have ended."""
    return JSONResponse(
        [
            {
                "run": outcome.run,
                "state": outcome.state.value,
                "reason": outcome.reason,
                "usd": str(outcome.costs.total.usd),
            }
            for outcome in request.state.outcomes
        ]
    )


app = Starlette(
    routes=[Route("/runs", outcomes), Route("/runs/{name}", start)], lifespan=lifespan
)


async def interrupted() -> None:
    """Wait for Ctrl-C; hypercorn then stops in order, as uvicorn does by itself."""
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        await anext(aiter(signals))


def main() -> None:
    """Serve on port 8000, or on the one that is given."""
    port = next((int(word) for word in sys.argv[1:] if word.isdigit()), 8000)
    if "--trio" in sys.argv:
        config = hypercorn.Config.from_mapping(
            bind=[f"127.0.0.1:{port}"], graceful_timeout=GRACE
        )
        # Its types know a server's messages by name, Starlette's by their keys.
        serve = partial(hypercorn.trio.serve, shutdown_trigger=interrupted)
        anyio.run(serve, cast("Any", app), config, backend="trio")
    else:
        uvicorn.run(
            app,
            host="127.0.0.1",
            port=port,
            # Else it would wait for its streams, and those for runs that cost money.
            timeout_graceful_shutdown=GRACE,
        )


if __name__ == "__main__":
    main()
