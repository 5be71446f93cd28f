import re
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mma_runtime.errors import OutsideWorkspace, WorkspaceError
from mma_runtime.workspace import Views, Workspace

PYTHON = b'''"""About the module.

More of it.
"""
import os

LIMIT: int = 1  # behind code
_hidden = 2


# Why it is so.
@core_logic
async def first(a: int = 1) -> str:
    """What first does.

    At length.
    """
    # a comment inside
    return "kept"


class Shop(Base):
    """What a shop is."""

    size: int = 3

    @property
    def name(self) -> str:
        return "secret"

    def _private(self) -> None:
        pass

    # [HOT] called for each line
    def hot(self) -> int:
        return 42

    class Inner:
        def deep(
            self,
            many: int,
        ) -> None:
            raise NotImplementedError


if True:

    def conditional(): ...


type Name = str
'''

SAMPLES = {
    "shop.py": (
        PYTHON,
        """\
# About the module.
LIMIT: int = 1
@core_logic async def first(a: int = 1) -> str: ...  # What first does.
class Shop(Base):  # What a shop is.
  size: int = 3
  @property def name(self) -> str: ...
  def hot(self) -> int: ...
  class Inner:
    def deep(self, many: int) -> None: ...
def conditional(): ...
type Name = str
# 2 private names are left out""",
    ),
    "shop.js": (
        b"""\
/** About the file. */

/** What a shop is.
 * More. */
export class Shop extends Base {
  static size = 1;
  #secret = 2;
  constructor(a) { this.a = a }
  get name() { return 1 }
  async *all() { yield 2 }
}
export default function first(a) { return 1 }
const arrow = async (x) => { return 2 };
const k = 3;
exports.late = function (x) { return x };
""",
        """\
// About the file.
export class Shop extends Base  // What a shop is.
  static size = 1
  constructor(a)
  get name()
  async *all()
export default function first(a)
const arrow = async (x) =>
const k = 3;
exports.late = function (x)
// 1 private names are left out""",
    ),
    "shop.ts": (
        b"""\
export interface Item { price: number; sell(n: number): void }
export abstract class Shop<T> implements Item {
  private x: number = 1;
  abstract f(): void;
  @logged() name(): string { return "secret" }
}
type Either = A | B;
enum Kind {
  One = 1,
}
namespace Inner { export function deep(): void { return } }
export const generic = <T,>(a: T) => { return a };
""",
        """\
export interface Item { price: number; sell(n: number): void }
export abstract class Shop<T> implements Item
  private x: number = 1
  abstract f(): void
  name(): string
type Either = A | B;
enum Kind {
  One = 1,
}
namespace Inner
  export function deep(): void
export const generic = <T,>(a: T) =>""",
    ),
    "shop.tsx": (
        b"export const App = (p: Props) => { return <div>{p.x}</div> };\n",
        "export const App = (p: Props) =>",
    ),
    "shop.go": (
        b"""\
// Package shop sells.
package shop

import "fmt"

// Shop has a size.
type Shop[K any] struct {
	Size int `json:"size"`
}

// Name names it.
func (s *Shop[K]) Name(a int) string {
	return "secret"
}

func Map[V any](x V) (int, error) { return 1, nil }

const (
	One = 1
	Two = 2
)
""",
        """\
// Package shop sells.
type Shop[K any] struct {
	Size int `json:"size"`
}  // Shop has a size.
func (s *Shop[K]) Name(a int) string  // Name names it.
func Map[V any](x V) (int, error)
One = 1
Two = 2""",
    ),
    "shop.rs": (
        b"""\
//! About the crate.
use std::io;

/// What a shop is.
#[derive(Debug)]
pub struct Shop<T> { size: i32 }

impl<T> Named for Shop<T> {
    /// What name does.
    fn name(&self) -> i32 { 42 }
    const X: i32 = 1;
}
pub trait Named { fn name(&self) -> i32; fn twice(&self) { } }
""",
        """\
// About the crate.
pub struct Shop<T> { size: i32 }  // What a shop is.
impl<T> Named for Shop<T>
  fn name(&self) -> i32  // What name does.
  const X: i32 = 1;
pub trait Named
  fn name(&self) -> i32;
  fn twice(&self)""",
    ),
    "Shop.java": (
        b"""\
package shop;
/** What a shop is. */
@Service public class Shop<T> extends Base implements Named {
    private int size = 1;
    public Shop(int a) { this.a = a; }
    @Override public String name(int a) throws Error { return "secret"; }
    enum Kind { ONE, TWO; int code() { return 1; } }
    interface Inner { int deep(); default int twice() { return 2; } }
}
record Point(int x) { Point { check(x); } }
""",
        """\
@Service public class Shop<T> extends Base implements Named  // What a shop is.
  private int size = 1;
  public Shop(int a)
  @Override public String name(int a) throws Error
  enum Kind
    ONE
    TWO
    int code()
  interface Inner
    int deep();
    default int twice()
record Point(int x)
  Point""",
    ),
    "shop.c": (
        b"""\
#ifndef SHOP
#define SHOP 1
/* What a shop is. */
struct shop { int size; };
typedef struct { int b; } other;
static inline int first(int a, char *b) { return 42; }
int declared(void);
char *name(int x)
{
    return "secret";
}
#endif
""",
        """\
#define SHOP 1
struct shop { int size; }  // What a shop is.
typedef struct { int b; } other;
static inline int first(int a, char *b)
int declared(void);
char *name(int x)""",
    ),
    "shop.cpp": (
        b"""\
namespace shop {
// What a shop is.
template<typename T> class Shop : public Base {
public:
  Shop(int x) : y(x) {}
  virtual int name() const { return 42; }
  int y = 1;
  struct Inner { int deep() { return 1; } };
};
template<typename T> int Shop<T>::out(int a) { return 1; }
int operator+(A a, A b) { return 1; }
}
extern "C" { int plain() { return 1; } }
""",
        """\
namespace shop
  template<typename T> class Shop : public Base  // What a shop is.
    Shop(int x) : y(x)
    virtual int name() const
    int y = 1;
    struct Inner
      int deep()
  template<typename T> int Shop<T>::out(int a)
  int operator+(A a, A b)
int plain()""",
    ),
}

PATHS = {
    "shop.py": "Shop.Inner.deep",
    "shop.js": "Shop.name",
    "shop.ts": "Inner.deep",
    "shop.tsx": "App",
    "shop.go": "Shop.Name",
    "shop.rs": "Shop.name",
    "Shop.java": "Shop.Kind.code",
    "shop.c": "name",
    "shop.cpp": "shop.Shop.out",
}


@pytest.fixture
def views() -> Views:
    return Views()


@pytest.mark.parametrize("name", SAMPLES)
def test_a_skeleton_shows_what_a_file_offers_and_no_body(
    name: str, views: Views
) -> None:
    content, expected = SAMPLES[name]

    view = views.skeleton(name, content)

    assert view.text == expected
    assert (view.kind, view.note) == ("skeleton", "")


@pytest.mark.parametrize("name", SAMPLES)
def test_symbols_are_found_by_their_path_in_every_language(
    name: str, views: Views
) -> None:
    content, _ = SAMPLES[name]

    (symbol,) = views.find(name, content, PATHS[name])

    assert symbol.path == PATHS[name]
    assert symbol.name.encode() in content[symbol.start : symbol.end]


@pytest.mark.parametrize("name", SAMPLES)
def test_a_curated_view_hides_bodies_only(name: str, views: Views) -> None:
    content, _ = SAMPLES[name]

    text = views.curated(name, content).text

    assert "hidden" in text
    assert "secret" not in text.replace("#secret", "")
    kept = [line for line in text.splitlines() if "hidden" not in line]
    assert all(line in content.decode() for line in kept)


def test_a_curated_view_shows_what_is_marked_or_named_in_full(views: Views) -> None:
    text = views.curated("shop.py", PYTHON, named=["Shop.Inner"]).text

    for shown in (
        '"""About the module.\n\nMore of it.\n"""',
        "# Why it is so.",
        'return "kept"',
        "return 42",
        "raise NotImplementedError",
        '"""What a shop is."""',
        "def name(self) -> str:\n        ... # hidden",
        "def _private(self) -> None:\n        ... # hidden",
    ):
        assert shown in text
    assert "secret" not in text


def test_a_docstring_stays_where_its_function_is_hidden(views: Views) -> None:
    text = views.curated("a.py", PYTHON.replace(b"@core_logic\n", b"")).text

    assert '    At length.\n    """\n    ... # hidden\n' in text


def test_a_raw_view_numbers_its_lines(views: Views) -> None:
    assert views.raw("a.txt", b"one\n\ntwo").text == "1  one\n2\n3  two"
    assert views.raw("shop.py", PYTHON, "Shop.hot").text == (
        "34      # [HOT] called for each line\n"
        "35      def hot(self) -> int:\n"
        "36          return 42"
    )


def test_every_definition_of_a_name_is_shown(views: Views) -> None:
    getter = b"class A:\n  @property\n  def x(self): ...\n"
    source = getter + b"\n  @x.setter\n  def x(self, v): ...\n"

    assert views.raw("a.py", source, "A.x").text == (
        "2    @property\n3    def x(self): ...\n…\n"
        "5    @x.setter\n6    def x(self, v): ..."
    )


def test_a_symbol_is_found_by_the_end_of_its_path(views: Views) -> None:
    assert [one.path for one in views.find("a.py", PYTHON, "deep")] == [
        "Shop.Inner.deep"
    ]
    assert views.find("a.py", PYTHON, "Inner::deep")[0].path == "Shop.Inner.deep"


def test_a_symbol_that_is_not_there_is_answered_with_the_nearest(
    views: Views,
) -> None:
    with pytest.raises(
        WorkspaceError, match=r"no 'Shop\.hit' in 'a\.py'; did you mean"
    ):
        views.raw("a.py", PYTHON, "Shop.hit")
    with pytest.raises(WorkspaceError, match="its language is unknown"):
        views.raw("a.txt", b"x", "y")


def test_text_of_an_unknown_language_falls_back_to_its_first_lines(
    views: Views,
) -> None:
    text = "".join(f"line {n}\n" for n in range(1, 101))

    view = views.skeleton("notes.md", text.encode())

    assert view.kind == "first lines"
    assert view.text.endswith("line 40")
    assert "first 40 of 101 lines" in str(view)
    assert views.curated("Makefile", b"all:\n").text == "all:\n"


@pytest.mark.parametrize("name", ["a.py", "a.rs", "a.txt"])
def test_a_binary_file_has_no_view(name: str, views: Views) -> None:
    for show in (views.skeleton, views.curated, views.raw):
        with pytest.raises(WorkspaceError, match="is a binary file"):
            show(name, b"\0\1")


@pytest.mark.parametrize(
    "source",
    [
        b"",
        b"def",
        b"class A:\n  def f(self:\n    x = = 1\n\nclass B:\n  pass\n",
        b"\xff\xfe def f(): pass",
        b"(" * 5_000,
        b"class A:\n" + b"".join(b" " * n + b"class B:\n" for n in range(1, 60)),
        b"def f():" + b" " * 100_000,
        b"x = " + b"1 + " * 20_000 + b"1\n",
    ],
)
def test_broken_or_odd_code_has_views_too(source: bytes, views: Views) -> None:
    assert views.skeleton("a.py", source).text
    assert views.curated("a.py", source).kind == "curated"


@settings(max_examples=60, deadline=None)
@given(
    name=st.sampled_from(sorted(SAMPLES)),
    cuts=st.lists(st.integers(0, 1_000), max_size=6),
    noise=st.sampled_from([b"", b"{", b"}", b"(", b'"', b"/*", b"'", b"class "]),
)
def test_however_code_is_cut_up_its_views_are_made_of_it(
    name: str, cuts: list[int], noise: bytes
) -> None:
    content, _ = SAMPLES[name]
    for cut in cuts:
        place = cut % len(content)
        content = content[:place] + noise + content[place + 3 :]

    views = Views()
    hidden = views.curated(name, content).text
    views.skeleton(name, content)
    outlined = views.outline(name, content)

    assert outlined is not None
    for one in outlined.walk():
        assert 0 <= one.start <= one.head <= one.end <= len(content)
    whole, at = content.decode(errors="replace"), 0
    for piece in re.split(r"\.\.\. # hidden|{ /\* hidden \*/ }", hidden):
        at = whole.index(piece, at) + len(piece)


def test_what_is_right_in_broken_code_is_shown(views: Views) -> None:
    text = views.skeleton(
        "a.py", b"def good(): pass\n\ndef bad(:\n\ndef fine(): 1\n"
    ).text

    assert "def good(): ..." in text


@pytest.mark.parametrize(
    ("source", "paths"),
    [
        (b"int add(int a, int b);\nstruct shop { int size; };\n", ["add", "shop"]),
        (b"int f(int template) { return template; }\n", ["f"]),
        (
            (
                b'#ifdef __cplusplus\nextern "C" {\n#endif\nint f(void);\n'
                b"#ifdef __cplusplus\n}\n#endif\n"
            ),
            ["f"],
        ),
        (
            (
                b"namespace n {\nclass Foo : public Bar {\npublic:\n"
                b"  int bar() { return 1; }\n};\n}\n"
            ),
            ["n", "n.Foo", "n.Foo.bar"],
        ),
        (b"namespace n {\nbool even(int);\n}\n", ["n", "n.even"]),
        (b"struct Foo { int bar() { return 1; } };\n", ["Foo", "Foo.bar"]),
        (b"class API Foo {\npublic:\n  int bar();\n};\n", ["Foo", "Foo.bar"]),
        (b"G_BEGIN_DECLS\nstruct Foo { int a; };\nG_END_DECLS\n", ["Foo"]),
        (b"QT_BEGIN_NAMESPACE\nclass Foo { int a; };\n", ["Foo", "Foo.a"]),
    ],
)
def test_a_header_is_read_in_the_language_that_it_is_written_in(
    source: bytes, paths: list[str], views: Views
) -> None:
    outlined = views.outline("shop.h", source)

    assert outlined is not None
    assert [one.path for one in outlined.walk()] == paths


DEFINED = {
    "module.exports = { a() { x() }, b: function () { x() }, c: 1 };": (
        "a.js",
        ["module.exports", "module.exports.a", "module.exports.b", "module.exports.c"],
    ),
    "module.exports = class Shop { sell() { x() } };": (
        "a.js",
        ["Shop", "Shop.sell"],
    ),
    "exports = module.exports = function () { x() };": ("a.js", ["exports"]),
    "export default () => { x() };": ("a.js", ["default"]),
    "export default class extends B { m() { x() } }": (
        "a.js",
        ["default", "default.m"],
    ),
    "(function () { function inner() { x() } })();": ("a.js", ["inner"]),
    "class A { late = async () => { x() } }": ("a.js", ["A", "A.late"]),
    "const f = () => { x() }, k = 1, g = () => { x() };": ("a.js", ["f", "k", "g"]),
    "export default function () { x() }": ("a.ts", ["default"]),
    "class A { private late = async () => { x() } }": ("a.ts", ["A", "A.late"]),
    "class A { [Symbol.iterator]() { x() } }": ("a.ts", ["A", "A.[Symbol.iterator]"]),
    "const s = { f() { x() }, in: { g: () => { x() } } } as const;": (
        "a.ts",
        ["s", "s.f", "s.in", "s.in.g"],
    ),
    "export const C = memo(forwardRef((p) => { x() }));": ("a.tsx", ["C"]),
    "export const s = slice({ name: 1, reducers: { add() { x() } } });": (
        "a.ts",
        ["s", "s.name", "s.reducers", "s.reducers.add"],
    ),
    "export default define({ setup() { x() } });": (
        "a.ts",
        ["default", "default.setup"],
    ),
    "declare global { interface Window { a: 1 } }": ("a.ts", ["Window"]),
    "package a\nvar f = func() int { return x }": ("a.go", ["f"]),
    "static S: Lazy<T> = Lazy::new(|| { x() });\npub mod shop;": (
        "a.rs",
        ["S", "shop"],
    ),
    "class A { Runnable r = () -> { x(); }; enum E { X { void m() { x(); } } } }": (
        "A.java",
        ["A", "A.r", "A.E", "A.E.X", "A.E.X.m"],
    ),
    "class A { O o = new O() { void m() { x(); } }; }": (
        "A.java",
        ["A", "A.o", "A.o.m"],
    ),
    "auto f = [](int a) { x(); };": ("a.cpp", ["f"]),
    "class A { friend void f(A a) { x(); } A& operator=(A a) { x(); } };": (
        "a.cpp",
        ["A", "A.f", "A.operator="],
    ),
    "struct A { F f = [](int a) { x(); }; enum { ONE }; union { int a; }; };": (
        "a.cpp",
        ["A", "A.f", "A.(anonymous)", "A.(anonymous)"],
    ),
    "namespace n { namespace { void f() { x(); } } }": (
        "a.cpp",
        ["n", "n.(anonymous)", "n.f"],
    ),
    "typedef int (*handler)(int);": ("a.c", ["handler"]),
    "enum { ONE, TWO };": ("a.c", ["(anonymous)"]),
    "match x:\n    case 1:\n        def f():\n            x()": ("a.py", ["f"]),
}


@pytest.mark.parametrize("source", DEFINED)
def test_whatever_shape_a_definition_has_it_is_named_and_its_body_hidden(
    source: str, views: Views
) -> None:
    path, expected = DEFINED[source]

    outlined = views.outline(path, source.encode())

    assert outlined is not None
    assert [one.path for one in outlined.walk()] == expected
    for view in (views.skeleton, views.curated):
        assert "x()" not in view(path, source.encode()).text


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a.go", b"package a\nvar one, two = 1, 2\n"),
        ("a.go", b"package a\nconst (\n\tone, two = 1, 2\n)\n"),
        ("a.js", b"let one = 1, two = 2;\n"),
        ("A.java", b"class A { private int one = 1, two; }\n"),
        ("a.c", b"int one, *two = 0;\n"),
        ("a.py", b"one, two = 1, 2\n"),
        ("a.py", b"(one, two) = 1, 2\n"),
    ],
)
def test_each_name_of_one_declaration_is_found(
    path: str, source: bytes, views: Views
) -> None:
    (one,) = views.find(path, source, "one")
    (two,) = views.find(path, source, "two")

    assert one == two
    assert "one" in views.skeleton(path, source).text


def test_what_is_declared_with_others_is_shown_without_them(views: Views) -> None:
    source = b"// Both.\nexport const f = () => { x() }, g = () => { y() };\n"

    assert views.raw("a.js", source, "f").text == "2  " + source.decode().split("\n")[1]
    (found,) = views.find("a.js", source, "f")
    assert source[found.start : found.end] == b"f = () => { x() }"


def test_decorators_of_a_method_belong_to_it(views: Views) -> None:
    source = b"class A {\n  /** What f does. */\n  @logged()\n  f() { x() }\n}\n"

    (found,) = views.find("a.ts", source, "A.f")

    assert source[found.start : found.end].startswith(b"/** What f does.")
    assert views.skeleton("a.ts", source).text == "class A\n  f()  // What f does."


def test_a_namespace_without_a_name_takes_no_more_room_than_another(
    views: Views,
) -> None:
    inside = b"".join(b"int f%d(int a) { return a; }\n" % n for n in range(500))

    outlined = views.outline("a.cpp", b"namespace {\n" + inside + b"}\n")

    assert outlined is not None
    assert max(len(one.path) for one in outlined.walk()) < 20


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("a.js", b"a = " * 5_000 + b"1"),
        ("a.js", b"x = " + b"{a: " * 5_000 + b"1" + b"}" * 5_000),
        ("a.js", b"const x = " + b"f(" * 5_000 + b"() => { y() }" + b")" * 5_000),
        ("a.c", b"int " + b"(" * 5_000 + b"x" + b")" * 5_000 + b";"),
        ("a.c", b"int " + b"x" * 100_000 + b";"),
    ],
)
def test_what_is_nested_very_deep_or_very_long_has_views_too(
    path: str, source: bytes, views: Views
) -> None:
    outlined = views.outline(path, source)

    assert outlined is not None
    assert all(len(one.path) < 300 for one in outlined.walk())


def test_a_view_is_made_once_for_the_same_content(views: Views) -> None:
    first = views.skeleton("a.py", PYTHON)

    assert views.skeleton("other/b.py", PYTHON) is first
    assert views.skeleton("a.py", PYTHON + b"\n") is not first
    assert views.curated("a.py", PYTHON, named=["Shop"]) != views.curated(
        "a.py", PYTHON
    )


def test_old_views_are_forgotten() -> None:
    views = Views(capacity=1)
    first = views.skeleton("a.py", b"a = 1\n")
    views.skeleton("a.py", b"b = 1\n")

    assert views.skeleton("a.py", b"a = 1\n") is not first


def test_threads_may_share_views(views: Views) -> None:
    texts: list[str] = []
    threads = [
        Thread(target=lambda: texts.append(views.skeleton("a.py", PYTHON).text))
        for _ in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()

    assert texts == [SAMPLES["shop.py"][1]] * 8


async def test_checkouts_and_the_integration_tree_show_views(
    workspace: Workspace,
) -> None:
    checkout = await workspace.checkout("T1")
    checkout.write_bytes("pkg/b.py", b"class New:\n    def f(self): return 1\n")

    assert (
        await checkout.skeleton("pkg/b.py")
    ).text == "class New:\n  def f(self): ..."
    assert (await workspace.files.skeleton("pkg/b.py")).text == "x = 1"
    assert "... # hidden" in (await checkout.curated("pkg/b.py")).text
    assert "return 1" in (await checkout.curated("pkg/b.py", ["New"])).text
    assert (await checkout.raw("pkg/b.py:New.f")).text == "2      def f(self): return 1"
    assert (await checkout.raw("a.txt")).text.startswith(" 1  line 1\n")


async def test_a_file_with_a_colon_in_its_name_is_no_symbol(
    workspace: Workspace,
) -> None:
    checkout = await workspace.checkout("T1")
    checkout.write_bytes("a:b", b"odd")

    assert (await checkout.raw("a:b")).text == "1  odd"
    with pytest.raises(WorkspaceError, match="no file 'nowhere'"):
        await checkout.raw("nowhere:x")


async def test_views_stay_inside_of_the_folder(
    workspace: Workspace, tmp_path: Path
) -> None:
    (tmp_path / "secret.py").write_text("secret = 1\n")

    for path in ("../../secret.py", str(tmp_path / "secret.py")):
        with pytest.raises(OutsideWorkspace):
            await workspace.files.skeleton(path)
        with pytest.raises(OutsideWorkspace):
            await workspace.files.raw(f"{path}:secret")
