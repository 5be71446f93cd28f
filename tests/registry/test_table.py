"""Presets, and providers from `mma.toml` and from a scenario."""

from pathlib import Path

import pytest

from mma_runtime.errors import ConfigurationError, ScenarioInvalid
from mma_runtime.llm.chat import ChatRequest, Completion, user
from mma_runtime.registry import Registry
from mma_runtime.scenario.load import loads
from mma_runtime.testing.wire.answers import Answer
from mma_runtime.testing.wire.scripted import ScriptedServer

PRESETS = (
    "deepseek",
    "openrouter",
    "groq",
    "xai",
    "mistral",
    "ollama",
    "vllm",
    "lmstudio",
)
TABLE = """
[providers.local]
base_url = "{url}"
api_key_env = "LOCAL_KEY"
profile = {{ output_limit = "max_new_tokens", stream_usage = false }}
prices = "openai"
"""


@pytest.mark.parametrize("name", PRESETS)
async def test_each_preset_opens(name: str) -> None:
    registry = Registry(environment={f"{name.upper()}_API_KEY": "k"})

    provider = registry.open_provider(name)

    assert provider.name == name
    assert provider.priced_as("m")[1:] == ("m", True)
    await provider.aclose()


@pytest.mark.parametrize("name", ["ollama", "vllm", "lmstudio"])
def test_a_local_server_needs_no_key(name: str) -> None:
    assert Registry(environment={}).credentials_for(name).api_key is None


async def test_a_preset_listens_to_its_own_address(tmp_path: Path) -> None:
    with ScriptedServer() as wire:
        wire.say(Answer(text="ok"))
        registry = Registry(environment={"OLLAMA_BASE_URL": wire.openai_url})
        provider = registry.open_provider("ollama")
        request = ChatRequest(
            model="llama", system="", turns=(user("Hi"),), max_output_tokens=5
        )

        said = [item async for item in provider.stream(request)]
        await provider.aclose()

    assert isinstance(said[-1], Completion)
    assert wire.requests[0].body["max_tokens"] == 5


async def test_a_server_of_mma_toml_is_a_provider(tmp_path: Path) -> None:
    with ScriptedServer() as wire:
        (tmp_path / "mma.toml").write_text(TABLE.format(url=wire.openai_url))
        registry = Registry(environment={"LOCAL_KEY": "k"}, folders=[tmp_path])
        wire.say(Answer(text="ok"))
        provider = registry.open_provider("local")
        request = ChatRequest(
            model="llama", system="", turns=(user("Hi"),), max_output_tokens=5
        )

        said = [item async for item in provider.stream(request)]
        await provider.aclose()

    assert isinstance(said[-1], Completion)
    (sent,) = wire.requests
    assert sent.headers["authorization"] == "Bearer k"
    assert sent.body["max_new_tokens"] == 5
    assert "stream_options" not in sent.body
    assert provider.priced_as("m") == ("openai", "m", True)
    assert "local" in registry.names


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[providers.x", "is not TOML"),
        ('[providers.x]\nbase_url = "localhost"', "providers.x.base_url: is no"),
        ('[providers.x]\nkind = "soap"', "providers.x.kind: Input should be"),
    ],
)
def test_a_bad_mma_toml_says_what_is_wrong(
    tmp_path: Path, text: str, problem: str
) -> None:
    (tmp_path / "mma.toml").write_text(text)

    with pytest.raises(ConfigurationError) as caught:
        Registry(folders=[tmp_path])

    assert problem in str(caught.value)


def test_a_scenario_brings_its_own_server() -> None:
    scenario = loads(
        """
tiers: {worker: {model: "mine:m"}}
providers: {mine: {base_url: "http://127.0.0.1:1/v1"}}
tickets: [{id: a, title: t, description: d}]
"""
    )

    assert scenario.providers["mine"].kind == "openai"


def test_a_bad_server_of_a_scenario_is_named_with_its_line() -> None:
    with pytest.raises(ScenarioInvalid) as caught:
        loads(
            """
tiers: {worker: {model: "mine:m"}}
providers:
  mine: {base_url: "http://127.0.0.1:1/v1", kindd: openai}
tickets: [{id: a, title: t, description: d}]
"""
        )

    assert "scenario:4:" in str(caught.value)
    assert "kindd" in str(caught.value)
