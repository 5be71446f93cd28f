"""Where the blocks of the documentation run: a folder with the scenarios."""

import shutil
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("docs")
    ignored = shutil.ignore_patterns("__pycache__", "conftest.py")
    shutil.copytree(ROOT / "scenarios", folder / "scenarios", ignore=ignored)
    return folder
