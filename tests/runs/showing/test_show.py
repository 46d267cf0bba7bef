"""The end of a run on the terminal: every number shown is one of the summary's."""

from __future__ import annotations

from typing import Any

import pytest
from rich.console import Console

import runs
from runs.showing import show


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
