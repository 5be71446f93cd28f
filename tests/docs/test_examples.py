"""The programs in docs/examples do what they say, as programs."""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx2
import pytest

from mma_runtime.testing import Answer, Call, ScriptedServer, wire_server
from tests.docs.blocks import ROOT, save_files

EXAMPLES = ROOT / "docs" / "examples"

SLOW = """
name: slow
tiers: {worker: {model: scripted:worker}}
tickets: [{id: wait, description: Wait.}]
script: slow.script.yaml
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with the tutorial's scenario, and one that takes an hour."""
    scenarios = tmp_path / "scenarios"
    save_files(ROOT / "docs" / "tutorial.md", scenarios)
    (scenarios / "slow.yaml").write_text(SLOW)
    reply = {"tier": "worker", "text": "done", "delay": 3600}
    (scenarios / "slow.script.yaml").write_text(json.dumps({"replies": [reply]}))
    return tmp_path


def run(
    name: str, *arguments: str, folder: Path, server: ScriptedServer | None = None
) -> list[str]:
    done = subprocess.run(
        [sys.executable, "-W", "error", EXAMPLES / name, *arguments],
        cwd=folder,
        env={**os.environ, **(server.environment() if server else {})},
        capture_output=True,
        encoding="utf-8",
        timeout=300,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout.splitlines()


def test_the_agent_asks_its_tools_and_answers(folder: Path) -> None:
    look = [Call(name="in_stock", arguments={"article": name}) for name in ("tea", "x")]
    order = Call(name="reorder", arguments={"article": "tea", "count": 7})
    with wire_server(
        Answer(calls=look), Answer(calls=[order]), Answer(text="Now we have.")
    ) as server:
        printed = run("agent.py", "Enough tea?", folder=folder, server=server)

    assert printed[0] == "Now we have."
    assert printed[1].startswith("3 rounds, $0.0000")
    last = json.dumps(server.requests[2].body)
    assert "Enough tea?" in last
    assert "there is no article 'x'" in last
    assert "7 more of tea are on their way" in last


def test_an_own_actor_gives_up_what_becomes_too_dear(folder: Path) -> None:
    assert run("own_actor.py", "scenarios/hello.yaml", folder=folder)[-1] == (
        "completed 1 ticket completed"
    )
    assert (
        "is too dear"
        in (run("own_actor.py", "scenarios/hello.yaml", "0.00001", folder=folder)[-1])
    )


def test_the_notebook_draws_the_costs(folder: Path) -> None:
    printed = run("cost_over_time.py", "scenarios/hello.yaml", folder=folder)

    assert printed[0].startswith("hello: completed, $0.0000")
    assert printed[1].split()[:3] == ["worker", "2", "calls"]
    assert "<svg" in (folder / "costs.svg").read_text()


@contextmanager
def served(folder: Path, *arguments: str) -> Generator[httpx2.Client]:
    with serving(folder, *arguments) as (client, _):
        yield client


@contextmanager
def serving(
    folder: Path, *arguments: str
) -> Generator[tuple[httpx2.Client, subprocess.Popen[bytes]]]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    app = subprocess.Popen(
        [sys.executable, "-W", "error", EXAMPLES / "web_app.py", str(port), *arguments],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
    )
    try:
        wait_for_port(port, app)
        with httpx2.Client(base_url=f"http://127.0.0.1:{port}", timeout=300) as client:
            yield client, app
    finally:
        app.kill()
        app.communicate()


def wait_for_port(port: int, app: subprocess.Popen[bytes]) -> None:
    while app.poll() is None:
        try:
            socket.create_connection(("127.0.0.1", port)).close()
        except ConnectionRefusedError:
            time.sleep(0.05)  # Another process: there is nothing to be told by.
        else:
            return

    raise AssertionError(app.communicate()[0].decode())


@pytest.mark.parametrize("loop", [(), ("--trio",)], ids=["asyncio", "trio"])
def test_the_web_app_streams_a_run_and_cancels_one_that_nobody_hears(
    folder: Path, loop: tuple[str, ...]
) -> None:
    with served(folder, *loop) as client:
        with client.stream("GET", "/runs/hello") as answer:
            whole = "".join(answer.iter_text())
        with client.stream("GET", "/runs/slow") as answer:
            begun = next(answer.iter_text())
        while len(ended := client.get("/runs").json()) < 2:
            time.sleep(0.05)
        refused = client.get("/runs/nothing")

    kinds = [line[7:] for line in whole.splitlines() if line.startswith("event: ")]
    assert (kinds[0], kinds[-1]) == ("RunStarted", "RunFinished")
    assert begun.startswith("id: 1\nevent: RunStarted\ndata: {")
    assert [one["state"] for one in ended] == ["completed", "cancelled"]
    assert ended[1]["reason"] == "the client has left"
    assert refused.status_code == 422
    assert "nothing.yaml" in refused.json()["error"]


@pytest.mark.parametrize("loop", [(), ("--trio",)], ids=["asyncio", "trio"])
def test_the_web_app_stops_on_an_interrupt_though_a_stream_is_open(
    folder: Path, loop: tuple[str, ...]
) -> None:
    with serving(folder, *loop) as (client, app):
        with client.stream("GET", "/runs/slow") as answer:
            next(answer.iter_text())
            app.send_signal(signal.SIGINT)
            app.wait(timeout=30)

        assert app.poll() is not None
