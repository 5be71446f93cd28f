"""`mma models` and `Runtime.models`: what a key can use, asked for once a day."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from mma_runtime.cli.main import cli
from mma_runtime.llm.provider import ModelInfo
from mma_runtime.registry.credentials import Credentials
from mma_runtime.registry.listing import FRESH_FOR, ListingCache
from mma_runtime.runtime import Runtime
from mma_runtime.testing import FunctionProvider
from mma_runtime.testing.wire.chat_completions import error_reply, models_reply
from mma_runtime.testing.wire.scripted import ScriptedServer

KEYS = ("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "GOOGLE_API_KEY")


@pytest.fixture
def wire(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    for name in KEYS:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.chdir(tmp_path)
    with ScriptedServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.openai_url)
        yield server


def mma(*args: str) -> Result:
    return CliRunner().invoke(cli, ["models", *args], standalone_mode=False)


def test_models_are_listed_with_context_price_and_end(
    wire: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    wire.say(models_reply(["gpt-4o-mini", "unheard-of"], {}))

    result = mma("openai", "--json")

    assert result.return_value == 0, result.output
    known, unknown = json.loads(result.stdout)["models"]
    assert known == {
        "model": "openai:gpt-4o-mini",
        "context": 128_000,
        "max_output": 16_384,
        "shutdown": "2027-01-14",
        "input_usd_per_million": "0.15",
        "output_usd_per_million": "0.6",
    }
    assert unknown["input_usd_per_million"] is None


def test_the_answer_is_kept_for_a_day(
    wire: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    wire.say_always(models_reply(["gpt-4o-mini"], {}))

    first, again = mma("openai"), mma("openai")
    mma("openai", "--fresh")
    monkeypatch.setenv("OPENAI_API_KEY", "sk-2")
    mma("openai")

    assert first.stdout == again.stdout
    assert "openai:gpt-4o-mini  128,000  16,384" in first.stdout
    assert len(wire.requests) == 3


def test_without_a_name_all_keys_are_asked(
    wire: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-2")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:9")
    wire.say_always(models_reply(["gpt-4o"], {}))

    result = mma()

    assert result.return_value == 0
    assert "openai:gpt-4o" in result.stdout
    assert "openai-responses:gpt-4o" in result.stdout
    assert "anthropic: the connection failed" in result.stderr


@pytest.mark.parametrize(
    ("args", "code", "message"),
    [
        ((), 6, "no key for any provider; set one of OPENAI_API_KEY, ANTHROPIC_API"),
        ((), 6, "config/mma-runtime/credentials.toml. A server that needs none"),
        (("openai",), 6, "no API key for 'openai'"),
        (("opnai",), 2, "did you mean `openai`"),
    ],
)
def test_what_is_missing_is_said(
    wire: ScriptedServer, args: tuple[str, ...], code: int, message: str
) -> None:
    result = mma(*args)

    assert result.return_value == code
    assert message in result.stderr


@pytest.mark.parametrize("args", [(), ("openai",)])
def test_a_key_that_cannot_be_sent_is_named_and_not_told(
    wire: ScriptedServer, monkeypatch: pytest.MonkeyPatch, args: tuple[str, ...]
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-secret…")

    result = mma(*args)

    assert result.return_value == 6
    assert "for 'openai' from OPENAI_API_KEY holds characters" in result.stderr
    assert "sk-secret" not in result.output
    assert wire.requests == []


def test_a_refused_key_ends_with_the_providers_code(
    wire: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sk-1")
    wire.say(error_reply(401, code="invalid_api_key"))

    result = mma("openai")

    assert result.return_value == 6
    assert "the API key was not accepted" in result.stderr


async def test_a_list_grows_old_and_a_broken_file_counts_as_none(
    wire: ScriptedServer, tmp_path: Path
) -> None:
    credentials = Credentials(api_key=None, base_url=None, source="")
    cache = ListingCache("x", credentials)
    models = (ModelInfo(id="a", context=5),)
    assert await cache.read() is None

    await cache.write(models)
    assert await cache.read() == models
    (path,) = (tmp_path / "cache").rglob("*.json")
    asked = json.loads(path.read_text())["asked"]
    assert await cache.read(now=asked + FRESH_FOR) is None
    assert await cache.read(now=asked - 1) is None

    path.write_text("{broken")
    assert await cache.read() is None


async def test_a_provider_of_the_host_is_asked_itself(wire: ScriptedServer) -> None:
    provider = FunctionProvider(lambda _: "ok", name="mine")

    async with Runtime(providers=[provider]) as runtime:
        assert await runtime.models("mine") == ()
