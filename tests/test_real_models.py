"""`mma run` with the real SDK behind a tier, against a server on loopback."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.chat_completions import error_reply, event
from mma_runtime.testing.wire.scripted import ScriptedServer
from mma_runtime.testing.wire.server import Cut, Recorded, event_reply

SCENARIOS = Path(__file__).parent.parent / "scenarios"
KEY = "sk-test-not-a-real-key-0123456789"
EDIT = Call(
    name="edit_file",
    arguments={
        "path": "greeting.py",
        "old": 'return f"Hello, {name}"',
        "new": 'return f"Hello, {name}!"',
    },
    id="call_edit",
)
READ = Call(name="read_file", arguments={"path": "greeting.py"}, id="call_read")


@pytest.fixture
def wire() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def mma(
    wire: ScriptedServer, folder: Path, *arguments: str, key: str = KEY
) -> subprocess.CompletedProcess[str]:
    """Run the command line in *folder*, with only the wire server to talk to."""
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(folder),
        "OPENAI_BASE_URL": wire.openai_url,
        **({"OPENAI_API_KEY": key} if key else {}),
    }
    return subprocess.run(
        [sys.executable, "-m", "mma_runtime", "run", *arguments],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def bodies(wire: ScriptedServer) -> list[dict[str, Any]]:
    return [request.body for request in wire.requests]


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_a_tier_3_worker_on_gpt_4o_mini_reads_edits_and_finishes(
    wire: ScriptedServer, tmp_path: Path, backend: str
) -> None:
    wire.say(
        Answer(calls=[READ], input_tokens=900, output_tokens=20),
        Answer(calls=[EDIT], input_tokens=1000, output_tokens=60),
        Answer(text="greet ends with an exclamation mark now."),
    )

    file = SCENARIOS / "tier3_gpt_4o_mini.yaml"
    done = mma(wire, tmp_path, str(file), "--json", "--backend", backend)

    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert outcome["state"] == "completed"
    assert "openai:gpt-4o-mini  (real model)" in done.stderr
    first, second, third = bodies(wire)
    assert {body["model"] for body in (first, second, third)} == {"gpt-4o-mini"}
    assert [one["function"]["name"] for one in first["tools"]] == [
        "read_file",
        "edit_file",
    ]
    assert "def greet" in str(first["messages"][-1])  # The target file is shown.
    assert [message["role"] for message in third["messages"]] == [
        "system",
        "user",
        "assistant",
        "tool",
        "assistant",
        "tool",
        "user",
    ]
    assert "+    return" in str(third["messages"][-1])  # What its edit has changed.
    assert 'return f"Hello, {name}"' in str(second["messages"][-1])
    total = (1910 * 0.15 + 85 * 0.60) / 1e6
    assert float(outcome["costs"]["total"]["usd"]) == pytest.approx(total)
    assert KEY not in done.stdout + done.stderr


def test_real_models_go_behind_the_quickstart_by_two_options(
    wire: ScriptedServer, tmp_path: Path
) -> None:
    script = yaml.safe_load((SCENARIOS / "quickstart.script.yaml").read_text())
    replies = {
        (reply["tier"], reply.get("ticket"), reply.get("turn", 1)): reply
        for reply in script["replies"]
    }

    def say(request: Recorded) -> Answer:
        messages = request.body["messages"]
        told = str(messages[1]["content"])
        turn = 1 + sum(message["role"] == "assistant" for message in messages)
        tier, ticket = "qa", "shorten"
        if "## Ticket" in told:
            tier, ticket = (
                "worker",
                told.split("## Ticket ")[1].split(":", maxsplit=1)[0],
            )

        reply = replies[tier, ticket, turn]
        return Answer(
            text=reply.get("text", ""),
            calls=[
                Call(name=c["name"], arguments=c["arguments"], id=f"call_{turn}_{n}")
                for n, c in enumerate(reply.get("tool_calls", ()))
            ],
            input_tokens=reply["usage"]["input"],
            output_tokens=reply["usage"]["output"],
        )

    wire.say_always(say)
    options = ["--model", "worker=openai:gpt-4o-mini"]
    options += ["--model", "tier4=openai/gpt-4o-mini"]

    done = mma(wire, tmp_path, str(SCENARIOS / "quickstart.yaml"), "--json", *options)

    assert done.returncode == 0, done.stderr
    start = done.stderr.splitlines()
    assert [line for line in start if "worker" in line and "scripted" in line] == []
    assert [line for line in start if "orchestrator" in line and "scripted" in line]
    assert len(wire.requests) == 19
    outcome = json.loads(done.stdout)
    lines = {line["tier"]: line for line in outcome["costs"]["lines"]}
    assert lines["worker"]["billed"] is True
    assert lines["orchestrator"]["billed"] is False


def test_a_wrong_key_is_said_once_and_exits_with_6(
    wire: ScriptedServer, tmp_path: Path
) -> None:
    wire.say_always(error_reply(401, code="invalid_api_key", message="Incorrect key"))

    done = mma(wire, tmp_path, str(SCENARIOS / "tier3_gpt_4o_mini.yaml"))

    assert done.returncode == 6
    assert len(wire.requests) == 1
    assert done.stdout.count("the API key was not accepted") == 1
    told = [line for line in done.stderr.splitlines() if line.startswith("ticket")]
    assert sum("the API key was not accepted" in line for line in told) == 1
    assert "Traceback" not in done.stderr
    assert KEY not in done.stdout + done.stderr


def test_a_missing_key_is_said_before_the_first_call(
    wire: ScriptedServer, tmp_path: Path
) -> None:
    done = mma(wire, tmp_path, str(SCENARIOS / "tier3_gpt_4o_mini.yaml"), key="")

    assert done.returncode == 6
    assert "OPENAI_API_KEY" in done.stderr
    assert wire.requests == []


def test_a_stream_that_is_cut_costs_no_finished_work_and_exits_with_6(
    wire: ScriptedServer, tmp_path: Path
) -> None:
    half = event({"choices": [{"index": 0, "delta": {"content": "I will"}}]})
    wire.say_always(event_reply([half, Cut()]))

    done = mma(wire, tmp_path, str(SCENARIOS / "tier3_gpt_4o_mini.yaml"), "--json")

    assert done.returncode == 6
    outcome = json.loads(done.stdout)
    assert outcome["state"] == "provider_failed"
    # Output had begun, so each attempt was one call, counted as an estimate.
    assert outcome["costs"]["total"]["calls"] == len(wire.requests) == 3
    assert outcome["costs"]["total"]["estimated_calls"] == 3
    assert float(outcome["costs"]["total"]["usd"]) > 0


def test_a_server_that_is_not_there_has_cost_nothing(tmp_path: Path) -> None:
    with ScriptedServer() as gone:
        pass

    done = mma(gone, tmp_path, str(SCENARIOS / "tier3_gpt_4o_mini.yaml"), "--json")

    assert done.returncode == 6
    total = json.loads(done.stdout)["costs"]["total"]
    assert (total["calls"], total["unknown_calls"]) == (0, 0)
    assert float(total["usd"]) == 0


def test_a_model_that_the_provider_lacks_is_its_error_and_exits_with_6(
    wire: ScriptedServer, tmp_path: Path
) -> None:
    wire.say_always(error_reply(404, code="model_not_found", message="no such model"))

    done = mma(wire, tmp_path, str(SCENARIOS / "tier3_gpt_4o_mini.yaml"))

    assert done.returncode == 6
    assert len(wire.requests) == 1
    assert done.stdout.startswith("provider_failed: ")
    assert "gpt-4o-mini" in done.stdout
    assert "Traceback" not in done.stderr


def test_a_model_without_a_price_is_refused_where_the_budget_is_in_dollars(
    wire: ScriptedServer, tmp_path: Path
) -> None:
    options = ["--model", "worker=openai:gpt-4o-minii", "--budget", "1"]

    done = mma(wire, tmp_path, str(SCENARIOS / "tier3_gpt_4o_mini.yaml"), *options)

    # Nobody knows its price, and the scenario has a budget in dollars.
    assert done.returncode == 2
    assert "price" in done.stderr
    assert wire.requests == []
