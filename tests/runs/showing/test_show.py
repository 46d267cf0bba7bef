"""The end of a run on the terminal: every number shown is one of the summary's."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

import runs
from runs import cli
from runs.showing import listing, show


def test_inferred_indices_are_shown_with_their_bounds_and_memory(capsys: pytest.CaptureFixture[str]) -> None:
    result = runs.simulate(
        scenario={"name": "split-digits", "setting": "class", "tasks": 2},
        strategy={"name": "hnet-cnet", "generator_iterations": 2, "index_iterations": 2},
        train={"iterations": 2},
    )
    show.run(result, Console(width=200))
    text = capsys.readouterr().out
    found, hnet = result.summary["routing"], result.summary["hnet"]
    assert f"task index right {100 * found['mean_index_accuracy']:.2f} %" in text and "between them hold" in text
    assert f"hold {hnet['replay_images_of_as_many_bytes']} images" in text
    result.summary["routing"]["bounds_hold"] = False
    show.routing(result.summary, Console(width=200))
    assert "DO NOT HOLD" in capsys.readouterr().out


@pytest.mark.parametrize("norm", ["none", "batch"])
def test_curvature_is_shown_by_layer(capsys: pytest.CaptureFixture[str], norm: str) -> None:
    result = runs.simulate(
        scenario={"name": "permuted-digits", "tasks": 1},
        strategy="xkfac",
        network={"name": "mlp", "hidden": [8, 8], "norm": norm},
        train={"iterations": 2},
        diagnose="curvature",
    )
    show.run(result, Console(width=200))
    lines = capsys.readouterr().out.splitlines()
    rows: list[dict[str, Any]] = result.summary["curvature"]
    for row in rows:
        yes = "yes" if row["coupled"] else "no"
        cells = [row["layer"], row["tap"], yes, f"{row['kfac_error']:.3f}", f"{row['xkfac_error']:.3f}"]
        assert cells in [line.split() for line in lines]
    assert any("XK-FAC is K-FAC" in line for line in lines) == (norm == "none")


@pytest.mark.parametrize(
    ("flag", "path"),
    [("--lr", "train.learning_rate"), ("--batch-size", "train.batch_size"), ("--epoch", "train.epochs"), ("--zzz", "simulate --help")],
)
def test_a_flag_that_does_not_exist_leads_to_the_option(flag: str, path: str, capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.argv", ["simulate", "--scenario", "split-digits", "--strategy", "naive", flag, "0.1"])
    with pytest.raises(SystemExit) as stopped:
        cli.main()
    assert stopped.value.code == 2
    said = capsys.readouterr().err
    assert path in said and said.count("\n") == 1


def test_a_component_named_as_a_command_leads_to_its_flag(capsys: pytest.CaptureFixture[str], monkeypatch: Any) -> None:
    monkeypatch.setattr("sys.argv", ["simulate", "ewc"])
    with pytest.raises(SystemExit):
        cli.main()
    assert "simulate --strategy ewc" in capsys.readouterr().err


def test_every_name_that_is_listed_can_be_described(capsys: pytest.CaptureFixture[str]) -> None:
    for kind, registry in listing.registries().items():
        for name in registry.names():
            if kind in ("scenarios", "networks"):
                listing.show(kind, name)
    for kind in listing.SECTIONS:
        listing.show(kind, None)
    said = capsys.readouterr().out
    assert "scenario.tasks" in said and "train.learning_rate" in said and "evaluate.batch_size" in said and "split-SET" in said
