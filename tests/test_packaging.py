"""What every user relies on: names, layout, imports, the README and the scenarios."""

import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

import mma_runtime
from mma_runtime.scenario.load import load

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
HEAVY = ("openai", "anthropic", "google.genai", "trio", "rich", "genai_prices", "mcp")
# What a first run has no use for, of others and of our own.
UNUSED = (
    *HEAVY,
    "click",
    "dotenv",
    "httpx2",
    "opentelemetry",
    "platformdirs",
    "structlog",
    "tree_sitter_python",
    "yaml",
    "mma_providers.openai",
    "mma_runtime.cli",
    "mma_runtime.recording.exporting",
    "mma_runtime.logs",
    "mma_runtime.scenario.load",
    "mma_runtime.telemetry",
    "mma_runtime.testing",
    "mma_runtime.tools.code",
    "mma_runtime.tools.fetch",
    "mma_runtime.tools.files",
    "mma_runtime.tools.mcp",
)
PACKAGES = (
    ROOT / "mma_runtime",
    ROOT / "agents" / "mma_agents",
    ROOT / "providers" / "mma_providers",
)
SCENARIOS = [
    path
    for path in sorted((ROOT / "scenarios").glob("*.yaml"))
    if not path.name.endswith(".script.yaml")
]


def fresh(code: str) -> str:
    """Run *code* in a new interpreter and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True
    )
    return done.stdout.strip()


def test_every_public_name_is_there_and_no_other() -> None:
    for name in mma_runtime.__all__:
        assert getattr(mma_runtime, name) is not None

    assert set(mma_runtime.__all__) <= set(dir(mma_runtime))
    declared = (ROOT / "mma_runtime" / "__init__.py").read_text()
    block = declared.split("if TYPE_CHECKING:")[1].split("__all__")[0]
    typed = set(re.findall(r"\b[A-Za-z_]+\b(?=[,\n])", block.replace("import ", "\n")))
    assert set(mma_runtime.__all__) <= typed


def test_a_name_that_does_not_exist_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="Runtim"):
        getattr(mma_runtime, "Runtim")  # noqa: B009 - type checkers refuse the name


@pytest.mark.parametrize(
    "statement", ["import mma_runtime", "from mma_runtime import Runtime"]
)
def test_importing_loads_no_sdk_and_nothing_heavy(statement: str) -> None:
    code = f"{statement}\nimport sys\nprint([m for m in {HEAVY} if m in sys.modules])"

    assert fresh(code) == "[]"


def test_a_first_run_loads_nothing_that_it_does_not_use() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "tests" / "first_run.py")],
        check=True,
        capture_output=True,
        text=True,
    )
    _, *modules = done.stdout.split()

    assert "mma_runtime.supervisor" in modules
    assert sorted(set(UNUSED) & set(modules)) == []


def test_every_module_can_be_imported_first() -> None:
    modules = [
        ".".join(path.relative_to(package.parent).with_suffix("").parts)
        for package in PACKAGES
        for path in sorted(package.rglob("*.py"))
        if path.name != "__main__.py"
    ]
    code = (
        "import sys\nfrom importlib import import_module\n"
        "known = set(sys.modules)\n"
        "for name in sys.argv[1:]:\n"
        "    import_module(name)\n"
        "    ours = [m for m in sys.modules if m.startswith('mma_')]\n"
        "    for module in ours: del sys.modules[module]\n"
        "print('all')\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *(m.removesuffix(".__init__") for m in modules)],
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout.strip() == "all", done.stderr


def test_the_folders_of_agents_and_providers_are_no_packages() -> None:
    assert not (ROOT / "agents" / "__init__.py").exists()
    assert not (ROOT / "providers" / "__init__.py").exists()
    assert all((package / "py.typed").exists() for package in PACKAGES)


def test_no_lock_file_is_kept() -> None:
    done = subprocess.run(
        ["git", "ls-files", "*.lock", "*lock.json"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )

    assert done.stdout == ""


def test_only_providers_import_an_sdk_and_nobody_a_backend() -> None:
    sdks = re.compile(r"^\s*(?:import|from) (openai|anthropic|google)\b", re.MULTILINE)
    for path in (ROOT / "mma_runtime").rglob("*.py"):
        assert sdks.findall(path.read_text()) == [], path


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.name)
def test_every_shipped_scenario_loads_and_names_its_schema(path: Path) -> None:
    assert load(path, environ={}).name
    first = path.read_text().splitlines()[0]
    assert first == "# yaml-language-server: $schema=../docs/scenario.schema.json"


def test_the_readme_opens_with_the_two_commands() -> None:
    commands = re.findall(r"^\$ (.+)$", README, re.MULTILINE)

    assert commands[:2] == [
        "pip install uv && uv run mma run scenarios/quickstart.yaml",
        "pip install uv && uv run pytest",
    ]
    assert "uv run pytest" in (ROOT / ".ci" / "run").read_text()


def test_every_link_of_the_readme_leads_somewhere() -> None:
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert target.startswith("https://") or (ROOT / target).exists(), target


def test_the_documentation_imports_only_names_that_hold() -> None:
    docs = ROOT / "docs"
    page = (docs / "embedding.md").read_text().split("## Names that hold")[1]
    homes = {"mma_runtime"} | {
        f"mma_runtime.{name}"
        for name in re.findall(r"`([a-z_.]+)`", page.split("Other modules may move")[0])
        if not name.startswith("mma_")
    }
    texts = [README, *(path.read_text() for path in sorted(docs.rglob("*.md")))]
    texts += [path.read_text() for path in sorted(docs.glob("examples/*.py"))]

    pattern = r"^ *(?:from|import) (mma_runtime[\w.]*)(?: import (\w+)$)?"
    used = {
        found for text in texts for found in re.findall(pattern, text, re.MULTILINE)
    }

    assert {module for module, _ in used} - homes <= {"mma_runtime.llm"}
    assert {f"{module}.{name}" for module, name in used if module.endswith(".llm")} <= (
        homes
    )
    for home in homes:
        import_module(home)


def test_every_module_says_what_it_holds() -> None:
    for package in PACKAGES:
        for path in package.rglob("*.py"):
            if path.name == "__main__.py":
                continue

            name = ".".join(path.relative_to(package.parent).with_suffix("").parts)
            doc = import_module(name.removesuffix(".__init__")).__doc__ or ""
            assert len(doc) > 10, f"{name} has no docstring"
