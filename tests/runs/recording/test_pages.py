"""Every page of a method has its parts, and its numbers and figure are what the records give."""

from __future__ import annotations

import re
import xml.etree.ElementTree as tree
from pathlib import Path

import pytest

from runs.recording import pages, recipe
from tests.runs.recording.made_up import made
from tests.runs.recording.test_recipe import EXAMPLE

METHODS = sorted((pages.DOCS / "methods").glob("*.md"))
WHOLE = ("Idea", "Equation", "Options", "What to expect", "Numbers")
MOST_BYTES = 60_000


@pytest.mark.parametrize("file", METHODS, ids=lambda file: file.stem)
def test_a_page_of_a_method_has_its_parts_and_a_figure_of_ours(file: Path) -> None:
    content = file.read_text(encoding="utf-8")
    assert set(WHOLE) <= set(re.findall(r"^## (.*)$", content, re.MULTILINE))
    assert f"methods/{file.name}" in pages.PAGES
    assert f"](../{pages.figure_of(file.name)})" in content
    assert re.search(r"^    simulate .*--strategy", content, re.MULTILINE)


@pytest.mark.parametrize("page", pages.PAGES)
def test_numbers_of_a_page_are_what_the_records_give(page: str) -> None:
    content = (pages.DOCS / page).read_text(encoding="utf-8")
    part = content.split(pages.BEGIN)[1].split(pages.END)[0]
    assert part.strip() == pages.written(page, pages.gathered(page)).strip(), "write it anew: python -m runs.recording.pages"


@pytest.mark.parametrize("figure", sorted((pages.DOCS / "figures").iterdir()), ids=lambda figure: figure.stem)
def test_every_figure_is_small_belongs_to_a_page_and_shows_its_rows(figure: Path) -> None:
    assert figure.stat().st_size < MOST_BYTES
    (page,) = [page for page in pages.PAGES if pages.figure_of(page) == f"figures/{figure.name}"]
    words = {element.text for element in tree.parse(figure).iter() if element.text}
    for _, rows in pages.panels(pages.gathered(page)):
        assert {row.shown for row in rows} <= words


def test_pages_name_recipes_and_rows_that_there_are() -> None:
    for page, parts in pages.PAGES.items():
        for part in parts:
            assert part.recipe in recipe.names(), page
            assert pages.shown(part), f"{page} shows no row of {part.recipe}"


def test_a_page_is_written_and_drawn_when_its_records_change_and_at_no_other_time(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PAGES", {"methods/one.md": (pages.Part("example", "one"),)})
    monkeypatch.setattr(recipe, "read", lambda name: EXAMPLE)
    known = [made("one", 3, 0.55)]
    monkeypatch.setattr(pages.records, "read", lambda name, folder=None: known)
    page, figure = tmp_path / "methods" / "one.md", tmp_path / "figures" / "one.svg"
    page.parent.mkdir()
    page.write_text(f"# One\n\n{pages.BEGIN}\n{pages.END}\n\nmore\n", encoding="utf-8")
    assert pages.refresh(tmp_path) == [figure]
    assert "| one | average_accuracy | 55.00 | 1 of 2 | 50.00 (table 1) |" in page.read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").endswith(f"{pages.END}\n\nmore\n")
    assert pages.refresh(tmp_path) == []
    known.append(made("one", 4, 0.61, line=2))
    assert pages.refresh(tmp_path) == [figure]
    figure.unlink()
    assert pages.refresh(tmp_path) == [figure]
    known.clear()
    assert pages.refresh(tmp_path) == [] and "no record yet" in page.read_text(encoding="utf-8")
