"""What several processes carry out as one would, and what not."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch import nn

from scenarios.episodes.episodic import EpisodicScenario
from scenarios.errors import UserError
from strategies.registry import strategies

if TYPE_CHECKING:
    from runs.plan import Plan

EQUAL = ("naive", "joint", "cumulative", "replay", "lwf", "packnet", "ewc", "online-ewc", "si", "mas", "kfac", "xkfac", "alasso")
"""Strategies whose step's loss is a mean over examples, and whose other computations are the same in every process; tested one by one."""
SO = {name: {"scale": "none", "merge_stats": "running"} for name in ("kfac", "xkfac")}
"""Options without which one of them is not: a weight that follows the batch's loss would follow that of a share."""
OTHERWISE = "start it without torchrun"


def check(plan: Plan) -> None:
    """Refuse a run that several processes would carry out otherwise than one.

    Args:
        plan: of the run.

    Raises:
        UserError: it is such a run.
    """
    resolved = plan.resolved
    name = strategies.canonical(resolved["strategy"]["name"])
    if isinstance(plan.scenario, EpisodicScenario):
        raise UserError(f"episodes are not shared between processes; {OTHERWISE}")
    if name not in EQUAL:
        known = f"with several processes choose one of {', '.join(EQUAL)}"
        raise UserError(f"{name}'s loss is not shown to be a mean over examples; {known}, or {OTHERWISE}")
    for option, value in SO.get(name, {}).items():
        if resolved["strategy"].get(option) != value:
            raise UserError(f"with several processes {name} needs strategy.{option}={value}; set that, or {OTHERWISE}")
    later = "measure it afterwards with `simulate evaluate RUN --probe NAME`"
    for section, way in (("attack", OTHERWISE), ("defence", OTHERWISE), ("probe", later)):
        if resolved.get(section):
            raise UserError(f"{section} '{resolved[section]['name']}' does not work with several processes; {way}")
    for module in plan.strategy.network.modules():
        if _drops(module):
            what = f"the network has {type(module).__name__}, which each process would draw by itself"
            raise UserError(f"{what}; choose another, or {OTHERWISE}")


def _drops(module: nn.Module) -> bool:
    shares = (getattr(module, name, 0) for name in ("p", "drop_prob", "dropout"))
    return "Drop" in type(module).__name__ and any(isinstance(share, float) and share > 0 for share in shares)
