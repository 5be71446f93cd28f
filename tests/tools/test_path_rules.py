"""Rules for paths, and the names by which they might be got round."""

import pytest

from mma_runtime.events import NOWHERE
from mma_runtime.llm.chat import Text, ToolCall
from mma_runtime.tools import DEFAULT_POLICY, Gate, Policy, Toolbox, native_tools
from mma_runtime.workspace import Checkout


async def run(box: Toolbox, *calls: ToolCall) -> list[str]:
    done = await box.run(calls, origin=NOWHERE, emit=lambda event: None)
    return [
        "\n".join(part.text for part in each.content if isinstance(part, Text))
        for each in done.results
    ]


def call(name: str, **arguments: object) -> ToolCall:
    return ToolCall(id=name, name=name, arguments=arguments)


KEPT = {"secrets/*": "deny", "asked/*": "ask", "*": "auto"}


@pytest.fixture
async def linked(checkout: Checkout) -> Checkout:
    for folder in ("secrets", "asked", "named"):
        (checkout.root / folder).mkdir()
        (checkout.root / folder / "k.py").write_text("known = 1\n")

    (checkout.root / "alias").symlink_to("secrets")
    (checkout.root / "to-asked").symlink_to("asked/k.py")
    (checkout.root / "pkg" / "up").symlink_to("../secrets/..")
    return checkout


def native_box(checkout: Checkout) -> Toolbox:
    rules = {"*_file": KEPT, "get_*": KEPT, "update_definition": KEPT}
    policy = Policy.of(rules).over(DEFAULT_POLICY)
    gate = Gate(policy, tier="worker", aliases=checkout.aliases)
    return Toolbox(native_tools(checkout), gate=gate)


@pytest.mark.parametrize(
    "path",
    [
        "secrets/k.py",
        "{root}/secrets/k.py",
        "//{root}/secrets/k.py",
        "{root}/../tree/secrets/k.py",
        "alias/k.py",
        "{root}/alias/k.py",
        "alias/../secrets/k.py",
        "pkg/up/secrets/k.py",
        "secrets/new.py",
        "alias/new/new.py",
        "secrets/../secrets/./k.py",
    ],
)
async def test_a_rule_for_a_path_holds_by_whatever_name_it_is_called(
    path: str, linked: Checkout
) -> None:
    box = native_box(linked)
    for name, more in {
        "read_file": {},
        "write_file": {"content": "broken = 1\n"},
        "edit_file": {"old": "known", "new": "broken"},
        "get_skeleton": {},
        "update_definition": {"symbol": "known", "new": "known = 2"},
    }.items():
        arguments = {"path": path.replace("{root}", str(linked.root)), **more}
        (said,) = await run(box, call(name, **arguments))

        assert "is not allowed for" in said, name

    assert (linked.root / "secrets" / "k.py").read_text() == "known = 1\n"
    assert not (linked.root / "secrets" / "new.py").exists()


async def test_a_rule_for_the_name_of_a_link_holds_as_well(linked: Checkout) -> None:
    policy = Policy.of({"read_file": {"alias/*": "deny"}}).over(DEFAULT_POLICY)
    gate = Gate(policy, aliases=linked.aliases)
    box = Toolbox(native_tools(linked), gate=gate)

    (denied,) = await run(box, call("read_file", path="alias/k.py"))
    (read,) = await run(box, call("read_file", path="secrets/k.py"))

    assert "is not allowed" in denied
    assert "known = 1" in read


async def test_what_leads_out_is_refused_by_the_tool_and_not_by_a_rule(
    linked: Checkout,
) -> None:
    box = native_box(linked)
    for path in ("/etc/passwd", "../x", "a\0b", "\udce9", "x" * 5_000, ""):
        (said,) = await run(box, call("read_file", path=path))

        assert "is not allowed for" not in said
        assert "root:" not in said


async def test_a_link_that_is_put_in_the_way_within_a_round_opens_nothing(
    linked: Checkout,
) -> None:
    policy = Policy.of({"run_command": "auto", "write_file": KEPT})
    gate = Gate(policy, aliases=linked.aliases)
    box = Toolbox(native_tools(linked), gate=gate)

    said = await run(
        box,
        call("run_command", command=["ln", "-s", "secrets", "free"]),
        call("run_command", command=["ln", "-s", "asked", "open"]),
        call("write_file", path="free/k.py", content=""),
        call("write_file", path="open/k.py", content=""),
    )

    assert "is not allowed" in said[2]
    assert "has to be asked about by now" in said[3]
    for folder in ("secrets", "asked"):
        assert (linked.root / folder / "k.py").read_text() == "known = 1\n"
