"""The pages hang together: links lead somewhere, and the site knows every page."""

import pkgutil
import re
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from tests.docs.blocks import PAGES, ROOT, name_of

SITE = ROOT / "mkdocs.yml"


def _pages(nav: Any) -> list[str]:
    match nav:
        case str():
            return [nav]
        case dict():
            entries: list[Any] = [*cast("dict[str, Any]", nav).values()]
        case _:
            entries = nav

    return [page for entry in entries for page in _pages(entry)]


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", one.lower()).strip() for one in headings]
    return {re.sub(r"[\s]+", "-", one) for one in plain}


@pytest.mark.parametrize("page", PAGES, ids=name_of)
def test_every_link_leads_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
        if target.startswith("https://"):
            continue

        path, _, anchor = target.partition("#")
        file = (page.parent / path).resolve() if path else page
        assert file.exists(), target
        if page.name != "README.md":
            assert ROOT / "docs" in file.parents, f"{target} is not on the site"
        if anchor and file.suffix == ".md":
            assert anchor in _anchors(file), target


def test_every_page_is_in_the_navigation_once() -> None:
    nav = _pages(yaml.safe_load(SITE.read_text("utf-8"))["nav"])
    docs = ROOT / "docs"
    there = {str(page.relative_to(docs)) for page in PAGES if docs in page.parents}

    assert sorted(nav) == sorted(there)


def test_the_readme_leads_to_every_page_of_its_own_kind() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", readme))
    there = {page.name for page in (ROOT / "docs").glob("*.md")}

    assert there - linked <= {"index.md"}


def test_what_the_reference_describes_is_there() -> None:
    for page in (ROOT / "docs" / "reference").glob("*.md"):
        for name in re.findall(r"^::: (\S+)$", page.read_text("utf-8"), re.MULTILINE):
            assert pkgutil.resolve_name(name) is not None
