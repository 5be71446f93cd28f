from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from mma_runtime.errors import ConfigurationError, Problem, ScenarioInvalid
from mma_runtime.plan import Priority
from mma_runtime.registry import Registry
from mma_runtime.registry.table import ProviderSpec
from mma_runtime.scenario.load import load, loads
from mma_runtime.scenario.spending import LevelBudget

SMALLEST = "tickets: [{id: hello, description: Say hello.}]\n"


def problems_of(text: str, **options: Any) -> tuple[Problem, ...]:
    with pytest.raises(ScenarioInvalid) as caught:
        loads(text, **options)

    return caught.value.problems


def lines_of(text: str, **options: Any) -> list[str]:
    return [
        f"{problem.line}:{problem.column} {problem.path}: {problem.message}"
        for problem in problems_of(text, **options)
    ]


def write(folder: Path, text: str, name: str = "demo.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def test_the_smallest_scenario_is_one_ticket_with_an_id_and_a_description() -> None:
    scenario = loads(SMALLEST)

    assert scenario.tickets is not None
    ticket = scenario.tickets[0]
    assert (ticket.id, ticket.priority) == ("hello", Priority.MEDIUM)
    assert ticket.depends_on == ticket.acceptance == ticket.context == ()
    assert scenario.tier("worker").count == 4
    assert scenario.tier("worker").attempts == 3
    assert scenario.tier("worker").max_tool_rounds is None
    assert scenario.expect.outcome == "completed"


def test_a_scenario_without_a_name_is_called_as_its_file(tmp_path: Path) -> None:
    assert load(write(tmp_path, SMALLEST, "greeting.yaml")).name == "greeting"


def test_a_byte_order_mark_and_windows_line_ends_are_accepted(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.write_bytes(b"\xef\xbb\xbfname: x\r\n" + SMALLEST.encode())

    assert load(path).name == "x"


def test_paths_are_relative_to_the_scenario_file(tmp_path: Path) -> None:
    (tmp_path / "project").mkdir()
    (tmp_path / "replies.yaml").touch()
    text = SMALLEST + "workspace: {path: project}\nscript: replies.yaml\n"

    scenario = load(write(tmp_path, text))

    assert scenario.workspace is not None
    assert scenario.workspace.path == tmp_path / "project"
    assert scenario.script == tmp_path / "replies.yaml"


def test_money_is_exactly_what_the_file_says() -> None:
    scenario = loads(
        SMALLEST
        + "budget: {usd: 0.10}\n"
        + "prices: [{match: mini, input: 0.15, output: 0.60, cached: 0.075}]\n"
    )

    assert scenario.budget.usd == Decimal("0.10")
    assert scenario.prices[0].cached == Decimal("0.075")
    assert scenario.prices[0].cache_write is None


def test_texts_stay_as_they_are_written() -> None:
    scenario = loads("name: 1.10\ntickets: [{id: 007, description: no}]")

    assert scenario.name == "1.10"
    assert scenario.tickets is not None
    assert scenario.tickets[0].id == "007"
    assert scenario.tickets[0].description == "no"


def test_a_tier_takes_from_defaults_what_it_does_not_say() -> None:
    scenario = loads(
        SMALLEST
        + "defaults: {model: openai:gpt-4o, temperature: 0.2, count: 9}\n"
        + "tiers:\n"
        + "  worker: {model: openai/gpt-4o-mini, max_tool_rounds: 3}\n"
    )

    worker = scenario.tier("worker")
    assert worker.model == "openai/gpt-4o-mini"
    assert (worker.temperature, worker.max_tool_rounds, worker.count) == (0.2, 3, 9)
    assert scenario.tier("qa").model == "openai:gpt-4o"


def test_an_expected_file_may_be_a_bare_path() -> None:
    scenario = loads(
        SMALLEST + "expect: {files: [a.py, {path: b.py, contains: [def, return]}]}"
    )

    assert [file.path for file in scenario.expect.files] == ["a.py", "b.py"]
    assert scenario.expect.files[1].contains == ("def", "return")


# --- references ---------------------------------------------------------------


def test_references_take_inputs_then_defaults_then_the_environment() -> None:
    text = (
        "name: ${topic}-${style:-plain}-${WHO}-${topic:-x}\n"
        "inputs: {topic: {default: slugs}, style: {}}\n" + SMALLEST
    )

    assert loads(text, environ={"WHO": "me"}).name == "slugs-plain-me-slugs"
    given = loads(text, inputs={"topic": "t", "style": "s"}, environ={"WHO": ""})
    assert given.name == "t-s--t"


def test_a_number_may_come_from_an_input() -> None:
    text = "inputs: {n: {required: true}}\ndefaults: {count: '${n}'}\n" + SMALLEST

    assert loads(text, inputs={"n": "7"}).tier("worker").count == 7
    assert lines_of(text, inputs={"n": "many"}) == [
        "2:19 defaults.count: should be a whole number, not 'many'"
    ]


def test_a_doubled_dollar_keeps_a_reference_as_it_is() -> None:
    assert loads("name: $${HOME} $HOME $1\n" + SMALLEST).name == "${HOME} $HOME $1"


def test_what_an_input_holds_is_not_expanded_again() -> None:
    text = "name: ${a}\ninputs: {a: {}}\n" + SMALLEST

    assert loads(text, inputs={"a": "${b}"}).name == "${b}"


def test_an_undefined_reference_is_found_in_its_line_of_a_long_text() -> None:
    text = (
        "inputs: {topic: {default: x}}\n"
        "tickets:\n"
        "  - id: a\n"
        "    description: |\n"
        "      About ${topic}.\n"
        "      Not about ${topik}.\n"
    )

    (problem,) = problems_of(text)

    assert (problem.line, problem.column) == (6, 17)
    assert problem.path == "tickets[0].description"
    assert "did you mean `topic`?" in problem.message


def test_a_declared_input_without_a_value_does_not_fall_back_to_the_environment() -> (
    None
):
    text = "name: ${HOME}\ninputs: {HOME: {}}\n" + SMALLEST

    assert lines_of(text, environ={"HOME": "/root"}) == [
        "1:7 name: the input 'HOME' has no value; pass `--input HOME=...`"
    ]


def test_a_secret_of_the_environment_never_gets_into_a_text() -> None:
    (problem,) = problems_of(
        "name: ${OPENAI_API_KEY:-x}\n" + SMALLEST,
        environ={"OPENAI_API_KEY": "sk-secret"},
    )

    assert "looks like a secret" in problem.message
    assert "sk-secret" not in problem.message


@pytest.mark.parametrize("reference", ["${}", "${a b}", "${1x}", "${open", "${a:b}"])
def test_a_malformed_reference_names_the_escape(reference: str) -> None:
    (problem,) = problems_of(f"name: x {reference}\n{SMALLEST}")

    assert "write `$${` for a plain `${`" in problem.message
    assert (problem.line, problem.column) == (1, 9)


@pytest.mark.parametrize("word", ["true", "True", "yes ", "'on'"])
def test_required_may_be_written_in_any_way_that_means_yes(word: str) -> None:
    (problem,) = problems_of(f"inputs: {{topic: {{required: {word}}}}}\n{SMALLEST}")

    assert problem.message == "is required; pass `--input topic=...`"


def test_a_missing_required_input_and_an_unknown_one_are_problems() -> None:
    text = "inputs: {topic: {required: true}}\n" + SMALLEST

    assert lines_of(text, inputs={"topc": "x"}) == [
        "1:9 inputs: there is no input 'topc'; did you mean `topic`?",
        "1:17 inputs.topic: is required; pass `--input topic=...`",
    ]


def test_an_input_for_a_scenario_without_inputs_is_a_problem() -> None:
    assert lines_of(SMALLEST, inputs={"a": "b"}) == [
        "1:1 inputs: there is no input 'a'"
    ]


# --- problems with values -----------------------------------------------------


def test_every_problem_is_found_at_once_in_the_order_of_the_file(
    tmp_path: Path,
) -> None:
    text = (
        "nmae: x\n"
        "tiers:\n"
        "  worker:\n"
        "    max_tool_round: 3\n"
        "    count: x\n"
        "  wroker: {}\n"
        "budget: {usd: -1}\n"
        "tickets:\n"
        "  - id: a\n"
        "    depends_on: [b]\n"
    )
    path = write(tmp_path, text)

    with pytest.raises(ScenarioInvalid) as caught:
        load(path)

    assert str(caught.value).splitlines() == [
        f"{path}:1:1: nmae: unknown key; did you mean `name`?",
        (
            f"{path}:4:5: tiers.worker.max_tool_round: unknown key;"
            " did you mean `max_tool_rounds`?"
        ),
        f"{path}:5:12: tiers.worker.count: should be a whole number, not 'x'",
        f"{path}:6:3: tiers.wroker: unknown key; did you mean `worker`?",
        f"{path}:7:15: budget.usd: should be more than 0, not '-1'",
        f"{path}:9:5: tickets[0].description: is missing",
        (
            f"{path}:10:18: tickets[0].depends_on[0]: ticket 'a' depends on 'b',"
            " which is not in the plan"
        ),
    ]


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("version: 2", "should be at most 1, not '2'"),
        ("name: [x]", "should be text, not a list"),
        (
            "providers: {x: {base_url: localhost}}",
            "is no http(s) address, as https://HOST/v1 or http://127.0.0.1:8000/v1",
        ),
        ("name:", "should be text, not empty"),
        ("workspace: here", "should be a table of keys, not 'here'"),
        (
            "workspace: {path: ., apply: maybe}",
            "should be true, false or branch, not 'maybe'",
        ),
        ("budget: {tokens: 1.5}", "should be a whole number, not '1.5'"),
        ("budget: {usd: lots}", "should be a number, not 'lots'"),
        ("budget: {usd: nan}", "should be a finite number, not 'nan'"),
        ("budget: {seconds: inf}", "should be a finite number, not 'inf'"),
        ("defaults: {temperature: 3}", "should be at most 2.0, not '3'"),
        ("defaults: {tools: read_file}", "should be a list, not 'read_file'"),
        ("inputs: [a]", "should be a table of keys, not a list"),
        (
            "expect: {outcome: complete}",
            (
                "should be one of completed, failed, over_budget, bounded,"
                " provider_failed, cancelled, paused, not 'complete';"
                " did you mean `completed`?"
            ),
        ),
    ],
)
def test_a_value_of_the_wrong_kind_is_told_in_words(line: str, expected: str) -> None:
    (problem,) = problems_of(f"{line}\n{SMALLEST}")

    assert problem.message == expected
    assert problem.line == 1


@pytest.mark.parametrize(
    ("key", "meant"),
    [("tier1", "orchestrator"), ("tier_3", "worker"), ("workers", "worker")],
)
def test_an_unknown_tier_names_the_one_that_was_meant(key: str, meant: str) -> None:
    (problem,) = problems_of(f"tiers: {{{key}: {{}}}}\n{SMALLEST}")

    assert problem.message == f"unknown key; did you mean `{meant}`?"


def test_an_unknown_key_without_a_near_one_lists_the_known() -> None:
    (problem,) = problems_of(f"budget: {{qqq: 1}}\n{SMALLEST}")

    assert problem.message == (
        "unknown key; known: usd, tokens, calls, seconds, track, ticket,"
        " min_output_tokens"
    )


@pytest.mark.parametrize(
    ("line", "path", "place"),
    [
        ("max_tool_rounds: 3", "max_tool_rounds", "`defaults.max_tool_rounds` or"),
        ("usd: 1", "usd", "`budget.usd` or"),
        ("workspace: {path: ., mode: step}", "workspace.mode", "the top of the file"),
        ("defaults: {apply: true}", "defaults.apply", "`workspace.apply`"),
    ],
)
def test_a_key_in_the_wrong_place_is_told_its_own(
    line: str, path: str, place: str
) -> None:
    found = {
        problem.path: problem.message for problem in problems_of(f"{line}\n{SMALLEST}")
    }

    assert found[path].startswith(f"unknown key here; its place is {place}")


@pytest.mark.parametrize(
    ("line", "path", "meant"),
    [
        ("inputs: {a: {defalt: x}}", "inputs.a.defalt", "default"),
        ("prices: [{mach: x, input: 1, output: 1}]", "prices[0].mach", "match"),
        (
            "expect: {files: [{path: a, contain: []}]}",
            "expect.files[0].contain",
            "contains",
        ),
    ],
)
def test_a_key_is_near_to_those_of_its_own_table(
    line: str, path: str, meant: str
) -> None:
    found = {
        problem.path: problem.message for problem in problems_of(f"{line}\n{SMALLEST}")
    }

    assert found[path] == f"unknown key; did you mean `{meant}`?"


def test_an_input_has_a_name_that_can_be_referred_to_and_not_two_wills() -> None:
    text = "inputs: {a-b: {}, c: {default: x, required: true}}\n" + SMALLEST

    assert lines_of(text, inputs={"c": "y"}) == [
        "1:15 inputs.a-b: an input's name has only letters, digits and `_`",
        "1:45 inputs.c.required: has a default, so it cannot be required as well",
    ]


def test_an_id_and_a_long_value_are_told_in_short() -> None:
    text = f"budget: {{tokens: {'many ' * 50}}}\ntickets: [{{id: a b, description: x}}]"

    long, identifier = problems_of(text)

    assert len(long.message) < 120
    assert identifier.path == "tickets[0].id"
    assert identifier.message.startswith("an id has letters, digits,")


def test_an_empty_list_of_tickets_is_no_work() -> None:
    assert lines_of("tickets: []") == ["1:10 tickets: must not be empty"]


@pytest.mark.parametrize("name", ["gpt-4o-mini", "claude-opus-5", "gemini-2.5-flash"])
def test_a_model_that_one_provider_serves_needs_no_provider(name: str) -> None:
    scenario = loads(f"defaults: {{model: {name}}}\n" + SMALLEST)

    assert scenario.defaults.model == name


def test_a_model_that_no_provider_is_known_for_is_told_how_to_write_it() -> None:
    (problem,) = problems_of("defaults: {model: llama3}\n" + SMALLEST)

    assert "write PROVIDER:llama3" in problem.message


@pytest.mark.parametrize("address", ["openai:", ":gpt-4o-mini", "a b:c", "''"])
def test_a_model_without_its_provider_is_told_how_to_write_it(address: str) -> None:
    (problem,) = problems_of(f"tiers: {{worker: {{model: '{address}'}}}}\n{SMALLEST}")

    assert problem.path == "tiers.worker.model"
    assert "write `provider:model`, as in `openai:" in problem.message


def test_an_unknown_provider_is_named_with_a_near_one() -> None:
    text = "defaults: {model: opnai:gpt-4o-mini}\n" + SMALLEST

    (problem,) = problems_of(text)

    assert (problem.path, problem.line) == ("defaults.model", 1)
    assert "provider 'opnai' is not known; did you mean `openai`?" in problem.message
    known = Registry([ProviderSpec(name="opnai", target="x:Y")])
    assert loads(text, registry=known).defaults.model == "opnai:gpt-4o-mini"


def test_a_scripted_model_needs_a_script() -> None:
    (problem,) = problems_of(f"defaults: {{model: scripted:gpt-4o}}\n{SMALLEST}")

    assert (problem.path, problem.line) == ("defaults.model", 1)
    assert "add `script`" in problem.message


def test_an_unknown_tool_is_named_with_a_near_one() -> None:
    text = "defaults: {tools: [read_fil, qqq]}\n" + SMALLEST

    near, far = problems_of(text)

    assert near.message == "unknown tool 'read_fil'; did you mean `read_file`?"
    assert far.message.startswith("unknown tool 'qqq'; known: check_syntax, edit_file,")
    assert loads(text, tools=["read_fil", "qqq"]).defaults.tools == ("read_fil", "qqq")


def test_a_scenario_says_what_is_to_be_done_exactly_once() -> None:
    assert lines_of("name: x") == [
        "1:1 : nothing is to be done; add one of `epic`, `track` and `tickets`"
    ]
    assert lines_of("epic: x\n" + SMALLEST) == [
        "2:10 tickets: there is `epic` already; keep one of them"
    ]


def test_tickets_with_a_cycle_a_duplicate_and_an_unknown_id_are_problems() -> None:
    text = (
        "tickets:\n"
        "  - {id: a, description: x, depends_on: [b]}\n"
        "  - {id: b, description: x, depends_on: [a, stbu]}\n"
        "  - {id: stub, description: x}\n"
        "  - {id: stub, description: x, depends_on: [stub]}\n"
    )

    assert lines_of(text) == [
        "2:10 tickets[0].id: these tickets wait for each other in a circle: a → b → a",
        (
            "3:45 tickets[1].depends_on[1]: ticket 'b' depends on 'stbu', which is"
            " not in the plan; did you mean `stub`?"
        ),
        "5:10 tickets[3].id: the id 'stub' is used twice; each ticket needs its own",
        "5:45 tickets[3].depends_on[0]: ticket 'stub' depends on itself",
    ]


def test_a_missing_folder_and_a_missing_script_are_problems(tmp_path: Path) -> None:
    text = "workspace: {path: gone}\nscript: gone.yaml\n" + SMALLEST

    folder, script = problems_of(text, folder=tmp_path)

    assert folder.message == f"there is no folder '{tmp_path / 'gone'}'"
    assert script.message == f"there is no file '{tmp_path / 'gone.yaml'}'"


def test_a_file_is_no_folder_to_work_on(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    text = "workspace: {path: file}\n" + SMALLEST

    (problem,) = problems_of(text, folder=tmp_path)

    assert problem.message == f"'{tmp_path / 'file'}' is a file; name a folder"


def test_tiers_without_a_model_are_problems_like_all_others() -> None:
    text = "name: a\nepic: do it\ntiers:\n  tech_lead: {}\n  worker: {count: no}\n"

    assert [line.partition(";")[0] for line in lines_of(text, models={})] == [
        "3:1 tiers.orchestrator: tier 'orchestrator' has no model",
        "4:14 tiers.tech_lead: tier 'tech_lead' has no model",
        "5:11 tiers.worker: tier 'worker' has no model",
        "5:19 tiers.worker.count: should be a whole number, not 'no'",
    ]


def test_models_from_outside_count_and_are_set() -> None:
    scenario = loads(SMALLEST, models={"tier3": "openai:gpt-4o-mini"})

    assert scenario.tier("worker").model == "openai:gpt-4o-mini"
    with pytest.raises(ConfigurationError, match="there is no tier 'tier9'"):
        loads(SMALLEST, models={"tier9": "openai:gpt-4o-mini"})


@pytest.mark.parametrize(
    "line",
    [
        "tiers: {wroker: {model: 'openai:gpt-4o'}}",
        "tiers: [worker]",
        "defaults: {model: nobody}",
    ],
)
def test_a_tier_that_is_wrong_otherwise_is_not_told_to_have_no_model(line: str) -> None:
    (problem,) = problems_of(f"{line}\n{SMALLEST}", models={})

    assert "has no model" not in problem.message


def test_only_workers_have_a_count_and_attempts() -> None:
    text = (
        "tiers:\n"
        "  qa: {count: 2}\n"
        "  tech_lead: {count: 1, attempts: 2}\n"
        "  worker: {count: 9}\n"
    )

    assert lines_of(text + SMALLEST) == [
        "2:15 tiers.qa.count: only the `worker` tier has more than one",
        "3:35 tiers.tech_lead.attempts: only the `worker` tier has more than one",
    ]


def test_what_would_change_nothing_for_a_tier_is_no_key_of_it() -> None:
    text = (
        "tiers:\n"
        "  orchestrator: {policy: {run_command: deny}, max_tool_rounds: 3}\n"
        "  tech_lead: {max_added_tickets: 1, escalate: [], max_tool_rounds: 1}\n"
        "  qa: {escalate: ['openai:gpt-4o'], max_added_tickets: 1}\n"
    )

    assert lines_of(text + SMALLEST) == [
        (
            "2:26 tiers.orchestrator.policy: only the `worker` tier has tools; the"
            " others are shown what is theirs to see"
        ),
        (
            "2:64 tiers.orchestrator.max_tool_rounds: only the `worker` tier has tools,"
            " and so rounds of them"
        ),
        (
            "3:68 tiers.tech_lead.max_tool_rounds: only the `worker` tier has tools,"
            " and so rounds of them"
        ),
        "4:18 tiers.qa.escalate: only the `worker` tier has more than one attempt",
        "4:56 tiers.qa.max_added_tickets: only the `tech_lead` tier adds tickets",
    ]


@pytest.mark.parametrize("limit", ["calls: 1", "usd: 0.5"])
def test_a_budget_of_tracks_needs_tracks(limit: str) -> None:
    text = f"budget: {{track: {{{limit}}}}}\n"

    assert lines_of(text + SMALLEST) == [
        (
            "1:17 budget.track: `tickets` by themselves belong to no track; set"
            " `budget` itself or `budget.ticket`"
        )
    ]
    assert loads(text + "epic: do it\n").budget.track != LevelBudget()


def test_a_workspace_needs_a_folder() -> None:
    assert lines_of("workspace: {apply: true}\n" + SMALLEST) == [
        "1:1 workspace.path: is missing"
    ]


@pytest.mark.parametrize("path", ["/etc/passwd", "../x", "a/../../x"])
def test_a_path_out_of_the_workspace_is_a_problem(path: str) -> None:
    text = (
        f"expect: {{files: ['{path}', {{path: '{path}'}}]}}\n"
        f"tickets: [{{id: a, description: x, target_file: '{path}',"
        f" context: ['{path}']}}]"
    )

    assert [problem.path for problem in problems_of(text)] == [
        "expect.files[0]",
        "expect.files[1].path",
        "tickets[0].target_file",
        "tickets[0].context[0]",
    ]


def test_a_command_and_a_pattern_have_to_be_well_formed() -> None:
    text = (
        "expect: {commands: [\"pytest 'x\", '']}\n"
        "prices: [{match: '(', input: 1, output: 1}]\n"
    )

    quote, empty, pattern = problems_of(text + SMALLEST)

    assert "no closing quotation" in quote.message
    assert empty.message == "an empty command"
    assert "is not a regular expression" in pattern.message


# --- files that cannot be read ------------------------------------------------


def test_a_missing_file_a_folder_and_an_unreadable_file_are_told(
    tmp_path: Path,
) -> None:
    for path, reason in [
        (tmp_path / "gone.yaml", "no such file or directory"),
        (tmp_path, "is a directory"),
    ]:
        with pytest.raises(ScenarioInvalid) as caught:
            load(path)

        assert str(caught.value) == f"{path}: cannot be read: {reason}"


def test_a_file_that_is_not_utf_8_names_the_place(tmp_path: Path) -> None:
    path = tmp_path / "demo.yaml"
    path.write_bytes(b"name: x\nepic: caf\xe9\n")

    with pytest.raises(ScenarioInvalid) as caught:
        load(path)

    assert str(caught.value).startswith(f"{path}:2:10: not UTF-8 text")


def test_a_huge_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ScenarioInvalid, match="larger than 1,000,000 bytes"):
        load(write(tmp_path, "#" * 1_000_001))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "0:0 : empty; begin with `name:`"),
        ("# nothing\n", "0:0 : empty; begin with `name:`"),
        (
            "- a\n- b\n",
            "1:1 : a scenario is a table of keys, such as `name:` and `tiers:`",
        ),
        ("name: x\n\tepic: y\n", "2:1 : a tab; YAML is indented with spaces"),
        (
            "name: a: b\n",
            "1:8 : a `:` is not expected here; put a text that has one in quotes",
        ),
        ("a: 1\n---\nb: 2\n", "2:1 : a second document; a scenario is one document"),
        ("name: [a\n", "2:1 : not valid YAML while parsing a flow sequence:"),
        ("name: *gone\n", "1:7 : not valid YAML: found undefined alias 'gone'"),
        ("a: b\nname: \x07\n", "2:1 : the character U+0007 must not be in a YAML"),
        ("[" * 3000, "1:1 : nested deeper than 50 levels"),
    ],
)
def test_a_text_that_is_no_usable_yaml_is_told_with_its_place(
    text: str, expected: str
) -> None:
    (line,) = lines_of(text)

    assert line.startswith(expected)


def test_a_key_that_is_there_twice_is_a_problem() -> None:
    assert lines_of("name: a\n" + SMALLEST + "name: b\n") == [
        "3:1 name: this key is in line 1 already"
    ]


def test_tags_and_keys_that_are_no_words_are_problems() -> None:
    text = "name: !!python/object:os.system x\nepic: !foo [x]\n? [a, b]\n: c\n"

    lines = lines_of(text)

    (told,) = [line for line in lines if " name: " in line]
    assert told == (
        "1:7 name: the tag 'tag:yaml.org,2002:python/object:os.system'"
        " means nothing here; drop it"
    )
    assert "2:7 epic: the tag '!foo' means nothing here; drop it" in lines
    assert "3:3 : a key has to be a word" in lines


def test_anchors_and_merge_keys_work() -> None:
    text = (
        "defaults: &base {model: openai:a, max_output_tokens: 2}\n"
        "tiers:\n"
        "  worker: {<<: *base, max_output_tokens: 3}\n"
        "  qa: {<<: [{temperature: 1}, *base], model: openai:b}\n"
    )

    scenario = loads(text + SMALLEST)

    assert scenario.tiers.worker.model == "openai:a"
    assert scenario.tiers.worker.max_output_tokens == 3
    assert scenario.tiers.qa.model == "openai:b"
    assert (scenario.tiers.qa.max_output_tokens, scenario.tiers.qa.temperature) == (
        2,
        1.0,
    )


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("name: &a [*a]", "an alias that contains itself"),
        ("tiers: &a {<<: *a}", "`<<` takes another table or a list of them"),
        ("tiers: {<<: word}", "`<<` takes another table or a list of them"),
    ],
)
def test_an_alias_that_leads_nowhere_is_a_problem(text: str, expected: str) -> None:
    assert expected in [problem.message for problem in problems_of(text)]


@pytest.mark.parametrize("form", ["[{}]", "{{<<: [{}]}}"])
def test_aliases_of_aliases_do_not_explode(form: str) -> None:
    lines = [
        f"a{level}: &a{level} " + form.format(", ".join([f"*a{level - 1}"] * 9))
        for level in range(1, 30)
    ]

    (problem,) = problems_of("\n".join(["a0: &a0 {x: 1}", *lines]))

    assert problem.message == "aliases make this more than 100,000 entries"


def test_deep_nesting_is_refused() -> None:
    assert lines_of("name: " + "[" * 60 + "]" * 60) == [
        "1:57 name: nested deeper than 50 levels"
    ]


@pytest.mark.parametrize("number", [".nan", ".inf", "-.inf", "-1", "1e30", "9" * 400])
@pytest.mark.parametrize(
    "key",
    [
        "budget: {usd: %s}",
        "budget: {track: {tokens: %s}}",
        "budget: {seconds: %s}",
        "expect: {max_usd: %s}",
        "approvals: {seconds: %s}",
        "defaults: {max_tool_rounds: %s}",
        "limits: {openai: {in_flight: %s}}",
        "prices: [{match: x, input: %s, output: 1}]",
    ],
)
def test_a_number_that_cannot_be_meant_is_refused(key: str, number: str) -> None:
    text = f"""
epic: do it
tiers: {{worker: {{model: "openai:gpt-4o-mini"}}}}
{key % number}
"""
    with pytest.raises(ScenarioInvalid) as caught:
        loads(text, folder=Path())

    (problem,) = caught.value.problems
    assert problem.message.startswith("should be ")
    assert problem.line == 4
