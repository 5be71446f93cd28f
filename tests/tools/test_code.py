from collections.abc import Awaitable, Callable

import pytest

from mma_runtime.errors import ToolFailed, WorkspaceError
from mma_runtime.llm.chat import Text
from mma_runtime.tools import native_tools
from mma_runtime.workspace import Checkout

Use = Callable[..., Awaitable[str]]

SHOP = '''\
"""A shop."""

from tax import rate


class Shop:
    """Sells."""

    # What it costs.
    @property
    def price(self) -> int:
        return self.base * rate("price")

    @price.setter
    def price(self, value: int) -> None:
        self.base = value

    def sell(self) -> int:
        # rate is asked for late
        return rate("rate")


def rate_of(x: int) -> int: return x
'''


@pytest.fixture
async def use(checkout: Checkout) -> Use:
    tools = {each.name: each for each in native_tools(checkout)}
    (checkout.root / "shop.py").write_text(SHOP)
    (checkout.root / "tax.py").write_text("def rate(name):\n    return len(name)\n")
    (checkout.root / "web.js").write_text("export function rate(a) { return a }\n")
    (checkout.root / "notes.md").write_text("rate is not code here\n")

    async def use(tool: str, /, **arguments: object) -> str:
        content = await tools[tool].call(arguments)
        assert isinstance(content[0], Text)
        return content[0].text

    return use


# --- reading ------------------------------------------------------------------


async def test_find_symbol_tells_file_line_and_kind(use: Use) -> None:
    assert await use("find_symbol", name="rate") == (
        "tax.py:1: function rate\nweb.js:1: function rate"
    )
    assert await use("find_symbol", name="Shop.sell") == (
        "shop.py:18: function Shop.sell"
    )
    assert await use("find_symbol", name="rate", path="web.js") == (
        "web.js:1: function rate"
    )
    assert await use("find_symbol", name="one") == "pkg/a.py:1: one"


async def test_find_symbol_finds_each_name_of_one_declaration(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "size.go").write_text("package a\n\nvar width, height = 1, 2\n")

    assert await use("find_symbol", name="height") == "size.go:3: width, height"


async def test_find_symbol_says_when_there_is_none(use: Use) -> None:
    assert await use("find_symbol", name="nothing") == (
        "there is no definition of 'nothing' in '.'"
    )
    with pytest.raises(WorkspaceError, match="no file or folder 'nowhere'"):
        await use("find_symbol", name="x", path="nowhere")


async def test_find_symbol_is_capped(use: Use, checkout: Checkout) -> None:
    (checkout.root / "many.py").write_text("def same(): ...\n" * 60)

    assert (await use("find_symbol", name="same")).endswith(
        "(and 10 more; give the path of a folder)"
    )


async def test_get_skeleton_shows_signatures_alone(use: Use) -> None:
    assert await use("get_skeleton", path="shop.py") == (
        "shop.py:\n# A shop.\nclass Shop:  # Sells.\n"
        "  @property def price(self) -> int: ...  # What it costs.\n"
        "  @price.setter def price(self, value: int) -> None: ...\n"
        "  def sell(self) -> int: ...\n"
        "def rate_of(x: int) -> int: ..."
    )
    assert "language is unknown" in await use("get_skeleton", path="notes.md")


async def test_get_definition_shows_numbered_lines(use: Use) -> None:
    assert await use("get_definition", symbol="Shop.sell", path="shop.py") == (
        "shop.py:\n18      def sell(self) -> int:\n"
        '19          # rate is asked for late\n20          return rate("rate")'
    )
    with pytest.raises(WorkspaceError, match="did you mean `sell`"):
        await use("get_definition", symbol="sel", path="shop.py")


async def test_find_usages_counts_code_only(use: Use) -> None:
    assert await use("find_usages", name="rate") == (
        "shop.py:3: from tax import rate\n"
        'shop.py:12: return self.base * rate("price")\n'
        'shop.py:20: return rate("rate")\n'
        "tax.py:1: def rate(name):\n"
        "web.js:1: export function rate(a) { return a }"
    )
    assert await use("find_usages", name="nowhere_at_all") == (
        "'nowhere_at_all' is not used in code in '.'"
    )
    with pytest.raises(ToolFailed, match="'name' is empty"):
        await use("find_usages", name="")


async def test_find_usages_is_capped(use: Use, checkout: Checkout) -> None:
    (checkout.root / "many.py").write_text("x = one\n" * 150)

    found = await use("find_usages", name="one", path="many.py")

    assert found.endswith("(more than 100 usages; give a folder's path)")


@pytest.mark.parametrize(
    ("path", "text", "said"),
    [
        ("a.py", "def f():\n    return 1\n", "the syntax is right"),
        ("a.py", "x = 1\ndef f(:\n    return 1\n", "line 2, column"),
        (
            "a.go",
            "package a\nfunc f() {\n",
            "line 2, column 10: cannot be read from here: '{'",
        ),
        ("a.c", "int f() { return 1 }\n", "line 1, column 19: ';' is missing"),
        ("a.ts", "const x: = 1;\n", "line 1, column"),
        ("a.h", "namespace n { class A { int f(); }; }\n", "the syntax is right"),
        ("a.h", "int f(int a[static 3]);\n", "the syntax is right"),
        ("a.h", "namespace n { int f( }\n", "line 1, column"),
        ("a.json", '{"a": }', "Expecting value: line 1 column 7"),
        ("a.json", '\ufeff{"a": 1}', "the syntax is right"),
        ("package.json", '{"a": 1} // why', "Extra data: line 1 column 10"),
        ("package.json", '{"a": 1,}', "line 1 column"),
        ("tsconfig.json", '{\n// why\n"a": [1, /* one */],\n}', "is right"),
        ("tsconfig.app.json", '{"a": "//", "b": "/*,]"}', "the syntax is right"),
        ("tsconfig.json", '{\n/* why\n */ "a": }', "line 3 column 10"),
        ("a.jsonc", '\ufeff// why\n{"a": 1}', "the syntax is right"),
        ("a.code-workspace", '{"folders": [],}', "the syntax is right"),
        ("a.jsonc", "/*" * 50_000, "Expecting value"),
        ("a.toml", "a = \n", "Invalid value (at line 1"),
        ("a.json", "[" * 100_000, "recursion"),
        ("a.toml", "a = 1\n", "the syntax is right"),
        ("a.md", "anything", "language is unknown"),
    ],
)
async def test_check_syntax_names_the_first_problems(
    path: str, text: str, said: str, use: Use, checkout: Checkout
) -> None:
    (checkout.root / path).write_text(text)

    assert said in await use("check_syntax", path=path)


async def test_git_diff_shows_what_changed_since_the_checkout(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "pkg" / "a.py").write_text("one = 1\n")
    (checkout.root / "pkg2").mkdir()
    (checkout.root / "pkg2" / "b.py").write_text("b = 1\n")

    assert "+def rate(name):" in await use("git_diff")
    assert await use("git_diff", path="pkg") == (
        "diff --git a/pkg/a.py b/pkg/a.py\n--- a/pkg/a.py\n+++ b/pkg/a.py\n"
        "@@ -1,3 +1 @@\n one = 1\n-two = 2\n-three = 3\n"
    )
    assert await use("git_diff", path="README.md") == "no changes"


# --- update_definition --------------------------------------------------------


async def test_update_definition_replaces_it_with_its_comments_and_decorators(
    use: Use, checkout: Checkout
) -> None:
    said = await use(
        "update_definition",
        symbol="Shop.price",
        path="shop.py",
        line=9,
        new="@cached_property\ndef price(self) -> int:\n\n    return 1\n",
    )

    text = (checkout.root / "shop.py").read_text()
    assert said == "replaced Shop.price in shop.py, now lines 9-12"
    assert (
        '    """Sells."""\n\n'
        "    @cached_property\n    def price(self) -> int:\n\n        return 1\n\n"
        "    @price.setter\n"
    ) in text


@pytest.mark.parametrize(
    "new",
    [
        "    def sell(self) -> int:\n        return 7",
        "def sell(self) -> int:\n    return 7\n",
        "\n\n    def sell(self) -> int:\n        return 7\n\n",
    ],
)
async def test_update_definition_takes_it_with_or_without_its_indentation(
    new: str, use: Use, checkout: Checkout
) -> None:
    await use("update_definition", symbol="sell", path="shop.py", new=new)

    text = (checkout.root / "shop.py").read_text()
    assert "\n\n    def sell(self) -> int:\n        return 7\n\n\ndef rate_of" in text


STRINGS = {
    "a.py": (
        "class A:\n    def f(self):\n        pass\n",
        (
            'def f(self):\n    """Do.\n\n    At length.\n    """\n'
            '    x = """\none\n  two\n   \n"""\n    return f"""\n{x}\n"""\n'
        ),
        (
            '    def f(self):\n        """Do.\n\n        At length.\n        """\n'
            '        x = """\none\n  two\n   \n"""\n        return f"""\n{x}\n"""\n'
        ),
    ),
    "deeper.py": (
        "class A:\n    def f(self):\n        pass\n",
        '  def f(self):\n    return """\nline 1\n"""\n',
        '    def f(self):\n      return """\nline 1\n"""\n',
    ),
    "a.ts": (
        "class A {\n  async *f() { return 1 }\n}\n",
        "async *f() {\n  // why\n  return `\none\n  two`;\n}\n",
        "  async *f() {\n    // why\n    return `\none\n  two`;\n  }\n",
    ),
    "a.rs": (
        "impl A {\n    fn f(&self) {}\n}\n",
        'fn f(&self) {\n    r"\none\n"\n}',
        '    fn f(&self) {\n        r"\none\n"\n    }\n',
    ),
}


@pytest.mark.parametrize("path", STRINGS)
async def test_update_definition_indents_code_and_leaves_strings_as_they_are(
    path: str, use: Use, checkout: Checkout
) -> None:
    before, new, expected = STRINGS[path]
    (checkout.root / path).write_text(before)

    await use("update_definition", symbol="A.f", path=path, new=new)

    assert expected in (checkout.root / path).read_text()


async def test_update_definition_leaves_files_alone_that_are_not_in_utf_8(
    use: Use, checkout: Checkout
) -> None:
    before = b'# coding: latin-1\nname = "\xe9"\n\ndef f():\n    return 1\n'
    (checkout.root / "old.py").write_bytes(before)

    with pytest.raises(ToolFailed, match="not in UTF-8; an edit would damage it"):
        await use("update_definition", symbol="f", path="old.py", new="def f(): ...")

    assert (checkout.root / "old.py").read_bytes() == before


async def test_update_definition_keeps_the_files_line_ends(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "dos.py").write_bytes(b"def a():\r\n    return 1\r\n\r\nb = 1\r\n")

    await use(
        "update_definition", symbol="a", path="dos.py", new="def a():\n    return 2\n"
    )

    assert (checkout.root / "dos.py").read_bytes() == (
        b"def a():\r\n    return 2\r\n\r\nb = 1\r\n"
    )


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"symbol": "price"}, "defined at line 9, 14; say which by `line`"),
        ({"symbol": "price", "line": 4}, "say which by `line`"),
        ({"symbol": "sell", "new": " \n"}, "'new' is empty"),
        ({"symbol": "sell", "new": "def sell(:\n  pass"}, "nothing was changed"),
        ({"symbol": "cell"}, "no 'cell' in 'shop.py'; did you mean `sell`"),
        ({"symbol": "sell", "path": "notes.md"}, "its language is unknown"),
        ({"symbol": "sell", "path": "nowhere.py"}, "no file 'nowhere.py'"),
        ({"symbol": "sell", "path": "../../shop.py"}, "outside the workspace"),
    ],
)
async def test_update_definition_refuses_what_it_cannot_do(
    arguments: dict[str, object], said: str, use: Use, checkout: Checkout
) -> None:
    defaults = {"path": "shop.py", "new": "def sell(self): ..."}

    with pytest.raises((ToolFailed, WorkspaceError)) as caught:
        await use("update_definition", **(defaults | arguments))

    assert said in str(caught.value)
    assert (checkout.root / "shop.py").read_text() == SHOP


async def test_a_file_that_was_broken_before_may_be_mended_step_by_step(
    use: Use, checkout: Checkout
) -> None:
    (checkout.root / "broken.py").write_text("def a(): return 1\n\ndef b(:\n")

    await use(
        "update_definition", symbol="a", path="broken.py", new="def a(): return 2"
    )

    assert (checkout.root / "broken.py").read_text().startswith("def a(): return 2\n")
