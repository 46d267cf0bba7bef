"""Figures of disposal, from summaries made up on the spot."""

from __future__ import annotations

from runs import plots
from runs.plots.disposal import pl_by_size, pl_by_steps, trade_off
from runs.recording.directories import read
from runs.recording.groups import collect
from runs.showing.compare import table
from tests.runs.plots.synthetic import make_run


def probed(mean: float = 0.8) -> dict:
    one = {"mean": mean, "sd": 0.01, "rate": 0.1, "floor": 0.7, "ceiling": 0.9, "leakage": (mean - 0.7) / 0.2}
    one |= {"curve": [0.5, mean], "floor_curve": [0.4, 0.7], "ceiling_curve": [0.6, 0.9]}
    told = {"looks": [10, 200], "size": "100", "best": mean, "best_floor": 0.7, "best_ceiling": 0.9, "best_leakage": one["leakage"]}
    by = {"by_size": {"5": one, "100": one}, "by_piggybacker": {"fresh-head": one, "linear-probe": one}}
    return {"pl_accuracy": {**told, **by}, "unlearning": {"target_accuracy": 0.9, "old_head_accuracy": 0.2}}


def test_a_probed_run_has_its_two_figures_and_another_run_none(tmp_path):
    run = read(make_run(tmp_path / "run", strategy="gc", experiences=3, scenario="transfer-split-fashion", extra=probed()))
    by_size, by_steps = pl_by_size(run), pl_by_steps(run)
    assert by_size is not None and by_steps is not None
    axes = by_size.subfigs[1].axes
    assert {0.8, 0.7, 0.9} <= {line.get_ydata()[-1] for line in axes[0].get_lines()}
    assert [text.get_text() for text in axes[1].get_yticklabels()] == ["fresh-head", "linear-probe"]
    plain = read(make_run(tmp_path / "plain"))
    assert pl_by_size(plain) is None and pl_by_steps(plain) is None


def test_the_trade_off_shows_every_method_with_its_label_and_leaves_runs_without_disposal_to_the_curves(tmp_path):
    for strategy, mean in (("none", 0.9), ("gc", 0.75)):
        for seed in range(2):
            folder = tmp_path / "runs" / f"{strategy}-{seed}"
            make_run(folder, strategy=strategy, seed=seed, experiences=3, scenario="transfer-split-fashion", extra=probed(mean))
    groups = collect([tmp_path / "runs"])
    figure = trade_off(groups)
    assert figure is not None
    assert {text.get_text() for text in figure.subfigs[1].axes[0].get_legend().get_texts()} == {"none", "gc (reconstruction)"}
    assert [path.name for path in plots.draw_group(groups, tmp_path / "out")] == ["trade_off.png"]
    headings = [column.heading for column in table(groups).columns]
    assert "target accuracy %" in headings and "best piggybacker %" in headings and "forgetting %" not in headings
    make_run(tmp_path / "plain")
    assert trade_off(collect([tmp_path / "plain"])) is None
