"""The programming languages that views can read, each told by its grammar's words.

A grammar is loaded when the first file of its language is read.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath

import tree_sitter

_NOWHERE = re.compile(rb"(?!)")


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language: where its grammar is, and which of its nodes mean what.

    *functions* have a body that can be hidden. *classes* hold members. *values* are
    shown as they stand: types, fields, constants. *wrappers* stand around a
    definition and belong to it (decorators, `export`, `template`). Through *open*
    nodes one looks as if they were not there (`#ifdef`, `if TYPE_CHECKING`). *leading*
    nodes stand before a definition and belong to it, comments too. *otherwise* is what
    a file of the same suffix may be written in as well, *telling* that it is. *noise*
    is read as blanks: macros that no grammar can know.
    """

    name: str
    module: str
    function: str = "language"
    suffixes: frozenset[str]
    functions: frozenset[str]
    classes: frozenset[str] = frozenset()
    values: frozenset[str] = frozenset()
    wrappers: frozenset[str] = frozenset()
    open: frozenset[str] = frozenset()
    leading: frozenset[str] = frozenset({"comment"})
    comment: str = "//"
    hidden: str = "{ /* hidden */ }"
    otherwise: "Language | None" = None
    telling: re.Pattern[bytes] = _NOWHERE
    noise: re.Pattern[bytes] = _NOWHERE

    @property
    def docs_inside(self) -> bool:
        """Whether a definition's documentation is the first thing in its body."""
        return self.name == "Python"


def language_of(path: str) -> Language | None:
    """Return the language of a file by its name; `None`: views cannot read it."""
    return _BY_SUFFIX.get(PurePosixPath(path).suffix.lower())


def parse(language: Language, source: bytes) -> tuple[Language, tree_sitter.Node]:
    """Parse *source*; what is wrong in it becomes nodes, never an error.

    Returns the language it is written in, which of two is told by its words or else by
    what fits better, and the root of its tree.
    """
    if language.otherwise is not None and language.telling.search(source):
        # Some of it can be read the other way, but would mean something else.
        return parse(language.otherwise, source)

    read = language.noise.sub(lambda found: b" " * len(found[0]), source)
    root = tree_sitter.Parser(_grammar(language)).parse(read).root_node
    if language.otherwise is None or not root.has_error:
        return language, root

    other, tree = parse(language.otherwise, source)
    if sum(1 for _ in broken(tree)) < sum(1 for _ in broken(root)):
        return other, tree

    return language, root


def broken(root: tree_sitter.Node) -> Iterator[tree_sitter.Node]:
    """Yield the nodes that stand for something wrong, in order."""
    pending = [root]
    while pending:
        node = pending.pop()
        if node.is_missing or node.type == "ERROR":
            yield node
        elif node.has_error:
            pending += reversed(node.children)


@cache
def _grammar(language: Language) -> tree_sitter.Language:
    grammar: object = getattr(import_module(language.module), language.function)()
    return tree_sitter.Language(grammar)


def _names(words: str) -> frozenset[str]:
    return frozenset(words.split())


_C_VALUES = (
    "declaration field_declaration struct_specifier enum_specifier union_specifier"
    " type_definition preproc_def preproc_function_def"
)
_C_OPEN = (
    "preproc_ifdef preproc_if preproc_else preproc_elif preproc_elifdef"
    " linkage_specification declaration_list"
)
_SCRIPT_FUNCTIONS = (
    "function_declaration generator_function_declaration method_definition"
)
_SCRIPT_VALUES = "lexical_declaration variable_declaration pair"
_TYPED_FUNCTIONS = " function_signature method_signature abstract_method_signature"
_TYPED_VALUES = (
    " public_field_definition interface_declaration type_alias_declaration"
    " enum_declaration"
)

# The word of `class API Shop {` that says what the linker exports, and lines such as
# `G_BEGIN_DECLS`, with which what follows would be read as something else.
_EXPORT_OR_FENCE = re.compile(
    rb"(?<=class|truct)[ \t]+[A-Z][A-Z0-9_]+"
    rb"(?=\s+(?!final\b)\w+\s*(?:final\s*)?[:{])"
    rb"|^[A-Z_]*(?:BEGIN|END)[A-Z0-9_]*(?=[ \t\r]*$)",
    re.MULTILINE,
)
_C = Language(
    name="C",
    module="tree_sitter_c",
    suffixes=_names(".c"),
    functions=_names("function_definition"),
    values=_names(_C_VALUES),
    noise=_EXPORT_OR_FENCE,
    open=_names(_C_OPEN),
)
_CPP = Language(
    name="C++",
    module="tree_sitter_cpp",
    suffixes=_names(".cc .cpp .cxx .c++ .hh .hpp .hxx .h++ .ipp .tpp"),
    functions=_names("function_definition"),
    classes=_names("class_specifier struct_specifier namespace_definition"),
    values=_names(
        _C_VALUES.replace("struct_specifier ", "")
        + " alias_declaration concept_definition"
    ),
    wrappers=_names("template_declaration friend_declaration"),
    noise=_EXPORT_OR_FENCE,
    open=_names(_C_OPEN),
)

LANGUAGES = (
    Language(
        name="Python",
        module="tree_sitter_python",
        suffixes=_names(".py .pyi .pyw"),
        functions=_names("function_definition"),
        classes=_names("class_definition"),
        values=_names("type_alias_statement assignment"),
        wrappers=_names("decorated_definition"),
        open=_names(
            "if_statement else_clause elif_clause try_statement except_clause"
            " finally_clause with_statement match_statement case_clause block"
            " expression_statement"
        ),
        comment="#",
        hidden="... # hidden",
    ),
    Language(
        name="JavaScript",
        module="tree_sitter_javascript",
        suffixes=_names(".js .jsx .mjs .cjs"),
        functions=_names(_SCRIPT_FUNCTIONS),
        classes=_names("class_declaration"),
        values=_names(_SCRIPT_VALUES + " field_definition"),
        wrappers=_names("export_statement"),
        open=_names("expression_statement parenthesized_expression"),
    ),
    Language(
        name="TypeScript",
        module="tree_sitter_typescript",
        function="language_typescript",
        suffixes=_names(".ts .mts .cts"),
        functions=_names(_SCRIPT_FUNCTIONS + _TYPED_FUNCTIONS),
        classes=_names(
            "class_declaration abstract_class_declaration internal_module module"
        ),
        values=_names(_SCRIPT_VALUES + _TYPED_VALUES),
        wrappers=_names("export_statement ambient_declaration"),
        open=_names("expression_statement statement_block"),
        leading=_names("comment decorator"),
    ),
    Language(
        name="TSX",
        module="tree_sitter_typescript",
        function="language_tsx",
        suffixes=_names(".tsx"),
        functions=_names(_SCRIPT_FUNCTIONS + _TYPED_FUNCTIONS),
        classes=_names(
            "class_declaration abstract_class_declaration internal_module module"
        ),
        values=_names(_SCRIPT_VALUES + _TYPED_VALUES),
        wrappers=_names("export_statement ambient_declaration"),
        open=_names("expression_statement statement_block"),
        leading=_names("comment decorator"),
    ),
    Language(
        name="Go",
        module="tree_sitter_go",
        suffixes=_names(".go"),
        functions=_names("function_declaration method_declaration"),
        values=_names("type_spec type_alias const_spec var_spec"),
        wrappers=_names("type_declaration const_declaration var_declaration"),
        open=_names("var_spec_list"),
    ),
    Language(
        name="Rust",
        module="tree_sitter_rust",
        suffixes=_names(".rs"),
        functions=_names("function_item function_signature_item"),
        classes=_names("impl_item trait_item mod_item"),
        values=_names(
            "struct_item enum_item union_item type_item const_item static_item"
            " associated_type macro_definition mod_item"
        ),
        open=_names("foreign_mod_item declaration_list"),
        leading=_names("line_comment block_comment attribute_item"),
    ),
    Language(
        name="Java",
        module="tree_sitter_java",
        suffixes=_names(".java"),
        functions=_names(
            "method_declaration constructor_declaration compact_constructor_declaration"
        ),
        classes=_names(
            "class_declaration interface_declaration enum_declaration"
            " record_declaration annotation_type_declaration enum_constant"
        ),
        values=_names(
            "field_declaration constant_declaration enum_constant"
            " annotation_type_element_declaration"
        ),
        open=_names("enum_body_declarations"),
        leading=_names("line_comment block_comment"),
    ),
    _C,
    _CPP,
    replace(
        _C,
        name="C or C++",
        suffixes=_names(".h"),
        otherwise=_CPP,
        telling=re.compile(
            rb"^\s*(?:(?:inline )?namespace\b|class\s+\w|template\s*<|using\s"
            rb"|(?:public|protected|private)\s*:)",
            re.MULTILINE,
        ),
    ),
)

_BY_SUFFIX = {suffix: each for each in LANGUAGES for suffix in each.suffixes}
