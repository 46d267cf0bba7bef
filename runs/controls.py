"""What an attacked run is held against: its clean twin and its noise control, of the same seed, order and batches.

Both are runs like any other. They are found among finished ones by a digest of their configuration, and carried out where there is none.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from metrics import robustness
from runs.recording import twins
from runs.showing.tables import read_matrix

if TYPE_CHECKING:
    from runs.plan import Plan

FOLDER = "controls"


@dataclass(frozen=True, eq=False)
class Control:
    """A finished control run.

    Attributes:
        matrix: its accuracy matrix.
        directory: where it lies; None if it was not written.
    """

    matrix: Tensor
    directory: Path | None


Controls = dict[str, Control]
"""`clean` and, where the attack has one, `noise`."""


def requests(plan: Plan) -> dict[str, dict[str, Any]]:
    """The control runs of an attacked run.

    Args:
        plan: of the attacked run.

    Returns:
        Their requests, by kind.
    """
    assert plan.attack is not None
    without = {name: value for name, value in plan.resolved.items() if name != "attack"}
    noise = plan.attack.control()
    return {"clean": without, **({"noise": {**without, "attack": noise}} if noise else {})}


def finished(request: Mapping[str, Any], data: Mapping[str, Any], out: Path) -> Control | None:
    """Look for a control among finished runs: beside the attacked one, and among the controls of those beside it.

    Args:
        request: of the control.
        data: the data's entry of the attacked run's summary.
        out: the attacked run's directory.

    Returns:
        The control, or None.
    """
    for place in twins.near(out, FOLDER):
        if twins.finished(place, request, data.get("fingerprint")):
            _, _, matrix = read_matrix(place / "accuracy_matrix.csv")
            return Control(torch.as_tensor(matrix), place)
    return None


def compared(target: int, attacked: Sequence[int], matrix: Tensor, controls: Controls) -> dict[str, Any]:
    """Hold an attacked run against its controls.

    Args:
        target: the experience that was to be damaged.
        attacked: the experiences whose data were changed.
        matrix: the attacked run's accuracies.
        controls: its control runs.

    Returns:
        For the summary: accuracies of the target, drops, and the target's accuracy over the stream.
    """
    clean = controls["clean"].matrix
    found = robustness.summarise(clean, matrix, target, attacked)
    found["curves"] = {"clean": clean[:, target].tolist(), "attacked": matrix[:, target].tolist()}
    if "noise" in controls:
        noise = controls["noise"].matrix
        found["noise"] = float(noise[-1, target])
        found["noise_drop"] = found["clean"] - found["noise"]
        found["curves"]["noise"] = noise[:, target].tolist()
    return found
