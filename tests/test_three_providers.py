"""One team over three services and a compatible server, through the real SDKs."""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from mma_runtime.testing.wire.answers import Answer, Call
from mma_runtime.testing.wire.scripted import ScriptedServer
from mma_runtime.testing.wire.server import Recorded

SCENARIO = Path(__file__).parent.parent / "scenarios" / "three_providers.yaml"
KEYS = {
    "ANTHROPIC_API_KEY": "sk-ant-secret-0123456789",
    "GEMINI_API_KEY": "AIza-secret-0123456789",
    "OPENAI_API_KEY": "sk-secret-0123456789",
    "QA_API_KEY": "qa-secret-0123456789",
}
TEST = "python -c \"from greeting import greet; assert greet('A') == 'Hello, A!'\""
TRACKS = {
    "tracks": [
        {
            "id": "greeting",
            "title": "Greeting",
            "goal": "greet ends with an exclamation mark",
            "acceptance": ["greet('A') is 'Hello, A!'"],
            "modules": ["."],
        }
    ]
}
TICKETS = {
    "tickets": [
        {
            "id": "exclaim",
            "title": "Exclaim",
            "description": "WHERE: greeting.py. WHAT: add an exclamation mark.",
            "target_file": "greeting.py",
            "acceptance": [TEST],
        }
    ]
}
ACCEPTED = {"accepted": True, "remarks": ""}


def edit(old: str, new: str) -> Answer:
    arguments = {"path": "greeting.py", "old": old, "new": new}
    return Answer(calls=[Call(name="edit_file", arguments=arguments)])


class Team:
    """Answers each tier in its own format, by who asks and how often."""

    def __init__(self) -> None:
        self.asked: dict[str, int] = {}

    def __call__(self, request: Recorded) -> Answer:
        tier = tier_of(request)
        self.asked[tier] = turn = self.asked.get(tier, 0) + 1
        said = {
            ("orchestrator", 1): Answer(text=json.dumps(TRACKS), reasoning="hm"),
            ("tech_lead", 1): Answer(text=json.dumps(TICKETS)),
            ("worker", 1): edit('{name}"', '{name}?"'),
            ("worker", 3): edit('{name}?"', '{name}!"'),
        }
        later = {
            "worker": Answer(text="Done."),
            "qa": Answer(text="greeting.py: `?` is not `!`."),
        }
        accepted = Answer(text=json.dumps(ACCEPTED))
        return said.get((tier, turn)) or later.get(tier, accepted)


def tier_of(request: Recorded) -> str:
    if request.path.endswith("/messages"):
        return "orchestrator"
    if "enerateContent" in request.path:
        return "tech_lead"
    return "qa" if request.path.startswith("/qa/") else "worker"


@pytest.fixture
def wire() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.mark.parametrize("backend", ["asyncio", "trio"])
def test_three_services_and_a_compatible_server_do_one_epic(
    wire: ScriptedServer, tmp_path: Path, backend: str
) -> None:
    wire.say_always(Team())
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "ANTHROPIC_BASE_URL": wire.url,
        "GEMINI_BASE_URL": wire.url,
        "OPENAI_BASE_URL": wire.openai_url,
        "QA_BASE_URL": f"{wire.url}/qa/v1",
        **KEYS,
    }

    shutil.copytree(SCENARIO.parent / "greeter", tmp_path / "greeter")
    allowed = "\napprovals: {policy: {run_command: {'python -c *': auto}}}\n"
    here = tmp_path / SCENARIO.name
    here.write_text(SCENARIO.read_text() + allowed)
    command = [sys.executable, "-m", "mma_runtime", "run", str(here)]
    done = subprocess.run(
        [*command, "--jsonl", "--backend", backend],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )

    assert done.returncode == 0, done.stderr
    asked = {tier_of(request) for request in wire.requests}
    assert asked == {"orchestrator", "tech_lead", "worker", "qa"}
    sent = {tier_of(request): request.headers for request in wire.requests}
    assert KEYS["ANTHROPIC_API_KEY"] in sent["orchestrator"]["authorization"]
    assert sent["tech_lead"]["x-goog-api-key"] == KEYS["GEMINI_API_KEY"]
    assert sent["qa"]["authorization"] == f"Bearer {KEYS['QA_API_KEY']}"
    written = done.stdout + done.stderr
    written += "".join(
        path.read_text("utf-8", errors="replace")
        for path in tmp_path.rglob("*")
        if path.is_file()
    )
    assert [name for name, key in KEYS.items() if key in written] == []
