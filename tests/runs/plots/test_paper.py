"""Figures for papers: as wide as a column, without title or caption, all text of 8 points; those of the screen stay as they are."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from matplotlib.text import Text

from runs import plots
from runs.plots import style
from runs.recording import directories
from runs.recording.groups import collect
from tests.runs.command import call
from tests.runs.plots.synthetic import make_run
from tests.runs.plots.test_plots_disposal import probed


@pytest.mark.parametrize(("columns", "pixels"), [(1, 650), (2, 1350)])
def test_a_figure_is_as_wide_as_its_columns_and_lies_in_a_folder_of_its_own(columns: int, pixels: int, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    screen = [path.read_bytes() for path in plots.draw(run)]
    drawn = plots.draw(run, columns=columns)
    assert [path.parent.name for path in drawn] == ["paper"] * 2
    assert {struct.unpack(">I", path.read_bytes()[16:20])[0] for path in drawn} == {pixels}
    assert [path.read_bytes() for path in plots.draw(run)] == screen


def test_all_text_is_of_eight_points_and_numbers_that_do_not_fit_into_cells_are_left_out(tmp_path: Path) -> None:
    few, many = (directories.read(make_run(tmp_path / f"{count}", experiences=count)) for count in (5, 12))
    for run, numbers in ((few, True), (many, False)):
        with style.paper():
            for name in ("accuracy_matrix", "forgetting_curves"):
                figure = plots.PLOTS[name](run)
                assert figure is not None
                style.save(figure, tmp_path / "figure.png")
                texts = [text for text in figure.findobj(Text) if text.get_text() and text.get_visible()]
                assert {text.get_fontsize() for text in texts if text.get_gid() != style.CELL} == {8.0}
                assert not any("seed" in text.get_text() for text in texts)
                if name == "accuracy_matrix":
                    assert any(text.get_gid() == style.CELL for text in texts) == numbers


def test_panels_stand_below_each_other_in_one_column(tmp_path: Path) -> None:
    for seed in range(2):
        extra = probed()
        make_run(tmp_path / f"gc-{seed}", strategy="gc", seed=seed, experiences=3, scenario="transfer-split-fashion", extra=extra)
        make_run(tmp_path / "curves" / f"{seed}", seed=seed)
    probe = directories.read(tmp_path / "gc-0")
    for columns, same in ((1, "x0"), (2, "y0")):
        with style.paper(columns):
            for figure in (plots.compare(collect([tmp_path / "curves"])), plots.PLOTS["pl_by_steps"](probe)):
                assert figure is not None
                first, second = (axes.get_subplotspec().get_position(figure) for axes in figure.axes[:2])
                assert getattr(first, same) == pytest.approx(getattr(second, same))


def test_a_folder_of_seeds_is_drawn_run_by_run_and_together(tmp_path: Path) -> None:
    for seed in range(2):
        make_run(tmp_path / "group" / f"seed-{seed}", seed=seed)
    code, out, error = call("plot", tmp_path / "group", "--style", "paper", "--format", "pdf")
    assert code == 0, error
    assert len(out.split()) == 6 and all(Path(path).read_bytes().startswith(b"%PDF") for path in out.split())
    assert str(tmp_path / "group" / "paper" / "forgetting_curves.pdf") in out
    code, _, error = call("plot", tmp_path / "group", "--style", "papper")
    assert code == 2 and "did you mean paper?" in error


def test_nothing_is_said_of_a_picture_that_was_not_drawn(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / "accuracy_matrix.csv").unlink()
    code, out, error = call("plot", run)
    assert code == 0 and "has nothing to draw" in out, error
    code, out, error = call("compare", run, "--out", tmp_path / "compared")
    assert code == 0 and "figure" not in out and "table" in out, error


def test_a_comparison_is_drawn_for_a_paper_too(tmp_path: Path) -> None:
    for strategy in ("naive", "ewc"):
        for seed in range(2):
            make_run(tmp_path / "runs" / f"{strategy}-{seed}", seed=seed, strategy=strategy)
    code, out, error = call("compare", tmp_path / "runs", "--out", tmp_path / "made", "--style", "paper", "--columns", "2")
    assert (code, error) == (0, "")
    found = sorted(path.relative_to(tmp_path / "made") for path in (tmp_path / "made").rglob("*.p??"))
    assert found and all(path.parent == Path("paper") and path.suffix == ".pdf" for path in found) and str(found[0]) in out
    assert (tmp_path / "made" / "table.md").exists()
    code, out, error = call("compare", tmp_path / "runs", "--out", tmp_path / "no", "--style", "papr")
    assert code == 2 and "did you mean paper?" in error and not (tmp_path / "no").exists()
