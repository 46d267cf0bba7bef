"""The code of the documentation runs, in the order in which it stands, and its links lead somewhere."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from runs.showing.listing import registries

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.DOTALL | re.MULTILINE)
OPTIONAL = re.compile(r"^(?:from|import) (avalanche|learn2learn)", re.MULTILINE)
FILE = re.compile(r"^# (\w+\.py)\n")


@pytest.fixture(autouse=True)
def what_is_registered_stays_as_it_was() -> Iterator[None]:
    before = {kind: dict(registry.rows) for kind, registry in registries().items()}
    yield
    for kind, registry in registries().items():
        registry.rows.clear()
        registry.rows.update(before[kind])


@pytest.mark.parametrize("page", [page for page in PAGES if BLOCK.search(page.read_text())], ids=lambda page: page.stem)
def test_the_code_of_a_page_runs(page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    module = ModuleType(f"page_{page.stem.replace('-', '_')}")
    monkeypatch.setitem(sys.modules, module.__name__, module)
    text = page.read_text(encoding="utf-8")
    for package in OPTIONAL.findall(text):
        pytest.importorskip(package, reason=f"the page is about {package}, which is not installed")
    for code in BLOCK.findall(text):
        named = FILE.match(code)
        if named:  # a file of the reader's own, which later blocks and commands use
            (tmp_path / named[1]).write_text(code, encoding="utf-8")
        exec(compile(code, str(page), "exec", dont_inherit=True), vars(module))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_to_files_that_exist(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)", page.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (page.parent / target).exists(), f"{page.name}: {target}"
