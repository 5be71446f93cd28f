import os
import re
from collections.abc import Awaitable, Callable

import anyio
import pytest

from mma_runtime.errors import CommandFailed, ToolFailed, WorkspaceError
from mma_runtime.events import NOWHERE
from mma_runtime.llm.chat import Text, ToolCall
from mma_runtime.tools import (
    DEFAULT_TOOLS,
    NATIVE_TOOLS,
    Toolbox,
    native_tools,
)
from mma_runtime.tools.search import translate
from mma_runtime.workspace import Checkout

Use = Callable[..., Awaitable[str]]


@pytest.fixture
async def use(checkout: Checkout) -> Use:
    tools = {each.name: each for each in native_tools(checkout)}

    async def use(name: str, **arguments: object) -> str:
        content = await tools[name].call(arguments)
        assert isinstance(content[0], Text)
        return content[0].text

    return use


async def test_the_names_are_known_without_a_checkout(checkout: Checkout) -> None:
    every = native_tools(checkout, NATIVE_TOOLS)

    assert tuple(each.name for each in every) == NATIVE_TOOLS


async def test_the_web_is_off_unless_it_is_asked_for(checkout: Checkout) -> None:
    assert [each.name for each in native_tools(checkout)] == list(DEFAULT_TOOLS)
    assert "fetch_url" not in DEFAULT_TOOLS
    assert [each.name for each in native_tools(checkout, ["fetch_url", "mine"])] == [
        "fetch_url"
    ]


async def test_only_the_tools_that_change_nothing_are_read_only(
    checkout: Checkout,
) -> None:
    assert [each.name for each in native_tools(checkout) if each.read_only] == [
        "read_file",
        "list_directory",
        "search_files",
        "find_symbol",
        "get_skeleton",
        "get_definition",
        "find_usages",
        "check_syntax",
        "git_diff",
    ]


# --- read_file ----------------------------------------------------------------


async def test_read_file_says_which_lines_it_shows(use: Use) -> None:
    assert await use("read_file", path="pkg/a.py") == (
        "pkg/a.py: lines 1-3 of 3\none = 1\ntwo = 2\nthree = 3"
    )
    assert await use("read_file", path="pkg/a.py", start_line=2, lines=1) == (
        "pkg/a.py: lines 2-2 of 3\ntwo = 2"
    )


async def test_read_file_takes_long_files_page_by_page(
    use: Use, checkout: Checkout
) -> None:
    lines = [f"line {n}" for n in range(1, 2_001)]
    (checkout.root / "long.txt").write_text("\n".join(lines))
    seen: list[str] = []

    start = "1"
    while start:
        page = await use("read_file", path="long.txt", start_line=int(start))
        header, *shown = page.split("\n")
        assert len(page) < 8_000
        seen += shown
        start = header.partition("start_line=")[2]

    assert seen == lines


async def test_read_file_cuts_a_line_that_is_longer_than_a_page(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "min.js").write_text("x" * 100_000)

    page = await use("read_file", path="min.js")

    assert page.startswith("min.js: lines 1-1 of 1; line 1 is too long and is cut")
    assert len(page) < 8_000


async def test_read_file_shows_an_empty_file_and_odd_bytes(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "empty").touch()
    (checkout.root / "latin").write_bytes(b"caf\xe9\n")

    assert await use("read_file", path="empty") == "empty: empty"
    assert "caf\ufffd" in await use("read_file", path="latin")


async def test_read_file_refuses_what_is_no_text_file(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "image.png").write_bytes(b"\x89PNG\0\0")
    with (checkout.root / "huge.log").open("wb") as huge:
        huge.truncate(6_000_000)
    os.mkfifo(checkout.root / "pipe")

    for path, said in (
        ("image.png", "is a binary file"),
        ("huge.log", "too big: 6,000,000 bytes, at most 5,000,000"),
        ("pipe", "is not a regular file"),
        ("pkg", "is a folder"),
        ("nothing.py", "there is no file 'nothing.py'"),
        ("README.md/x", "a part of it is a file"),
        ("a\0b", "outside the workspace"),
        ("x" * 300, "is too long for a path"),
    ):
        with anyio.fail_after(5), pytest.raises((ToolFailed, WorkspaceError)) as caught:
            await use("read_file", path=path)

        assert said in str(caught.value)


async def test_read_file_refuses_a_line_behind_the_end(use: Use) -> None:
    with pytest.raises(ToolFailed, match="has 3 lines only"):
        await use("read_file", path="pkg/a.py", start_line=4)


@pytest.mark.parametrize(
    "arguments",
    [
        {"name": "read_file"},
        {"name": "write_file", "content": "x"},
        {"name": "edit_file", "old": "secret", "new": "x"},
        {"name": "list_directory"},
        {"name": "search_files", "pattern": "secret"},
        {"name": "run_command", "command": "true"},
    ],
)
@pytest.mark.parametrize("path", ["link", "../secret", "pkg/../../secret", "/etc"])
async def test_no_tool_leaves_the_checkout(
    arguments: dict[str, object], path: str, use: Use, checkout: Checkout
) -> None:
    secret = checkout.root.parent / "secret"
    secret.write_text("secret")
    (checkout.root / "link").symlink_to(secret)

    with pytest.raises(WorkspaceError, match="outside the workspace"):
        await use(path=path, **arguments)

    assert secret.read_text() == "secret"


# --- list_directory, search_files ---------------------------------------------


async def test_list_directory_shows_one_level_or_more(use: Use) -> None:
    assert await use("list_directory") == "README.md\npkg/"
    assert await use("list_directory", depth=2) == "README.md\npkg/\n  a.py"
    assert await use("list_directory", path="pkg") == "a.py"


async def test_list_directory_is_capped_and_says_so(
    use: Use, checkout: Checkout
) -> None:
    for number in range(400):
        (checkout.root / "pkg" / f"f{number}").touch()

    shown = await use("list_directory", path="pkg")

    assert "(101 of 401 names are not shown)" in shown


async def test_list_directory_says_what_is_no_folder(use: Use) -> None:
    with pytest.raises(ToolFailed, match="is a file; read_file shows it"):
        await use("list_directory", path="README.md")
    with pytest.raises(ToolFailed, match="there is no folder 'nowhere'"):
        await use("list_directory", path="nowhere")


async def test_search_files_finds_lines_by_pattern_place_and_glob(use: Use) -> None:
    assert await use("search_files", pattern=r"t\w+ =") == (
        "pkg/a.py:2: two = 2\npkg/a.py:3: three = 3"
    )
    assert await use("search_files", pattern="PROJECT", ignore_case=True) == (
        "README.md:1: # Project"
    )
    assert await use("search_files", pattern=".", glob="*.md") == (
        "README.md:1: # Project"
    )
    assert await use("search_files", pattern="two", path="pkg/a.py") == (
        "pkg/a.py:2: two = 2"
    )
    assert await use("search_files", pattern="zzz") == "no line matches"


async def test_search_files_skips_binary_files_and_never_follows_links(
    use: Use, checkout: Checkout
) -> None:
    outside = checkout.root.parent / "outside"
    outside.mkdir()
    (outside / "b.txt").write_text("two")
    (checkout.root / "out").symlink_to(outside)
    (checkout.root / "blob").write_bytes(b"two\0")

    assert await use("search_files", pattern="two") == (
        "pkg/a.py:2: two = 2\n(not searched: 1 binary, huge or unreadable files)"
    )


async def test_what_git_ignores_is_not_searched_or_listed_but_can_be(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / ".gitignore").write_text("out/\n*.log\n")
    (checkout.root / "out").mkdir()
    (checkout.root / "out" / "x.txt").write_text("two\n")
    (checkout.root / "pkg" / "x.log").write_text("two\n")

    assert await use("search_files", pattern="two") == "pkg/a.py:2: two = 2"
    assert await use("list_directory") == ".gitignore\nREADME.md\npkg/"
    assert await use("list_directory", path="pkg") == "a.py"
    assert await use("search_files", pattern="two", path="pkg/x.log") == (
        "pkg/x.log:1: two"
    )
    assert await use("search_files", pattern="two", path="out") == "out/x.txt:1: two"
    assert await use("list_directory", path="out") == "x.txt"
    said = await use("write_file", path="out/new.txt", content="x")
    assert said.endswith(".gitignore leaves it out, so it is no part of your result")


async def test_search_files_is_capped_and_says_so(use: Use, checkout: Checkout) -> None:
    (checkout.root / "many.txt").write_text("match\n" * 500)

    found = await use("search_files", pattern="match")

    assert found.endswith("(more than 100 lines match; narrow the search)")


async def test_search_files_ends_a_pattern_that_never_ends(
    use: Use, checkout: Checkout, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mma_runtime.tools.files.SEARCH_SECONDS", 0.3)
    (checkout.root / "trap.txt").write_text("a" * 64 + "b")

    with anyio.fail_after(10), pytest.raises(ToolFailed, match="did not end within"):
        await use("search_files", pattern="(a+)+$")


async def test_search_files_explains_a_broken_pattern(use: Use) -> None:
    with pytest.raises(ToolFailed, match="not a regular expression: missing \\)"):
        await use("search_files", pattern="(a")


@pytest.mark.parametrize(
    ("glob", "path", "matches"),
    [
        ("*.py", "a.py", True),
        ("*.py", "a.pyc", False),
        ("src/**/*.py", "src/a.py", True),
        ("src/**/*.py", "src/x/y/a.py", True),
        ("src/*.py", "src/x/a.py", False),
        ("src/**", "src/x/a.py", True),
        ("a?c[1]", "abc[1]", True),
    ],
)
def test_globs(glob: str, path: str, matches: bool) -> None:
    assert bool(re.fullmatch(translate(glob), path)) is matches


# --- write_file, edit_file ----------------------------------------------------


async def test_write_file_makes_folders_and_says_whether_it_is_new(
    use: Use, checkout: Checkout
) -> None:
    assert await use("write_file", path="new/b.py", content="x\ny") == (
        "wrote new file new/b.py (2 lines)"
    )
    assert await use("write_file", path="new/b.py", content="") == (
        "replaced new/b.py (0 lines)"
    )
    assert (checkout.root / "new" / "b.py").read_text() == ""


async def test_write_file_keeps_the_permissions(use: Use, checkout: Checkout) -> None:
    script = checkout.root / "run.sh"
    script.write_text("true\n")
    script.chmod(0o750)

    await use("write_file", path="run.sh", content="false\n")

    assert script.stat().st_mode & 0o777 == 0o750


async def test_write_file_refuses_what_is_no_file(use: Use, checkout: Checkout) -> None:
    os.mkfifo(checkout.root / "pipe")

    for path in ("pkg", ".", "pipe"):
        with pytest.raises(WorkspaceError, match="is not a regular file"):
            await use("write_file", path=path, content="x")
    with pytest.raises(WorkspaceError, match="a part of it is a file"):
        await use("write_file", path="README.md/x", content="x")


async def test_write_file_through_a_link_inside_changes_its_target(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "alias.py").symlink_to("pkg/a.py")

    await use("write_file", path="alias.py", content="new\n")

    assert (checkout.root / "alias.py").is_symlink()
    assert (checkout.root / "pkg" / "a.py").read_text() == "new\n"


async def test_edit_file_replaces_the_one_passage(use: Use, checkout: Checkout) -> None:
    said = await use("edit_file", path="pkg/a.py", old="two = 2", new="two = 22")

    assert said == "replaced 1 passage of pkg/a.py at line 2"
    assert (checkout.root / "pkg/a.py").read_text() == "one = 1\ntwo = 22\nthree = 3\n"


async def test_edit_file_refuses_an_ambiguous_passage_unless_all_are_meant(
    use: Use, checkout: Checkout
) -> None:
    with pytest.raises(ToolFailed, match="3 times, at lines 1, 2, 3"):
        await use("edit_file", path="pkg/a.py", old=" = ", new="=")

    assert "3 passages" in await use(
        "edit_file", path="pkg/a.py", old=" = ", new="=", replace_all=True
    )
    assert (checkout.root / "pkg/a.py").read_text() == "one=1\ntwo=2\nthree=3\n"


async def test_edit_file_says_where_something_alike_is(use: Use) -> None:
    with pytest.raises(ToolFailed, match="line 2 and those that follow differ"):
        await use("edit_file", path="pkg/a.py", old="  two = 2\nthree = 3 ", new="x")
    with pytest.raises(ToolFailed, match="read the file and copy"):
        await use("edit_file", path="pkg/a.py", old="four", new="x")


async def test_edit_file_names_ten_places_of_many(use: Use, checkout: Checkout) -> None:
    # So many that counting the lines anew for each place would take minutes.
    (checkout.root / "many.txt").write_text("x\n" * 400_000)
    (checkout.root / "alike.txt").write_text("y\n x\n" + "y\n" * 100_000)

    with pytest.raises(
        ToolFailed, match="at lines 1, 2, 3, 4, 5, 6, 7, 8, 9, 10 and 399990 more;"
    ):
        await use("edit_file", path="many.txt", old="x", new="y")
    with pytest.raises(ToolFailed, match="read the file and copy"):
        await use("edit_file", path="alike.txt", old="y\n" * 50_000 + "z", new="y")
    with pytest.raises(ToolFailed, match="line 2 and those that follow differ"):
        await use("edit_file", path="alike.txt", old="  x\ny\ny\n", new="y")


async def test_edit_file_keeps_the_ends_of_lines(use: Use, checkout: Checkout) -> None:
    path = checkout.root / "dos.txt"
    path.write_bytes(b"one\r\ntwo\r\nthree\r\n")

    await use("edit_file", path="dos.txt", old="one\ntwo\n", new="1\n2\n")

    assert path.read_bytes() == b"1\r\n2\r\nthree\r\n"


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [("", "x", "'old' is empty"), ("x", "x", "are the same")],
)
async def test_edit_file_refuses_edits_that_mean_nothing(
    old: str, new: str, said: str, use: Use
) -> None:
    with pytest.raises(ToolFailed, match=said):
        await use("edit_file", path="pkg/a.py", old=old, new=new)


async def test_edit_file_refuses_to_damage_what_is_not_utf_8(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "latin").write_bytes(b"caf\xe9\n")

    with pytest.raises(ToolFailed, match="is not in UTF-8"):
        await use("edit_file", path="latin", old="caf", new="x")


# --- run_command --------------------------------------------------------------


async def test_run_command_takes_a_line_or_a_list(use: Use) -> None:
    assert await use("run_command", command="echo 'a b'") == "exit code 0\na b\n"
    assert await use("run_command", command=["echo", "a b"]) == "exit code 0\na b\n"
    assert await use("run_command", command="true") == "exit code 0"


async def test_run_command_runs_in_the_folder_that_is_named(
    use: Use, checkout: Checkout
) -> None:
    assert await use("run_command", command="pwd", path="pkg") == (
        f"exit code 0\n{checkout.root}/pkg\n"
    )


async def test_run_command_uses_a_shell_only_when_asked(use: Use) -> None:
    assert await use("run_command", command="echo $HOME | wc") == (
        "exit code 0\n$HOME | wc\n"
    )
    assert await use("run_command", command="echo a | tr a b", shell=True) == (
        "exit code 0\nb\n"
    )
    assert await use("run_command", command=["echo", "a b"], shell=True) == (
        "exit code 0\na b\n"
    )


async def test_run_command_fails_with_all_that_it_printed(use: Use) -> None:
    with pytest.raises(CommandFailed) as caught:
        await use("run_command", command="echo oops; exit 4", shell=True)

    assert caught.value.exit_code == 4
    assert caught.value.command == "echo oops; exit 4"
    assert caught.value.output == "oops\n"
    assert str(caught.value) == "exit code 4\noops\n"


async def test_run_command_says_when_time_was_up(use: Use) -> None:
    with pytest.raises(CommandFailed, match=r"ended after 0\.2 s") as caught:
        await use("run_command", command="sleep 60", seconds=0.2)

    assert caught.value.exit_code is None


@pytest.mark.parametrize(
    ("command", "said"),
    [
        ("", "the command is empty"),
        ([], "the command is empty"),
        ("echo 'a", "cannot be split into words"),
        ("nope a | b", "there is no command 'nope'; set shell"),
        ("nope", "there is no command 'nope'$"),
    ],
)
async def test_run_command_explains_what_is_no_command(
    command: object, said: str, use: Use
) -> None:
    with pytest.raises(ToolFailed, match=said):
        await use("run_command", command=command)


async def test_run_command_needs_a_folder(use: Use) -> None:
    with pytest.raises(ToolFailed, match=r"there is no folder 'README\.md'"):
        await use("run_command", command="true", path="README.md")


# --- all together -------------------------------------------------------------


async def test_the_whole_of_a_long_output_can_be_read_and_is_no_change(
    checkout: Checkout,
) -> None:
    box = Toolbox(native_tools(checkout), keep=checkout.keep_output)

    async def text(name: str, **arguments: object) -> str:
        done = await box.run(
            [ToolCall("c", name, arguments)], origin=NOWHERE, emit=lambda event: None
        )
        assert isinstance(done.results[0].content[0], Text)
        return done.results[0].content[0].text

    shown = await text("run_command", command="seq 1 5000")
    path = shown.split("the whole output is in '")[1].split("'")[0]

    assert "\n2500\n" not in shown
    assert await text("read_file", path=path, start_line=2501, lines=1) == (
        f"{path}: lines 2501-2501 of 5001\n2500"
    )
    assert not await checkout.diff()
