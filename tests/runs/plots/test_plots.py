import warnings
from pathlib import Path

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metrics import continual
from metrics.statistics import band
from runs import cli, plots
from runs.plots import style
from runs.recording import directories
from runs.showing import compare, tables
from tests.runs.plots.synthetic import make_run

PNG = b"\x89PNG\r\n\x1a\n"


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


def curves(figure):
    """Points of the lines of the first axes, by colour."""
    axes = figure.subfigs[1].axes[0]
    return [(line.get_color(), line.get_xdata(), line.get_ydata()) for line in axes.lines]


def test_draw_writes_every_figure_of_a_run_and_nothing_else(tmp_path):
    run = make_run(tmp_path / "run")
    written = plots.draw(run)
    assert written == [run / "plots" / "forgetting_curves.png", run / "plots" / "accuracy_matrix.png"]
    assert sorted((run / "plots").iterdir()) == sorted(written)
    assert all(path.read_bytes().startswith(PNG) for path in written)


def test_the_same_run_is_drawn_with_the_same_bits(tmp_path):
    run = make_run(tmp_path / "run", experiences=2)
    first = [path.read_bytes() for path in plots.draw(run)]
    assert [path.read_bytes() for path in plots.draw(run)] == first


def test_a_run_is_drawn_in_any_format_and_a_folder_of_runs_run_by_run(tmp_path, capsys, monkeypatch):
    for seed in range(2):
        make_run(tmp_path / "group" / f"seed-{seed}", seed=seed)
    monkeypatch.setattr("sys.argv", ["simulate", "plot", str(tmp_path / "group"), "--format", "pdf,svg"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert not stopped.value.code
    told = capsys.readouterr().out.split()
    assert len(told) == 12 and all(Path(path).stat().st_size > 1000 for path in told)
    first = {path: Path(path).read_bytes() for path in told}
    plots.draw(tmp_path / "group" / "seed-0", formats=("pdf", "svg"))
    assert all(Path(path).read_bytes() == content for path, content in first.items())


@pytest.mark.parametrize("setting", ["task", "class"])
def test_each_experience_is_drawn_from_when_it_was_learned(tmp_path, setting):
    run = directories.read(make_run(tmp_path / "run", setting=setting))
    matrix = run.matrix()[2]
    drawn = curves(plots.forgetting_curves(run))
    for index in range(5):
        colour, x, y = drawn[index]
        assert colour == style.OKABE_ITO[index]
        numpy.testing.assert_array_equal(x, range(index, 5))
        numpy.testing.assert_array_equal(y, matrix[index:, index])
    numpy.testing.assert_allclose(drawn[-1][2], [matrix[i, : i + 1].mean() for i in range(5)])


@pytest.mark.parametrize("plot", [plots.forgetting_curves, plots.accuracy_matrix])
def test_the_caption_says_what_was_run_on_what(tmp_path, plot):
    run = directories.read(make_run(tmp_path / "run", seed=3))
    assert "split-cifar10 · naive · setting task · seed 3 · generated data" in texts(plot(run))
    run = directories.read(make_run(tmp_path / "other", strategy="xkfac"))
    assert "split-cifar10 · xkfac (reconstruction) · setting task · seed 0 · generated data" in texts(plot(run))


@pytest.mark.parametrize(("experiences", "labelled"), [(5, True), (8, True), (9, False), (20, False)])
def test_few_experiences_are_drawn_one_by_one_and_many_as_a_range_with_three_of_them(tmp_path, experiences, labelled):
    run = directories.read(make_run(tmp_path / "run", experiences=experiences))
    figure = plots.forgetting_curves(run)
    axes = figure.subfigs[1].axes[0]
    assert len(axes.get_lines()) - 2 == (experiences if labelled else 3)
    assert any("middle 80 %" in text for text in texts(figure)) is not labelled
    if not labelled:
        low, high = numpy.nanquantile(run.matrix()[2][-1], [0.1, 0.9])
        band = axes.collections[0].get_paths()[0].vertices
        assert {round(low, 9), round(high, 9)} <= {round(value, 9) for value in band[band[:, 0] == experiences - 1, 1]}


@pytest.mark.parametrize(("experiences", "numbers"), [(5, 5 * 6), (12, 12 * 13), (13, 0)])
def test_the_heat_map_shows_numbers_up_to_twelve_experiences(tmp_path, experiences, numbers):
    run = directories.read(make_run(tmp_path / "run", experiences=experiences))
    figure = plots.accuracy_matrix(run)
    upper, lower = figure.subfigs[1].axes[:2]
    assert len(upper.texts) + len(lower.texts) == numbers
    numpy.testing.assert_array_equal(lower.images[0].get_array(), run.matrix()[2])
    numpy.testing.assert_array_equal(upper.images[0].get_array()[0], run.matrix()[1])


def test_empty_cells_are_left_open_and_without_numbers(tmp_path):
    figure = plots.accuracy_matrix(directories.read(make_run(tmp_path / "run", setting="class")))
    upper, lower = figure.subfigs[1].axes[:2]
    assert not upper.texts and len(lower.texts) == 15
    numpy.testing.assert_array_equal(lower.images[0].get_array().mask, numpy.triu(numpy.ones((5, 5)), 1))


@pytest.mark.parametrize(("experiences", "figures"), [(1, 0), (2, 2), (30, 2)])
def test_very_short_and_long_streams_can_be_drawn_and_one_experience_makes_no_matrix(tmp_path, experiences, figures):
    assert len(plots.draw(make_run(tmp_path / "run", experiences=experiences, setting="class"))) == figures


@pytest.mark.parametrize("lowest", [0.0, 0.07, 0.42, 0.83, 0.93, 1.0])
def test_the_vertical_axis_shows_every_accuracy_and_its_labels_are_exact(lowest):
    axes = style.figure(4, 3, "", "")[1].subplots()
    style.accuracy_axes(axes, lowest, 5, "")
    low, high = axes.get_ylim()
    assert low < lowest and high > 1
    for tick in axes.get_yticks():
        assert axes.yaxis.get_major_formatter()(tick) == f"{100 * tick:g}%" or not low <= tick <= high


def test_a_matrix_with_fewer_rows_than_columns_is_drawn_as_far_as_it_goes(tmp_path):
    run = make_run(tmp_path / "run")
    names, initial, matrix = tables.read_matrix(run / "accuracy_matrix.csv")
    tables.write_matrix(run / "accuracy_matrix.csv", names, initial, matrix[:3])
    assert len(plots.draw(run)) == 2


def test_a_run_without_a_matrix_draws_nothing(tmp_path):
    run = make_run(tmp_path / "run")
    (run / "accuracy_matrix.csv").unlink()
    assert plots.draw(run) == []
    assert plots.draw_group(compare.collect([run]), tmp_path / "comparison") == []


def test_a_comparison_shows_the_mean_over_seeds_and_a_band_of_students_t(tmp_path):
    for seed in range(3):
        make_run(tmp_path / "naive" / f"{seed}", seed=seed)
    groups = compare.collect([tmp_path])
    left, right = plots.compare(groups).subfigs[1].axes
    for axes, measure in ((left, continual.average_accuracy_seen), (right, continual.accuracy_by_age)):
        rows = [measure(_tensor(run)).numpy() for run in groups[0].runs]
        mean, half = band(rows)
        numpy.testing.assert_allclose(axes.lines[0].get_ydata(), mean)
        edges = axes.collections[0].get_paths()[0].vertices[:, 1]
        assert edges.max() == pytest.approx(min(1.0, (mean + half).max())) and edges.min() == pytest.approx((mean - half).min())


def test_a_comparison_of_single_seeds_has_no_band_and_one_legend_entry_each(tmp_path):
    runs = [make_run(tmp_path / name, strategy=name) for name in ("naive", "rescl")]
    figure = plots.compare(compare.collect(runs))
    assert not any(axes.collections for axes in figure.subfigs[1].axes)
    assert [text.get_text() for text in figure.subfigs[1].legends[0].get_texts()] == ["naive", "rescl"]
    assert any("1 seed" in text for text in texts(figure))


def test_a_mean_matrix_shows_mean_and_deviation_of_every_cell(tmp_path):
    runs = [make_run(tmp_path / str(seed), seed=seed, experiences=2, decay=0.1 + 0.2 * seed) for seed in range(3)]
    (group,) = compare.collect(runs)
    figure = plots.matrix.mean_accuracy_matrix(group)
    whole = numpy.stack([numpy.concatenate([initial[None], matrix]) for _, initial, matrix in (run.matrix() for run in group.runs)])
    cells = [text.get_text() for text in figure.findobj(lambda artist: artist.get_gid() == style.CELL)]
    mean, deviation = whole.mean(0), whole.std(0, ddof=1)
    wanted = [f"{100 * m:.1f}\n±{100 * d:.1f}" for m, d in zip(mean.ravel(), deviation.ravel()) if not numpy.isnan(m)]
    assert sorted(cells) == sorted(wanted) and any("±0.0" not in cell for cell in cells)
    assert any("3 seeds" in text for text in texts(figure))
    assert plots.matrix.mean_accuracy_matrix(compare.collect(runs[:1])[0]) is None


def test_a_dozen_strategies_can_be_told_apart(tmp_path):
    runs = [make_run(tmp_path / f"{i}", strategy=f"method{i}", experiences=2) for i in range(12)]
    lines = plots.compare(compare.collect(runs)).subfigs[1].axes[0].lines
    assert len({(line.get_color(), line.get_linestyle(), line.get_marker()) for line in lines}) == 12
    (drawn,) = plots.draw_group(compare.collect(runs), tmp_path / "deep" / "er")
    assert drawn.name == "forgetting_curves.png" and drawn.read_bytes().startswith(PNG)


@given(st.lists(st.floats(0, 1), min_size=1, max_size=9))
def test_labels_never_overlap_keep_their_order_and_stay_inside(places):
    stands = style.spread(places, gap=0.1, low=0.0, high=1.0)
    order = sorted(range(len(places)), key=lambda index: places[index])
    assert all(stands[after] - stands[before] >= 0.1 - 1e-9 for before, after in zip(order, order[1:]))
    assert min(stands) >= -1e-9 and max(stands) <= 1 + 1e-9


def test_labels_that_do_not_touch_stay_where_they_are():
    assert style.spread([0.9, 0.2, 0.5], gap=0.1, low=0.0, high=1.0) == [0.9, 0.2, 0.5]


def _tensor(run):
    import torch

    return torch.from_numpy(run.matrix()[2])


@pytest.mark.parametrize("name", ["a $\\frac{1$", "$x^$, $y", "_hidden", "漢 [/bold]\n%", "a" * 500])
def test_names_are_drawn_as_they_are(tmp_path, name):
    run = make_run(tmp_path / "run", experiences=2, scenario=f"split-{name}", strategy=name)
    _, initial, matrix = tables.read_matrix(run / "accuracy_matrix.csv")
    tables.write_matrix(run / "accuracy_matrix.csv", [name, f"{name} 2"], initial, matrix)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")
        assert len(plots.draw(run)) == 2
        plots.draw_group(compare.collect([run]), tmp_path)
