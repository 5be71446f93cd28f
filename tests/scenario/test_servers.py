"""What a scenario and `mma.toml` say of MCP servers, and what is wrong with it."""

from pathlib import Path

import pytest

from mma_runtime.errors import ConfigurationError, ScenarioInvalid
from mma_runtime.scenario.load import load, loads
from mma_runtime.scenario.settings import NO_SETTINGS, Settings, load_settings
from mma_runtime.scenario.tooling import mcp_servers, sandbox_mode, server_secrets
from mma_runtime.tools.sandbox import SandboxMode

SMALLEST = "tickets: [{id: hello, description: Say hello.}]\n"
SERVER = """\
mcp_servers:
  notes:
    command: python notes.py --all
    env:
      PLACE: here
      TOKEN: ${NOTES_TOKEN}
      OTHER: ${UNSET:-else}
    tools: [find]
    seconds: 5
    start_seconds: 7
"""


def said(text: str) -> list[str]:
    with pytest.raises(ScenarioInvalid) as caught:
        loads(text + SMALLEST)

    return [f"{each.path}: {each.message}" for each in caught.value.problems]


def test_a_server_is_read_and_its_keys_are_looked_up_when_a_run_starts(
    tmp_path: Path,
) -> None:
    path = tmp_path / "notes.yaml"
    path.write_text(SERVER + SMALLEST)

    scenario = load(path, environ={"NOTES_TOKEN": "very-secret"})
    (server,) = mcp_servers(scenario, NO_SETTINGS, {"NOTES_TOKEN": "key-12345"}.get)

    assert "very-secret" not in scenario.model_dump_json()
    assert server.command == ("python", "notes.py", "--all")
    assert server.folder == str(tmp_path)
    assert server.environment == {
        "PLACE": "here",
        "TOKEN": "key-12345",
        "OTHER": "else",
    }
    assert (server.tools, server.trusted) == (("find",), False)
    assert (server.seconds, server.start_seconds) == (5.0, 7.0)
    secrets = server_secrets(scenario, NO_SETTINGS, {"NOTES_TOKEN": "key-12345"}.get)
    assert list(secrets) == [("NOTES_TOKEN", "key-12345")]


def test_a_key_that_is_not_set_is_named(tmp_path: Path) -> None:
    scenario = loads(SERVER + SMALLEST)

    with pytest.raises(ConfigurationError, match="'notes': NOTES_TOKEN is not set"):
        mcp_servers(scenario, NO_SETTINGS, dict[str, str]().get)


@pytest.mark.parametrize(
    ("server", "problem"),
    [
        ("{}", "mcp_servers.s: has either a `command` or a `url`"),
        ("{command: x, url: 'http://x'}", "has either a `command` or a `url`"),
        ("{url: 'ftp://x'}", "mcp_servers.s.url: 'ftp://x' is no http(s) address"),
        ("{url: 'http://x', env: {A: b}}", "s.env: means nothing to a `url`"),
        ("{command: x, headers: {A: b}}", "s.headers: means nothing to a `command`"),
        ("{command: 'a \"b'}", "is not a command: no closing quotation"),
        ("{command: x, env: {API_KEY: abc}}", "env.API_KEY: looks like a secret"),
        (
            "{url: 'http://x', headers: {Authorization: Bearer x}}",
            "headers.Authorization: looks like a secret",
        ),
        ("{command: x, comand: y}", "unknown key; did you mean `command`?"),
        ("{command: x, seconds: 0}", "should be more than 0"),
        ("{command: x, tools: find}", "should be a list, not 'find'"),
    ],
)
def test_what_is_wrong_with_a_server_is_told(server: str, problem: str) -> None:
    assert any(problem in one for one in said(f"mcp_servers: {{s: {server}}}\n"))


def test_a_servers_name_is_part_of_the_names_of_its_tools() -> None:
    (problem,) = said("mcp_servers: {my_notes: {command: x}}\n")

    assert "letters, digits and `-`" in problem


def test_tools_of_servers_are_checked_as_far_as_they_are_known() -> None:
    tools = "tiers: {worker: {tools: [mcp__notes__find, 'mcp__ntoes__*']}}\n"

    (problem,) = said(SERVER + tools)

    assert "there is no MCP server 'ntoes'; did you mean `notes`?" in problem


def test_only_workers_have_tools() -> None:
    (problem,) = said("tiers: {tech_lead: {tools: [read_file]}}\n")

    assert problem.startswith("tiers.tech_lead.tools: only the `worker` tier has tools")


def test_mma_toml_says_the_same_for_all_runs(tmp_path: Path) -> None:
    (tmp_path / "mma.toml").write_text(
        'sandbox = "strict"\n'
        "[mcp_servers.web]\n"
        'url = "https://example.com/mcp"\n'
        'headers = { Authorization = "Bearer ${WEB_TOKEN}" }\n'
        "[mcp_servers.notes]\n"
        'command = ["other"]\n'
    )
    settings = load_settings([tmp_path])
    scenario = loads(SERVER + SMALLEST, folder=tmp_path)
    look = {"WEB_TOKEN": "t", "NOTES_TOKEN": "n"}.get

    web, notes = mcp_servers(scenario, settings, look)

    assert web.headers == {"Authorization": "Bearer t"}
    assert notes.command[0] == "python"
    assert sandbox_mode(scenario, settings) is SandboxMode.STRICT
    off = scenario.model_copy(update={"sandbox": "off"})
    assert sandbox_mode(off, settings) is SandboxMode.OFF
    assert sandbox_mode(scenario, Settings()) is SandboxMode.AUTO


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ('sandbox = "stirct"', "sandbox: Input should be 'auto', 'strict' or 'off'"),
        ('[mcp_servers.s]\nurl = "x"', "mcp_servers.s.url: 'x' is no http"),
        ("[mcp_servers.s]\ncommand = 3", "mcp_servers.s.command"),
    ],
)
def test_what_is_wrong_in_mma_toml_is_told(
    text: str, problem: str, tmp_path: Path
) -> None:
    (tmp_path / "mma.toml").write_text(text)

    with pytest.raises(ConfigurationError, match=r"mma\.toml") as caught:
        load_settings([tmp_path])

    assert problem in str(caught.value)
