"""From a probe's answers to the summary: one function for each probe that has numbers of its own."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional

from metrics.features import dead_unit_share, effective_rank, linear_cka
from metrics.fewshot import over_episodes
from metrics.unlearning import leakage, membership_auc, pl_accuracy, steps_to_reach
from scenarios.experience import Batch, Examples
from strategies.probes.looking import features as features_of
from strategies.probes.looking import spread

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
    if name == "features":
        return features(probing, answers, matrix)
    if name == "few-shot":
        return few_shot(probing, answers)
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


def features(probing: Probing, answers: Answers, matrix: list[list[float]]) -> dict[str, Any]:
    """Accuracy through the head beside that of linear probes, and CKA, by experience.

    Args:
        probing: probe, plan and anchors.
        answers: by subject and piece.
        matrix: the run's accuracies.

    Returns:
        `feature_probe`: lists over the experiences learned, and under `past` their means over all but the last one learned.
    """
    probe: Any = probing.probe
    learned = [index for index in probe.asked if index < len(matrix)]
    if not learned:
        return {}
    now, initial = probing.anchor("tested"), probing.anchor("floor")
    tested = answers["tested"]["linear-probes"]
    rows: dict[str, list[float]] = {
        "head": [matrix[-1][index] for index in learned],
        "own_head": [tested["own_head"][str(index)] for index in learned],
        "linear_probe": [tested["linear_probe"][str(index)] for index in learned],
        "floor": [answers["floor"]["linear-probes"]["linear_probe"][str(index)] for index in learned],
    }
    tests = {index: spread(probe.asked[index].test, probe.config.test_examples) for index in learned}
    seen = {index: features_of(now, test) for index, test in tests.items()}
    rows["cka_initial"] = [linear_cka(seen[index], features_of(initial, test)) for index, test in tests.items()]
    if all(index in probe.then for index in learned):
        rows["head_then"] = [matrix[index][index] for index in learned]
        rows["linear_probe_then"] = [probe.then[index]["linear_probe"] for index in learned]
        rows["cka"] = [linear_cka(seen[index].cpu(), probe.then[index]["features"]) for index in learned]
    past = {name: sum(values[:-1]) / (len(values) - 1) for name, values in rows.items() if len(values) > 1}
    # Of features that do not vary at all there is no CKA.
    past = {name: value for name, value in past.items() if math.isfinite(value)}
    if "linear_probe_then" in past:
        kept = leakage(past["linear_probe"], past["floor"], past["linear_probe_then"])
        past |= {} if kept is None else {"kept": kept}
    return {"feature_probe": {**probe.facts(), "experiences": learned, **rows, **({"past": past} if past else {})}}


def few_shot(probing: Probing, answers: Answers) -> dict[str, Any]:
    """Few-shot accuracy of the features and of the initial ones, and their difference, episode by episode.

    Args:
        probing: probe, plan and anchors.
        answers: by subject and piece.

    Returns:
        `few_shot_probe`.
    """
    facts = {key: value for key, value in probing.probe.facts().items() if key not in ("episodes", "steps", "rate")}
    found: dict[str, dict[str, Any]] = {}
    for piece in answers["tested"]:
        accuracies = {subject: torch.tensor(pieces[piece]["accuracies"], dtype=torch.float64) for subject, pieces in answers.items()}
        result = over_episodes(accuracies["tested"])
        found[piece] = {"mean": result.mean, "ci95": result.ci95, "episodes": result.episodes}
        found[piece] |= {} if result.enough else {"too_few_episodes": True}
        for name, values in (("floor", accuracies["floor"]), ("above_floor", accuracies["tested"] - accuracies["floor"])):
            beside = over_episodes(values)
            found[piece][name] = {"mean": beside.mean, "ci95": beside.ci95}
    if "adapted-head" in found:
        options = probing.probe.config
        found["adapted-head"] |= {"steps": options.steps, "rate": options.rate}
    main = found.pop("prototypes")
    return {"few_shot_probe": {**facts, **main, **{name.replace("-", "_"): one for name, one in found.items()}}}


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
    return spread(examples, LOOKED_AT).batch(slice(None))
