import csv
import io
import json
import re
import subprocess
import sys
import warnings

import pytest
from rich.console import Console

from metrics.statistics import over_seeds
from runs.recording import directories, groups
from runs.showing import compare, formats
from scenarios.errors import UserError
from tests.runs.plots.synthetic import make_run


@pytest.fixture
def seeds(tmp_path):
    """Two strategies, three seeds each, one folder a strategy."""
    for strategy, decay in (("naive", 0.5), ("rescl", 0.1)):
        for seed in range(3):
            make_run(tmp_path / strategy / f"seed{seed}", strategy=strategy, seed=seed, decay=decay)
    return tmp_path


def test_importing_it_loads_neither_torch_nor_matplotlib():
    code = "import sys, runs.showing.compare; sys.exit('torch' in sys.modules or 'matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_seeds_of_one_experiment_form_a_group_in_the_order_named(seeds):
    found = compare.collect([seeds / "rescl", seeds / "naive"])
    assert [(group.label, [run.seed for run in group.runs]) for group in found] == [("rescl", [0, 1, 2]), ("naive", [0, 1, 2])]


def test_a_folder_stands_for_all_runs_inside_and_each_run_counts_once(seeds):
    named = compare.collect([seeds, seeds / "naive", seeds / "naive" / "seed1"])
    assert [(group.label, len(group.runs)) for group in named] == [("naive", 3), ("rescl", 3)]


def test_the_table_summarises_what_the_summaries_hold(seeds):
    table = compare.table(compare.collect([seeds]))
    values = [json.loads((seeds / "rescl" / f"seed{seed}" / "summary.json").read_text()) for seed in range(3)]
    assert table.rows[1].values["average_forgetting"] == over_seeds([value["average_forgetting"] for value in values])
    assert table.rows[1].values["wall_seconds"].mean == 61
    assert table.title == "split-cifar10 · setting task · generated data"
    assert table.notes[0] == "Mean ± 95 % interval over seeds (Student's t), and standard deviation."


def test_groups_of_one_strategy_are_labelled_by_the_options_that_differ(tmp_path):
    make_run(tmp_path / "a", strategy="ewc", options={"strategy.strength": 10.0, "train.epochs": 5})
    make_run(tmp_path / "b", strategy="ewc", options={"strategy.strength": 100.0, "train.epochs": 2})
    make_run(tmp_path / "c", strategy="naive", options={"train.epochs": 5})
    found = compare.collect([tmp_path])
    assert [group.label for group in found] == ["ewc (strength=10, epochs=5)", "ewc (strength=100, epochs=2)", "naive"]


def test_options_of_the_same_last_name_are_told_apart_by_their_path(tmp_path):
    make_run(tmp_path / "a", options={"network.width": 1, "strategy.width": 1})
    make_run(tmp_path / "b", options={"network.width": 2, "strategy.width": 2})
    assert compare.collect([tmp_path])[0].label == "naive (network.width=1, strategy.width=1)"


def test_a_method_that_could_not_be_read_in_full_says_so_in_every_table(tmp_path):
    for strength in (1, 2):
        make_run(tmp_path / f"xkfac{strength}", strategy="xkfac", options={"strategy.strength": strength})
    make_run(tmp_path / "tapl", strategy="tapl")
    found = compare.collect([tmp_path])
    labels = {"tapl (reference design)", "xkfac (reconstruction, strength=1)", "xkfac (reconstruction, strength=2)"}
    assert {group.label for group in found} == labels
    table = compare.table(found)
    attacked = make_run(tmp_path / "attacked", strategy="ewc", options={"attack.name": "task-poison"})
    clean = make_run(tmp_path / "clean", strategy="ewc")
    assert [group.label for group in compare.collect([attacked, clean])] == ["ewc (attack=task-poison (reconstruction))", "ewc"]
    assert all(label in formats.to_markdown(table) and label.split(",")[0] in formats.to_csv(table) for label in labels)


    assert all(label in formats.to_markdown(table) and label.split(",")[0] in formats.to_csv(table) for label in labels)


def test_unequal_training_of_different_strategies_is_said_in_a_note(tmp_path):
    make_run(tmp_path / "a", strategy="naive", options={"train.epochs": 1})
    make_run(tmp_path / "b", strategy="rescl", options={"train.epochs": 5}, seed=1)
    notes = compare.table(compare.collect([tmp_path])).notes
    assert notes == ("The groups ran with different seeds.", "train.epochs differs (naive: 1, rescl: 5).")


def test_where_data_lie_does_not_part_runs(tmp_path):
    make_run(tmp_path / "a", options={"data_root": "/here"})
    make_run(tmp_path / "b", options={"data_root": "/there"}, seed=1)
    assert len(compare.collect([tmp_path])) == 1


@pytest.mark.parametrize(
    ("difference", "word"),
    [
        ({"scenario": "split-mnist"}, "scenario"),
        ({"setting": "class"}, "setting"),
        ({"fingerprint": "beef"}, "data fingerprint"),
        ({"experiences": 4}, "number of experiences"),
    ],
)
def test_runs_that_met_different_things_are_not_compared_unless_asked(tmp_path, difference, word):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", **difference)
    with pytest.raises(UserError, match=f"cannot compare runs whose {word}.* differs.*name runs that share it") as error:
        compare.collect([tmp_path])
    assert "\n" not in str(error.value)
    labels = [group.label for group in compare.collect([tmp_path], mixed=True)]
    assert len(set(labels)) == 2 and all(label.startswith("naive (") for label in labels)


def test_a_repeated_run_counts_once_with_a_warning(tmp_path):
    make_run(tmp_path / "a")
    make_run(tmp_path / "b", extra={"wall_seconds": 7.0})
    (tmp_path / "a" / "summary.json").touch()
    with pytest.warns(UserWarning, match="repeats .* and is left out"):
        (group,) = compare.collect([tmp_path])
    assert len(group.runs) == 1


def test_unfinished_runs_in_a_folder_are_left_out_with_a_warning_and_refused_when_named(tmp_path):
    make_run(tmp_path / "done")
    make_run(tmp_path / "stopped", seed=1)
    (tmp_path / "stopped" / "summary.json").unlink()
    with pytest.warns(UserWarning, match="left out as unfinished: .*stopped"):
        (group,) = compare.collect([tmp_path])
    assert len(group.runs) == 1
    with pytest.raises(UserError, match="not finished; finish it with: simulate resume .*stopped"):
        compare.collect([tmp_path / "stopped"])
    (tmp_path / "done" / "summary.json").unlink()
    with pytest.raises(UserError, match="no run in .* is finished"):
        compare.collect([tmp_path])


def test_what_is_no_run_is_refused_in_one_line(tmp_path):
    for named, message in (([tmp_path / "no"], "there is no directory"), ([tmp_path], "not a run's directory"), ([], "nothing to compare")):
        with pytest.raises(UserError, match=message):
            compare.collect(named)


@pytest.mark.parametrize(
    ("name", "text"),
    [("summary.json", "{"), ("summary.json", "[]"), ("summary.json", "{}"), ("config.yaml", "a: [\n"), ("config.yaml", "1")],
)
def test_a_broken_run_is_refused_in_one_line(tmp_path, name, text):
    run = make_run(tmp_path / "broken")
    (run / name).write_text(text)
    with pytest.raises(UserError, match="cannot be read.*: repeat it") as error:
        compare.collect([run])
    assert "\n" not in str(error.value)


def test_a_number_that_only_some_strategies_have_is_absent_for_the_others(tmp_path):
    make_run(tmp_path / "a", strategy="naive")
    make_run(tmp_path / "b", strategy="maml", extra={"few_shot_accuracy": {"mean": 0.5, "ci95": 0.01}})
    table = compare.table(compare.collect([tmp_path]))
    assert [column.key for column in table.columns].count("few_shot_accuracy.mean") == 1
    assert "few_shot_accuracy.mean" not in table.rows[0].values
    assert "| naive | 1 |" in formats.to_markdown(table) and "| – |" in formats.to_markdown(table)


def test_one_seed_of_episodes_is_shown_with_its_interval_over_them_and_its_accuracy_once(tmp_path):
    few_shot = {"few_shot_accuracy": {"mean": 0.5, "ci95": 0.01}}
    make_run(tmp_path / "a", strategy="maml", experiences=1, extra=few_shot)
    table = compare.table(compare.collect([tmp_path]))
    assert "| 50.00 ± 1.00 |" in formats.to_markdown(table) and "over test episodes" in formats.to_markdown(table)
    assert "average_accuracy" not in [column.key for column in table.columns]
    make_run(tmp_path / "b", strategy="maml", experiences=1, seed=1, extra={"few_shot_accuracy": {"mean": 0.6, "ci95": 0.01}})
    both = compare.table(compare.collect([tmp_path]))
    assert not both.rows[0].within and "± 1.00" not in formats.to_markdown(both)
    make_run(tmp_path / "c", strategy="anil", experiences=2, extra=few_shot)
    assert "average_accuracy" in [column.key for column in compare.table(compare.collect([tmp_path], mixed=True)).columns]


def test_one_seed_is_shown_without_an_interval(tmp_path):
    table = compare.table(compare.collect([make_run(tmp_path / "a")]))
    assert "±" not in formats.to_markdown(table) and table.notes == ()


def test_the_terminal_shows_mean_interval_and_deviation(seeds):
    console = Console(width=120, record=True, file=io.StringIO())
    table = compare.table(compare.collect([seeds]))
    console.print(compare.render(table))
    text = console.export_text()
    spread = table.rows[0].values["average_accuracy"]
    assert f"{100 * spread.mean:.2f} ± {100 * spread.ci95:.2f}" in text and f"sd {100 * spread.sd:.2f}" in text


def test_csv_holds_full_precision_in_the_summaries_units(seeds):
    table = compare.table(compare.collect([seeds]))
    rows = list(csv.DictReader(io.StringIO(formats.to_csv(table))))
    assert float(rows[0]["average_accuracy_mean"]) == table.rows[0].values["average_accuracy"].mean
    assert rows[0]["strategy"] == "naive" and rows[0]["seeds"] == "0 1 2" and rows[0]["average_accuracy_n"] == "3"


def test_a_long_value_is_shortened():
    assert groups.short(list(range(100))) == "0,1,2,3,4,5,6,7,8,9,10,…"
    assert groups.short(1e-4) == "0.0001"


def test_reading_a_run_warns_of_nothing(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        run = directories.read(make_run(tmp_path / "a", options={"train.epochs": 3}))
    assert run.options["train.epochs"] == 3 and "seed" not in run.options and run.data == "generated data"


def test_the_best_is_marked_only_where_seeds_tell_it_from_all_others(seeds):
    table = compare.table(compare.collect([seeds]))
    assert [sorted(row.best) for row in table.rows] == [[], ["average_accuracy", "average_forgetting"]]
    assert any(note.startswith("average accuracy: rescl is best, told apart from naive (p") for note in table.notes)
    make_run(seeds / "twin" / "seed0", strategy="lwf", seed=0, decay=0.1)
    make_run(seeds / "twin" / "seed1", strategy="lwf", seed=1, decay=0.1)
    both = compare.table(compare.collect([seeds]))
    assert not any(row.best & {"average_accuracy"} for row in both.rows)
    assert any("not from" in note or "not told apart" in note for note in both.notes)


def test_every_format_holds_the_same_numbers(seeds):
    table = compare.table(compare.collect([seeds]))
    files = formats.write(table, seeds / "out", formats.FORMATS)
    assert [path.name for path in files] == ["table.md", "table.csv", "table.tex", "table.json"]
    mean = table.rows[1].values["average_accuracy"].mean
    shown = f"{100 * mean:.2f}"
    assert f"**{shown}**" in files[0].read_text() and f"\\textbf{{{shown}}}" in files[2].read_text()
    assert repr(mean) in files[1].read_text()
    assert json.loads(files[3].read_text())["rows"][1]["values"]["average_accuracy"]["mean"] == mean
    tex = files[2].read_text()
    assert tex.count("\\toprule") == 1 and "accuracy \\%" in tex and not re.search(r"(?<!\\)%", tex.split("tabular", 1)[1])
