"""The page of a report: it holds every group and number, needs nothing else, and escapes what users have written."""

from __future__ import annotations

import csv
import json
import shlex
from html.parser import HTMLParser
from pathlib import Path

import pytest

from runs import plots
from runs.recording.directories import find
from runs.recording.groups import collect
from runs.reporting.gathering import gather
from runs.reporting.words import opening
from runs.showing import compare
from tests.runs.command import call
from tests.runs.plots.synthetic import make_run
from tests.runs.plots.test_plots_disposal import probed

VOID = {"meta", "img", "input", "br", "hr"}
HOSTILE = "</script><img src=x onerror=alert(1)>&\"'"


class Page(HTMLParser):
    """Reads a page; tags must close what was opened last."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()
        assert not self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if data.strip():
            self.texts.append((self.open[-1] if self.open else "", data.strip()))

    def cells(self) -> list[str]:
        return [text for tag, text in self.texts if tag in ("td", "th")]


def study(folder: Path, seeds: int = 3) -> Path:
    for strategy, decay in (("naive", 0.5), ("ewc", 0.3), ("rescl", 0.1)):
        for seed in range(seeds):
            make_run(folder / strategy / f"seed-{seed}", strategy=strategy, seed=seed, decay=decay)
    return folder


def page_of(*arguments: str | Path, out: Path) -> tuple[Page, str]:
    code, _, error = call("report", *arguments, "-o", out)
    assert code == 0, error
    text = out.read_text(encoding="utf-8")
    return Page(text), text


def test_the_page_holds_every_group_and_number_and_needs_nothing_else(tmp_path: Path) -> None:
    folder = study(tmp_path / "runs")
    page, text = page_of(folder, out=tmp_path / "report.html")
    table = compare.table(collect([folder]))
    cells = page.cells()
    for row in table.rows:
        assert row.label in cells
        for column in table.columns:
            assert compare.cell(row, column, "{mean} ± {ci95}", "{}") in cells
    for run in find([folder]):
        assert str(run.directory) in cells
    assert "http:" not in text and "https:" not in text
    for tag, attributes in page.tags:
        assert tag not in ("link", "iframe", "object", "embed", "base")
        for name in ("src", "href"):
            assert (attributes.get(name) or "#").startswith(("#", "data:image/svg+xml;base64,"))
    best = [attributes for tag, attributes in page.tags if tag == "td" and "best" in (attributes.get("class") or "")]
    assert len(best) == sum(len(row.best) for row in table.rows) > 0
    assert text == page_of(folder, out=tmp_path / "report.html")[1]


def test_the_best_is_marked_only_where_seeds_tell_it_apart(tmp_path: Path) -> None:
    for strategy in ("naive", "ewc"):
        for seed in range(3):
            make_run(tmp_path / "runs" / strategy / str(seed), strategy=strategy, seed=seed if strategy == "ewc" else 2 - seed)
            if strategy == "naive":  # the same accuracies in another order of seeds
                summary = tmp_path / "runs" / strategy / str(seed) / "summary.json"
                summary.write_text(json.dumps({**json.loads(summary.read_text()), "seed": seed}))
    page, _ = page_of(tmp_path / "runs", out=tmp_path / "report.html")
    assert not any("best" in (attributes.get("class") or "") for _, attributes in page.tags)
    assert "seeds cannot tell it from" in opening(gather([tmp_path / "runs"]).parts[0])


def test_the_opening_says_which_how_sure_and_at_what_cost(tmp_path: Path) -> None:
    told = opening(gather([study(tmp_path / "runs")]).parts[0])
    assert "rescl has the highest average accuracy" in told
    assert "tell it apart from all others" in told
    assert "Cost: a run took 61.0 s, at most 500 MiB" in told
    assert "how sure this is cannot be told" in opening(gather([study(tmp_path / "one", seeds=1)]).parts[0])


def test_without_spread_or_with_one_seed_the_opening_says_what_it_can(tmp_path: Path) -> None:
    for strategy in ("naive", "ewc"):
        for seed in (0, 1):
            make_run(tmp_path / "same" / strategy / str(seed), strategy=strategy, seed=seed)
    assert "seeds cannot tell it from naive (corrected p not defined)" in opening(gather([tmp_path / "same"]).parts[0])
    episodes = {"few_shot_accuracy": {"mean": 0.5, "ci95": 0.02}, "experiences": ["classes"], "cpu_seconds": 7.0}
    make_run(tmp_path / "few", strategy="maml", extra=episodes)
    told = opening(gather([tmp_path / "few"]).parts[0])
    assert "50.00 ± 2.00 % (95 % interval over test episodes, one seed)" in told and "together 7.0 s" in told


def test_the_command_beside_a_figure_makes_it_again_and_names_no_other_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    study(tmp_path / "my runs")
    make_run(tmp_path / "my runs" / "other", scenario="permuted-mnist")
    make_run(tmp_path / "my runs" / "naive" / "other", scenario="permuted-mnist", strategy="ewc")
    monkeypatch.chdir(tmp_path)
    page, _ = page_of("my runs", out=tmp_path / "report.html")
    commands = list(dict.fromkeys(text for tag, text in page.texts if tag == "code" and text.startswith("simulate compare")))
    assert len(commands) == 2
    for command in commands:
        code, _, error = call(*shlex.split(command)[1:], "--out", "again")
        assert code == 0, error
        assert (tmp_path / "again" / "forgetting_curves.png").exists()
    assert "simulate compare 'my runs/ewc' 'my runs/naive/seed-0'" in commands[1 if "rescl" in commands[1] else 0]


def test_each_group_of_several_seeds_has_its_mean_matrix_and_one_seed_its_own(tmp_path: Path) -> None:
    page, _ = page_of(study(tmp_path / "runs", seeds=2), out=tmp_path / "report.html")
    shown = [attributes.get("alt") for tag, attributes in page.tags if tag == "img"]
    assert shown.count("mean accuracy matrix") == 3 and "accuracy matrix" not in shown
    page, _ = page_of(study(tmp_path / "one", seeds=1), out=tmp_path / "one.html")
    shown = [attributes.get("alt") for tag, attributes in page.tags if tag == "img"]
    assert shown.count("accuracy matrix") == 3 and "mean accuracy matrix" not in shown
    assert call("compare", tmp_path / "runs", "--out", tmp_path / "again")[0] == 0
    assert {path.name for path in (tmp_path / "again").glob("mean_*.png")} == {
        f"mean_accuracy_matrix_{name}.png" for name in ("naive", "ewc", "rescl")
    }


def test_what_users_have_written_is_escaped(tmp_path: Path) -> None:
    for value in (HOSTILE, "mild"):
        make_run(tmp_path / value.replace("/", "|"), options={"train.note": value})
    page, text = page_of(*(path for path in tmp_path.iterdir()), out=tmp_path / "report.html")
    assert "<img src=x" not in text
    assert [tag for tag, _ in page.tags].count("script") == 1
    assert any("onerror" in cell for cell in page.cells())


def test_runs_of_other_scenarios_stand_apart_and_unfinished_ones_are_named(tmp_path: Path) -> None:
    study(tmp_path / "a", seeds=1)
    make_run(tmp_path / "b", scenario="permuted-mnist")
    (tmp_path / "begun").mkdir()
    (tmp_path / "begun" / "config.yaml").write_text("seed: 1\n")
    page, _ = page_of(tmp_path / "a", tmp_path / "b", tmp_path / "begun", out=tmp_path / "report.html")
    assert sum(tag == "section" for tag, _ in page.tags) == 2
    assert ("p", f"Left out as unfinished: {tmp_path / 'begun'}.") in page.texts


def test_pl_accuracies_have_tables_of_their_own(tmp_path: Path) -> None:
    make_run(tmp_path / "run", extra=probed())
    page, _ = page_of(tmp_path / "run", out=tmp_path / "report.html")
    titles = [text for tag, text in page.texts if tag == "h3"]
    assert "PL accuracy by piggybacker" in titles and "PL accuracy by size of the piggyback set" in titles


def test_tables_alone_are_written_in_the_formats_of_comparisons(tmp_path: Path) -> None:
    study(tmp_path / "runs")
    make_run(tmp_path / "runs" / "other", scenario="permuted-mnist")
    out = tmp_path / "table"
    for form, word in (("markdown", "| rescl | 3 |"), ("latex", "\\toprule"), ("json", '"best_in"')):
        assert call("report", tmp_path / "runs", "--format", form, "-o", out)[0] == 0
        assert word in out.read_text()
    assert call("report", tmp_path / "runs", "--format", "csv", "-o", out)[0] == 0
    rows = list(csv.DictReader(out.open(newline="")))
    assert [row["strategy"] for row in rows if row["scenario"].startswith("split-cifar10")] == ["ewc", "naive", "rescl"]
    known = compare.table(collect([tmp_path / "runs" / "rescl"])).rows[0].values["average_accuracy"].mean
    assert [float(row["average_accuracy_mean"]) for row in rows if row["strategy"] == "rescl"] == [known]


def test_recorded_runs_are_reported_with_every_number_of_the_results(tmp_path: Path) -> None:
    page, text = page_of("--records", out=tmp_path / "report.html")
    shown = {text for _, text in page.texts}
    results = (Path(__file__).parents[3] / "RESULTS.md").read_text(encoding="utf-8")
    headings = [line.lstrip("# ") for line in results.splitlines() if line.startswith("### ")]
    assert headings and set(headings) <= shown
    lines = [line for line in results.splitlines() if line.startswith("|") and not line.startswith("|--")]
    assert sum(tag == "tr" for tag, _ in page.tags) == len(lines)
    assert all((attributes.get("href") or "#").startswith("#") for _, attributes in page.tags)
    assert call("report", "--records", "--format", "markdown", "-o", tmp_path / "r.md")[0] == 0
    assert (tmp_path / "r.md").read_text(encoding="utf-8") == results


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "nothing to report"),
        (["nowhere"], "there is no directory nowhere"),
        (["empty"], "holds no runs"),
        (["begun"], "is finished; finish one with: simulate resume begun"),
        (["run", "--format", "pdf"], "--format pdf does not exist"),
        (["run", "-o", "empty"], "empty is a directory"),
        (["--records", "--format", "csv"], "html or markdown"),
        (["bad"], "cannot be read"),
    ],
)
def test_a_mistake_is_told_in_one_line(arguments: list[str], told: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    make_run(Path("run"))
    for name in ("empty", "begun", "bad"):
        Path(name).mkdir()
    for name in ("begun", "bad"):
        (Path(name) / "config.yaml").write_text("seed: 1\n")
    Path("bad/summary.json").write_text("{")
    code, _, error = call("report", *arguments)
    assert code == 2
    assert error.startswith("error: ") and error.count("\n") == 1 and told in error
    assert not list(tmp_path.glob("report.*"))


def test_every_figure_of_a_run_but_its_losses_can_stand_in_a_report() -> None:
    from runs.reporting.figures import SINGLE

    assert {*SINGLE, "training"} == set(plots.PLOTS)
