"""From a probe's answers to the summary: one function for each probe that has numbers of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from metrics.features import dead_unit_share, effective_rank, linear_cka
from metrics.unlearning import leakage, membership_auc, pl_accuracy, steps_to_reach
from scenarios.experience import Batch, Examples

if TYPE_CHECKING:
    from runs.probing.probing import Probing

Answers = dict[str, dict[str, Any]]
RELEARNED = 0.95
"""Share of the ceiling's PL accuracy at which the source counts as relearned."""
LOOKED_AT = 1000
FALLEN, DROPPED = 0.2, 0.01
"""The old head's loss has fallen, PL accuracy has dropped: by so much at least."""


def summarise(probing: Probing, answers: Answers, matrix: list[list[float]]) -> dict[str, Any]:
    """Turn answers into entries of the summary.

    Args:
        probing: probe, plan and anchors.
        answers: by subject and piece.
        matrix: the run's accuracies.

    Returns:
        Entries.
    """
    name = probing.plan.resolved["probe"]["name"]
    if name == "piggyback":
        return piggyback(probing, answers, matrix)
    return {f"probe_{name}": answers} if any(answers.values()) else {}


def piggyback(probing: Probing, answers: Answers, matrix: list[list[float]]) -> dict[str, Any]:
    """PL accuracy between its anchors, and what else shows whether a low one comes from a broken network.

    Args:
        probing: probe, plan and anchors.
        answers: by subject and piece.
        matrix: the run's accuracies.

    Returns:
        `pl_accuracy`, and for a transfer `unlearning`.
    """
    facts = probing.probe.facts()
    found: dict[str, dict[str, Any]] = {}
    for piece in probing.probe.pieces():
        grids = {subject: torch.tensor(pieces[piece]["accuracies"], dtype=torch.float64) for subject, pieces in answers.items()}
        found[piece] = _between(grids, facts["rates"])
        if "old_head" in answers["tested"][piece]:
            found[piece]["old_head"] = max(answers["tested"][piece]["old_head"])
    first = probing.probe.pieces()[0].partition("/")[0]
    main = found[f"{first}/{facts['size']}"]
    named = {piece.partition("/")[0]: one for piece, one in found.items() if piece.partition("/")[2] in ("", facts["size"])}
    strongest = {subject: max(one[subject] for one in named.values()) for subject in ("mean", "floor", "ceiling")}
    best = max(named, key=lambda name: named[name]["mean"])
    summary = {key: main[key] for key in ("mean", "sd", "floor", "ceiling", "leakage") if key in main} | facts
    overall = leakage(strongest["mean"], strongest["floor"], strongest["ceiling"])
    summary |= {"best": strongest["mean"], "best_by": best, "best_floor": strongest["floor"], "best_ceiling": strongest["ceiling"]}
    summary |= {} if overall is None else {"best_leakage": overall}
    summary["by_size"] = {piece.partition("/")[2]: one for piece, one in found.items() if piece.startswith(f"{first}/")}
    summary["by_piggybacker"] = named
    steps = steps_to_reach(main["curve"], facts["looks"], RELEARNED * main["ceiling"])
    summary |= {} if steps is None else {"relearn_steps": steps}
    roles = [experience.role for experience in probing.plan.scenario.experiences]
    return {"pl_accuracy": summary, **({"unlearning": _unlearning(probing, matrix, main)} if "dispose" in roles else {})}


def _between(grids: dict[str, Tensor], rates: list[float]) -> dict[str, Any]:
    # Accuracies [rates, subsets, looks] of the network under test, the floor and the ceiling.
    results = {subject: pl_accuracy(grid[..., -1]) for subject, grid in grids.items()}
    tested = results["tested"]
    told: dict[str, Any] = {
        "mean": tested.mean,
        "sd": tested.sd,
        "rate": rates[tested.best],
        "floor": results["floor"].mean,
        "ceiling": results["ceiling"].mean,
        "by_rate": grids["tested"][..., -1].mean(1).tolist(),
        "by_subset": grids["tested"][tested.best, :, -1].tolist(),
        # A curve's every point is that of the rate which is best there: early and late thieves differ.
        "curve": grids["tested"].mean(1).max(0).values.tolist(),
        "floor_curve": grids["floor"].mean(1).max(0).values.tolist(),
        "ceiling_curve": grids["ceiling"].mean(1).max(0).values.tolist(),
    }
    share = leakage(told["mean"], told["floor"], told["ceiling"])
    return told if share is None else {**told, "leakage": share}


@torch.no_grad()
def _unlearning(probing: Probing, matrix: list[list[float]], main: dict[str, Any]) -> dict[str, Any]:
    plan = probing.plan
    source, target = plan.scenario.experiences[:2]
    now, before = probing.anchor("tested"), probing.anchor("ceiling")
    left, kept = matrix[-1][:2]
    told: dict[str, Any] = {"target_accuracy": kept, "target_change": kept - matrix[1][1], "old_head_accuracy": left}
    for name, experience in (("source", source), ("target", target)):
        x = _spread(experience.test).x
        features = [network.eval().features(x) for network in (now, before)]
        told[f"cka_{name}"] = linear_cka(*features)
        told[f"dead_units_{name}"] = dead_unit_share(features[0])
        told[f"effective_rank_{name}"] = effective_rank(features[0])
        told[f"feature_scale_{name}"] = float(features[0].std() / features[1].std())
    losses = []
    for examples in (source.train, source.test):
        batch = _spread(examples)
        logits = now.head.narrow(now.features(batch.x), source.outputs)
        losses.append(functional.cross_entropy(logits, batch.y - source.outputs.start, reduction="none"))
    told["membership_auc"] = membership_auc(*losses)
    looks = getattr(plan.strategy, "source_losses", [])
    if looks and looks[-1][1] < looks[0][1] - FALLEN and main["mean"] > main["ceiling"] - DROPPED:
        told["warning"] = (
            f"the source's loss through its old head fell from {looks[0][1]:.2f} to {looks[-1][1]:.2f} during disposal, and PL accuracy "
            "did not drop: the source was relearned, not disposed of"
        )
        probing.say(f"warning: {told['warning']}")
    return told


def _spread(examples: Examples) -> Batch:
    # Examples lie class by class: the first of them are of one class.
    count = len(examples)
    return examples.batch((torch.arange(min(count, LOOKED_AT)) * max(1, count // LOOKED_AT)).to(examples.rows.device))
