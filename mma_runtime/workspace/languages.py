"""The programming languages that views can read, each told by its grammar's words.

A grammar is loaded when the first file of its language is read.
"""

from dataclasses import dataclass
from functools import cache
from importlib import import_module
from pathlib import PurePosixPath

import tree_sitter


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """One language: where its grammar is, and which of its nodes mean what.

    *functions* have a body that can be hidden. *classes* hold members. *values* are
    shown as they stand: types, fields, constants. *wrappers* stand around a
    definition and belong to it (decorators, `export`, `template`). Through *open*
    nodes one looks as if they were not there (`#ifdef`, `if TYPE_CHECKING`). *leading*
    nodes stand before a definition and belong to it, comments too.
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

    @property
    def docs_inside(self) -> bool:
        """Whether a definition's documentation is the first thing in its body."""
        return self.name == "Python"


def language_of(path: str) -> Language | None:
    """Return the language of a file by its name; `None`: views cannot read it."""
    return _BY_SUFFIX.get(PurePosixPath(path).suffix.lower())


def parse(language: Language, source: bytes) -> tree_sitter.Tree:
    """Parse *source*; what is wrong in it becomes nodes, never an error."""
    return tree_sitter.Parser(_grammar(language)).parse(source)


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
_SCRIPT_VALUES = "lexical_declaration variable_declaration"
_TYPED_FUNCTIONS = " function_signature method_signature abstract_method_signature"
_TYPED_VALUES = (
    " public_field_definition interface_declaration type_alias_declaration"
    " enum_declaration"
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
            " finally_clause with_statement block expression_statement"
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
        open=_names("expression_statement"),
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
        open=_names("expression_statement"),
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
        open=_names("expression_statement"),
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
            " associated_type macro_definition"
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
            " record_declaration annotation_type_declaration"
        ),
        values=_names(
            "field_declaration constant_declaration enum_constant"
            " annotation_type_element_declaration"
        ),
        open=_names("enum_body_declarations"),
        leading=_names("line_comment block_comment"),
    ),
    Language(
        name="C",
        module="tree_sitter_c",
        suffixes=_names(".c .h"),
        functions=_names("function_definition"),
        values=_names(_C_VALUES),
        open=_names(_C_OPEN),
    ),
    Language(
        name="C++",
        module="tree_sitter_cpp",
        suffixes=_names(".cc .cpp .cxx .c++ .hh .hpp .hxx .h++ .ipp .tpp"),
        functions=_names("function_definition"),
        classes=_names("class_specifier struct_specifier namespace_definition"),
        values=_names(
            _C_VALUES.replace("struct_specifier ", "")
            + " alias_declaration concept_definition"
        ),
        wrappers=_names("template_declaration"),
        open=_names(_C_OPEN),
    ),
)

_BY_SUFFIX = {suffix: each for each in LANGUAGES for suffix in each.suffixes}
