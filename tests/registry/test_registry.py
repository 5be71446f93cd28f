"""Addresses, providers by name, and their credentials."""

import subprocess
import sys

import pytest

from mma_runtime.errors import (
    ConfigurationError,
    CredentialsMissing,
    UnknownProvider,
)
from mma_runtime.registry import Address, Registry
from mma_runtime.registry.credentials import KeyPlaces
from mma_runtime.registry.table import ProviderSpec


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("openai:gpt-4o-mini", Address("openai", "gpt-4o-mini")),
        ("openai/gpt-4o-mini", Address("openai", "gpt-4o-mini")),
        (" openai:ft:gpt-4o:org::id ", Address("openai", "ft:gpt-4o:org::id")),
        ("gpt-4o-mini", Address("openai", "gpt-4o-mini")),
        ("ft:gpt-4o:org::id", Address("openai", "ft:gpt-4o:org::id")),
        ("o3-mini", Address("openai", "o3-mini")),
        ("claude-sonnet-5", Address("anthropic", "claude-sonnet-5")),
        ("gemini-3.8-flash", Address("gemini", "gemini-3.8-flash")),
        ("scripted:worker", Address("scripted", "worker")),
        ("scripted:a/b:c", Address("scripted", "a/b:c")),
    ],
)
def test_an_address_names_a_provider_and_a_model(text: str, expected: Address) -> None:
    assert Registry().parse_address(text) == expected


def test_an_address_is_written_with_a_colon() -> None:
    assert str(Registry().parse_address("openai/gpt-4o")) == "openai:gpt-4o"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "a model is missing"),
        ("openai", "'openai' names a provider but no model; write openai:MODEL"),
        ("openai:", "names no model; write openai:MODEL"),
        ("opnai:gpt-4o", "did you mean `openai`"),
        ("whatever:x", "is not known (known are anthropic, deepseek, gemini, groq"),
        ("gtp-4o", "did you mean a model of `openai`"),
        ("llama3", "'llama3' does not say which provider serves it"),
    ],
)
def test_a_bad_address_says_what_to_write(text: str, expected: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Registry().parse_address(text)

    assert expected in str(caught.value)


def test_a_model_of_two_providers_needs_one_of_them() -> None:
    azure = ProviderSpec(name="azure", target="x:Y", models=("gpt-",))

    with pytest.raises(ConfigurationError, match="openai:gpt-4o or azure:gpt-4o"):
        Registry([azure]).parse_address("gpt-4o")


def test_a_key_is_found_in_the_environment_and_stays_hidden() -> None:
    environment = {"OPENAI_API_KEY": " sk-1 ", "OPENAI_BASE_URL": "http://x/v1"}

    found = Registry(environment=environment).credentials_for("openai")

    assert found.api_key is not None
    assert found.api_key.get_secret_value() == "sk-1"
    assert found.base_url == "http://x/v1"
    assert found.source == "OPENAI_API_KEY"
    assert "sk-1" not in repr(found)


def test_a_missing_key_names_every_place() -> None:
    registry = Registry(environment={"OPENAI_API_KEY": ""})

    with pytest.raises(CredentialsMissing) as caught:
        registry.open_provider("openai")

    assert "environment variable OPENAI_API_KEY" in str(caught.value)


def test_a_provider_that_needs_no_key_goes_without() -> None:
    local = ProviderSpec(
        name="local",
        target="mma_providers.openai:OpenAIProvider",
        places=KeyPlaces(keys=("LOCAL_KEY",), required=False),
    )

    found = Registry([local], environment={}).credentials_for("local")

    assert found.api_key is None


@pytest.mark.parametrize("name", ["openai", "anthropic", "gemini"])
async def test_a_provider_is_opened_by_name(name: str) -> None:
    registry = Registry(environment={f"{name.upper()}_API_KEY": "sk-1"})

    provider = registry.open_provider(name)

    assert provider.name == name
    await provider.aclose()


def test_a_provider_that_cannot_be_loaded_says_why() -> None:
    gone = ProviderSpec(name="gone", target="no_such_module:Provider")

    with pytest.raises(UnknownProvider, match="no_such_module:Provider cannot be"):
        Registry([gone]).open_provider("gone")


def test_the_registry_loads_no_sdk_and_no_provider() -> None:
    code = (
        "import sys, mma_runtime.registry as r;"
        "r.Registry(environment={'OPENAI_API_KEY': 'k'}).credentials_for('openai');"
        "print([m for m in ('openai', 'httpx2', 'mma_providers') if m in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True
    )

    assert done.stdout.strip() == "[]"
