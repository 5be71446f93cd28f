import pytest
from hypothesis import given
from hypothesis import strategies as st

from mma_runtime.errors import ConfigurationError
from mma_runtime.llm.chat import ToolCall
from mma_runtime.tools.policy import (
    ASK_ALWAYS,
    DEFAULT_POLICY,
    Decision,
    Policy,
    alike,
    subject,
)


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(id="1", name=name, arguments=arguments)


def command(line: str | list[str], **more: object) -> ToolCall:
    return call("run_command", command=line, **more)


def decide(policy: Policy, each: ToolCall, *, tier: str = "worker") -> str:
    return policy.decide(each, tier=tier, read_only=each.name.startswith("read"))


@pytest.mark.parametrize(
    ("each", "decision"),
    [
        (call("read_file", path="a.py"), "auto"),
        (call("write_file", path="a.py", content="x"), "auto"),
        (call("update_definition", path="a.py", symbol="f", new="x"), "auto"),
        (call("fetch_url", url="https://example.com"), "ask"),
        (call("mine", x=1), "ask"),
        (command("pytest"), "auto"),
        (command("pytest -q tests"), "auto"),
        (command(["pytest", "-q"]), "auto"),
        (command("python   -m pytest -q"), "auto"),
        (command("pytest2"), "ask"),
        (command("python x.py"), "ask"),
        (command("rm -rf ."), "ask"),
        (command("pytest; rm -rf ."), "ask"),
        (command("pytest -q; rm -rf .", shell=True), "ask"),
        (command("pytest -q", shell=True), "ask"),
        (command("'unclosed"), "ask"),
        (command([]), "ask"),
        (call("run_command"), "ask"),
    ],
)
def test_by_default_reading_writing_and_tests_run_and_the_rest_is_asked(
    each: ToolCall, decision: str
) -> None:
    assert decide(DEFAULT_POLICY, each) == decision


def test_the_first_rule_that_matches_decides() -> None:
    policy = Policy.of(
        {
            "run_command": {"git push *": "deny", "git *": "auto", "*": "ask"},
            "write_*": {"src/*": "auto", "*": "deny"},
            "read_file": "ask",
        }
    )

    assert decide(policy, command("git push --force")) == "deny"
    assert decide(policy, command("git push")) == "deny"
    assert decide(policy, command("git log")) == "auto"
    assert decide(policy, command("ls")) == "ask"
    assert decide(policy, call("write_file", path="src/a.py")) == "auto"
    assert decide(policy, call("write_file", path="src/../setup.py")) == "deny"
    assert decide(policy, call("write_file", path="./src//a.py")) == "auto"
    assert decide(policy, call("read_file", path="a")) == "ask"


def test_a_policy_may_be_for_one_tier_and_lie_over_another() -> None:
    policy = Policy.of({"run_command": "deny"}, tier="tech_lead").over(
        Policy.of({"run_command": "auto"})
    )

    assert decide(policy, command("ls"), tier="tech_lead") == "deny"
    assert decide(policy, command("ls")) == "auto"


def test_in_step_mode_all_is_asked() -> None:
    assert decide(ASK_ALWAYS, call("read_file", path="a")) == "ask"
    assert decide(ASK_ALWAYS, command("pytest")) == "ask"


def test_step_by_step_all_is_asked_but_what_is_denied() -> None:
    policy = Policy.of({"run_command": {"pytest *": "auto", "rm *": "deny"}})

    stepped = policy.over(DEFAULT_POLICY).step_by_step()

    assert decide(stepped, call("read_file", path="a")) == "ask"
    assert decide(stepped, call("write_file", path="a")) == "ask"
    assert decide(stepped, command("pytest -q")) == "ask"
    assert decide(stepped, command("rm a")) == "deny"


def test_other_tools_are_matched_by_their_arguments_as_json() -> None:
    policy = Policy.of({"mcp__db__*": {'*"table": "users"*': "deny", "*": "auto"}})

    assert decide(policy, call("mcp__db__drop", table="users")) == "deny"
    assert decide(policy, call("mcp__db__drop", table="other")) == "auto"


def test_a_decision_that_there_is_not_is_named() -> None:
    with pytest.raises(ConfigurationError, match=r"'aks' is no decision .* mean `ask`"):
        Policy.of({"run_command": {"*": "aks"}})


@pytest.mark.parametrize(
    ("asked", "same", "other"),
    [
        ("git status", "git status -s", "git push"),
        ("ls a", "ls a b", "ls ab"),
        ("python -m tool a", "python -m tool b", "python -m other"),
        ("python3.11 -m tool a", "python3.11 -m tool b", "python3.11 -c 'evil'"),
        ("tool 'a b' c", "tool 'a b' d", "tool 'a c'"),
        ("make [a-z]", "make [a-z] -j", "make b"),
    ],
)
def test_calls_alike_have_program_and_subcommand_in_common(
    asked: str, same: str, other: str
) -> None:
    policy = Policy((alike(command(asked)),))

    assert decide(policy, command(asked)) == "auto"
    assert decide(policy, command(same)) == "auto"
    assert decide(policy, command(other)) == "ask"
    assert decide(policy, command(asked, shell=True)) == "ask"


@pytest.mark.parametrize(
    ("asked", "other"),
    [
        ("ls -l", "ls"),
        ("python script.py 1", "python script.py 2"),
        ("python -c 'x'", "python -c 'y'"),
        ("python -Ic 'x'", "python -Ic 'y'"),
        ("bash -lc pytest", "bash -c pytest"),
        ("/bin/sh -ec ls", "/bin/sh -ec rm"),
        ("node -e 1", "node -e 2"),
        ("git -C . status", "git -C . push"),
        ("git -c a=b status", "git -c a=!sh status"),
        ("xargs -n1 ls", "xargs -n1 rm"),
        ("env A=1 ls", "env A=1 rm"),
        ("timeout 5 ls", "timeout 5 rm"),
        ("sudo ls", "sudo ls -l"),
        ("find . -name x", "find . -delete"),
        ("awk 'BEGIN {x}'", "awk 'BEGIN {y}'"),
        ("busybox sh -c x", "busybox sh -c y"),
        ("uv run pytest", "uv run python"),
        ("docker exec box ls", "docker exec box rm"),
        ("git", "git push"),
        ("say 'never ended", "say 'never ended at all"),
    ],
)
def test_where_arguments_say_what_runs_only_the_very_same_is_alike(
    asked: str, other: str
) -> None:
    policy = Policy((alike(command(asked)),))

    assert decide(policy, command(asked)) == "auto"
    assert decide(policy, command(other)) == "ask"


def test_of_a_shells_command_only_the_very_same_is_alike() -> None:
    policy = Policy((alike(command("ls | wc", shell=True)),))

    assert decide(policy, command("ls | wc", shell=True)) == "auto"
    assert decide(policy, command("ls | wc -l", shell=True)) == "ask"


def test_of_other_tools_all_calls_are_alike() -> None:
    policy = Policy((alike(call("mcp__a__b", x=1)),))

    assert decide(policy, call("mcp__a__b", x=2)) == "auto"
    assert decide(policy, call("mcp__a__c", x=1)) == "ask"


@given(line=st.text(), shell=st.booleans())
def test_whatever_the_command_a_call_is_like_itself(line: str, shell: bool) -> None:
    each = command(line, shell=shell)

    assert alike(each).matches("worker", each.name, subject(each))


@given(line=st.text(alphabet="a ;|&$`'\"\\\n*", min_size=1))
def test_no_shell_command_passes_for_a_plain_one(line: str) -> None:
    policy = Policy.of({"run_command": {"pytest *": "auto", "a*": "auto"}})

    assert decide(policy, command(line, shell=True)) == Decision.ASK
