"""Where keys are found, in which order, and what is said when there is none."""

from pathlib import Path

import pytest

from mma_runtime.errors import (
    ConfigurationError,
    CredentialsMissing,
    CredentialsUnusable,
)
from mma_runtime.registry.credentials import CredentialStore, KeyPlaces

PLACES = KeyPlaces(keys=("A_KEY", "B_KEY"), base_urls=("A_URL",))


@pytest.fixture(autouse=True)
def user_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    folder = tmp_path / "user" / "mma-runtime"
    folder.mkdir(parents=True)
    return folder


def write_private(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8")
    path.chmod(0o600)


def found(store: CredentialStore, name: str = "a") -> tuple[str, str]:
    credentials = store.find(name, PLACES)
    assert credentials.api_key is not None
    return credentials.api_key.get_secret_value(), credentials.source


def test_the_first_place_that_answers_counts(tmp_path: Path, user_folder: Path) -> None:
    table = '[a]\napi_key = "user-key"\nbase_url = "http://user"\n'
    write_private(user_folder / "credentials.toml", table)
    store = CredentialStore({}, [tmp_path])
    assert found(store) == (
        "user-key",
        f"api_key in {user_folder / 'credentials.toml'}",
    )
    assert store.find("a", PLACES).base_url == "http://user"

    write_private(tmp_path / "credentials.toml", '[a]\napi_key = "run-key"\n')
    assert found(CredentialStore({}, [tmp_path]))[0] == "run-key"

    (tmp_path / ".env").write_text("# keys\nexport B_KEY='env-file-key'\n")
    source = f"B_KEY in {tmp_path / '.env'}"
    assert found(CredentialStore({}, [tmp_path])) == ("env-file-key", source)

    environment = {"A_KEY": "  ", "B_KEY": "environment-key"}
    store = CredentialStore(environment, [tmp_path])
    assert found(store) == ("environment-key", "B_KEY")


def test_a_section_serves_its_own_provider_only(user_folder: Path) -> None:
    write_private(user_folder / "credentials.toml", '[b]\napi_key = "b-key"\n')

    with pytest.raises(CredentialsMissing):
        CredentialStore({}).find("a", PLACES)


def test_a_missing_key_names_every_place_and_the_section_to_add(
    tmp_path: Path, user_folder: Path
) -> None:
    with pytest.raises(CredentialsMissing) as caught:
        CredentialStore({}, [tmp_path]).find("a", PLACES)

    message = str(caught.value)
    for place in (
        "environment variable A_KEY",
        "environment variable B_KEY",
        str(tmp_path / ".env"),
        str(tmp_path / "credentials.toml"),
        str(user_folder / "credentials.toml"),
        '[a]\n    api_key = "..."',
        "chmod 600",
    ):
        assert place in message


def test_a_provider_that_needs_no_key_goes_without() -> None:
    places = KeyPlaces(keys=("A_KEY",), required=False)

    assert CredentialStore({}).find("a", places).api_key is None


@pytest.mark.parametrize("key", ["sk-topsecret…", "sk-top\nsecret", "топсекрет"])
def test_a_key_that_cannot_be_sent_is_named_and_not_told(
    tmp_path: Path, user_folder: Path, key: str
) -> None:
    path = user_folder / "credentials.toml"
    write_private(path, f'[a]\napi_key = """{key}"""\n')

    for environment, source in (({"A_KEY": key}, "A_KEY"), ({}, f"api_key in {path}")):
        with pytest.raises(CredentialsUnusable) as caught:
            CredentialStore(environment, [tmp_path]).find("a", PLACES)

        assert f"for 'a' from {source} holds" in str(caught.value)
        assert not any(part in str(caught.value) for part in ("secret", "сек"))


@pytest.mark.parametrize(
    "url", ["notaurl", "ftp://host", "http://", "http://h:port", "http://h:99999"]
)
def test_an_address_that_is_none_is_named_and_not_told(
    user_folder: Path, url: str
) -> None:
    path = user_folder / "credentials.toml"
    write_private(path, f'[a]\napi_key = "k"\nbase_url = "{url}"\n')

    with pytest.raises(ConfigurationError) as caught:
        CredentialStore({"A_KEY": "k", "A_URL": url}).find("a", PLACES)
    assert "for 'a' from A_URL is no http(s) address" in str(caught.value)
    assert repr(url) not in str(caught.value)

    with pytest.raises(ConfigurationError, match="from base_url in "):
        CredentialStore({}).find("a", PLACES)


def test_a_file_of_no_use_is_no_trouble_to_who_needs_no_key(
    tmp_path: Path, user_folder: Path
) -> None:
    (user_folder / "credentials.toml").write_text("broken")
    (tmp_path / ".env").write_bytes(b"\xff")
    store = CredentialStore({}, [tmp_path])

    assert store.find("scripted", KeyPlaces(required=False)).api_key is None
    assert store.secrets() == ()


def test_a_file_that_others_can_read_is_refused(user_folder: Path) -> None:
    path = user_folder / "credentials.toml"
    path.write_text('[a]\napi_key = "secret"\n')
    path.chmod(0o644)

    with pytest.raises(ConfigurationError) as caught:
        CredentialStore({}).find("a", PLACES)

    assert f"chmod 600 {path}" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ['[a\napi_key = "topsecret"', 'a = "topsecret"', "[a]\napi_key = ['topsecret']"],
)
def test_a_broken_file_is_named_without_its_content(
    user_folder: Path, text: str
) -> None:
    write_private(user_folder / "credentials.toml", text)

    with pytest.raises(ConfigurationError) as caught:
        CredentialStore({}).find("a", PLACES)

    assert "credentials.toml" in str(caught.value)
    assert "topsecret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_a_dotenv_that_is_no_text_is_named_without_its_content(tmp_path: Path) -> None:
    (tmp_path / ".env").write_bytes(b"A_KEY=sk-secret\xff\n")

    with pytest.raises(ConfigurationError) as caught:
        CredentialStore({}, [tmp_path]).find("a", PLACES)

    assert str(caught.value) == f"{tmp_path / '.env'} is not UTF-8 text"
    assert "sk-secret" not in repr(caught.value.__cause__)
    assert caught.value.__suppress_context__


def test_a_key_is_hidden_in_what_is_found(user_folder: Path) -> None:
    store = CredentialStore({"A_KEY": "topsecret"})

    assert "topsecret" not in repr(store.find("a", PLACES)) + repr(store)
