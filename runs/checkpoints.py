"""What a checkpoint of a run holds, which run it belongs to, and how a run takes it up."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs.engine import DivergenceError, Position, finite
from runs.plan import Plan
from runs.recording.store import FORMAT, comparable, differences
from runs.stopping import MISSHAPEN
from scenarios.errors import UserError, shortened

if TYPE_CHECKING:
    from runs.run import Run

AFTERWARDS = ("test_scenario", "diagnose", "probe")
"""Entries of a configuration that a checkpoint does not depend on: what is measured when all is learned."""


def contents(run: Run, position: Position, metrics_length: int) -> dict[str, Any]:
    """All that a run needs to go on.

    Args:
        run: under way.
        position: what is done.
        metrics_length: the bytes of `metrics.jsonl` that belong to it.

    Returns:
        Nested dictionaries of tensors and plain values.

    Raises:
        DivergenceError: there are numbers in it that are not finite.
    """
    strategy, probe = run.plan.strategy.state_dict(), run.plan.probe
    if not finite(strategy):
        raise DivergenceError(f"what the strategy keeps is no longer made of finite numbers: experience {position.experience}")
    watched = {"probe": run.plan.resolved["probe"]["name"], "state": probe.state_dict()} if probe and probe.watches else None
    return {
        "format": FORMAT,
        "identity": identity(run.plan),
        "position": asdict(position),
        "strategy": strategy,
        "engine": run.engine.state_dict(),
        "initial": run.initial,
        "matrix": run.matrix,
        "extra": run.extra,
        "selection": run.selection.state_dict(),
        "training": run.log.state_dict(),
        **({"contest": run.contest.state_dict()} if run.contest else {}),
        **({"watched": watched} if watched else {}),
        "metrics_length": metrics_length,
        "seconds": {**run.seconds, "wall": run.wall_seconds(), "cpu": run.cpu_seconds(), "train": run.engine.train_seconds},
        "phase_seconds": run.engine.phase_seconds,
    }


def identity(plan: Plan) -> dict[str, Any]:
    """What a checkpoint belongs to: it is taken up by a run of the same configuration on the same data alone.

    Args:
        plan: of the run.

    Returns:
        The configuration but for where things lie, and the data's fingerprint.
    """
    resolved = {key: value for key, value in plan.resolved.items() if key not in AFTERWARDS}
    # Nor does it depend on what else is measured then.
    resolved["evaluate"] = {name: value for name, value in resolved["evaluate"].items() if name != "metrics"}
    return {"configuration": comparable(resolved), "data": plan.scenario.data.get("fingerprint")}


def restore(run: Run, state: dict[str, Any], folder: Path) -> int:
    """Take up a checkpoint.

    Args:
        run: of the same plan, not begun.
        state: what `contents` gave.
        folder: where it was written.

    Returns:
        The bytes of `metrics.jsonl` that belong to it.

    Raises:
        UserError: it is another run's, or not whole.
    """
    was, now = state.get("identity"), identity(run.plan)
    if not isinstance(was, dict) or not isinstance(was.get("configuration"), dict):
        raise UserError("the checkpoint does not say which run it is of; start the run again in another --out")
    changed = differences(
        {**was["configuration"], "data fingerprint": was.get("data")}, {**now["configuration"], "data fingerprint": now["data"]}
    )
    if changed:
        raise UserError(
            f"the checkpoint is of another run ({'; '.join(changed)}): put config.yaml and the data back as they were, "
            "or start the run again in another --out"
        )
    try:
        if run.contest:
            run.contest.load_state_dict(state["contest"], folder)
        run.plan.strategy.load_state_dict(state["strategy"])
        run.engine.load_state_dict(state["engine"])
        run.position = Position(**state["position"])
        run.initial, run.matrix, run.extra = list(state["initial"]), list(state["matrix"]), dict(state["extra"])
        run.selection.load_state_dict(state["selection"])
        if "training" in state:
            run.log.load_state_dict(state["training"])
        if run.plan.probe and state.get("watched", {}).get("probe") == run.plan.resolved["probe"]["name"]:
            run.plan.probe.load_state_dict(state["watched"]["state"])
        run.seconds = {name: float(state["seconds"][name]) for name in run.seconds}
        run.engine.train_seconds, run.engine.phase_seconds = float(state["seconds"]["train"]), dict(state["phase_seconds"])
        known = int(state["metrics_length"])
        _check(run, known)
        return known
    except MISSHAPEN as error:
        what = f"{type(error).__name__}: {shortened(error)}"
        raise UserError(f"the checkpoint does not fit this configuration ({what}); start again in another --out") from error


def _check(run: Run, known: int) -> None:
    width, place = len(run.plan.scenario), run.position
    numbers = (place.experience, place.phase, place.epoch, place.step, known)
    if not all(isinstance(number, int) and number >= 0 for number in numbers) or place.experience > width:
        raise ValueError(f"position and length {numbers} of {width} experiences")
    if len(run.initial) not in (0, width) or len(run.matrix) != place.experience or any(len(row) != width for row in run.matrix):
        raise ValueError("an accuracy matrix of another size")
