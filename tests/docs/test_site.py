"""The pages hang together: links lead somewhere, and the site knows every page."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.docs.blocks import PAGES, ROOT

SITE = ROOT / "mkdocs.yml"


class _Loader(yaml.SafeLoader):
    """Reads the site's settings; its tags are mkdocs' own."""


_Loader.add_multi_constructor("tag:yaml.org,2002:python", lambda *_: None)


def _pages(nav: Any) -> list[str]:
    if isinstance(nav, str):
        return [nav]

    entries = nav.values() if isinstance(nav, dict) else nav
    return [page for entry in entries for page in _pages(entry)]


def _anchors(page: Path) -> set[str]:
    """Return the anchors of a page's headings, as GitHub and the site make them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), re.MULTILINE)
    plain = [re.sub(r"[^\w\s-]", "", one.lower()).strip() for one in headings]
    return {re.sub(r"[\s]+", "-", one) for one in plain}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
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
    nav = _pages(yaml.load(SITE.read_text("utf-8"), _Loader)["nav"])  # noqa: S506 - safe
    docs = ROOT / "docs"
    there = {str(page.relative_to(docs)) for page in PAGES if docs in page.parents}

    assert sorted(nav) == sorted(there)


def test_the_readme_leads_to_every_page_of_its_own_kind() -> None:
    readme = (ROOT / "README.md").read_text("utf-8")
    linked = set(re.findall(r"\]\(docs/([\w-]+\.md)\)", readme))
    there = {page.name for page in (ROOT / "docs").glob("*.md")}

    assert there - linked <= {"index.md"}
