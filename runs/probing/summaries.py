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
        `pl_accuracy`, of one experience or in the mean over several, and for a transfer `unlearning`.
    """
    probe: Any = probing.probe
    facts = probe.facts()
    found = {index: _stolen(probe, answers, index) for index in probe.loot}
    if len(found) > 1:
        return {"pl_accuracy": _over_experiences(probe, found, matrix)}
    (index, one), *_ = found.items()
    roles = [getattr(experience, "role", "") for experience in probing.plan.scenario.experiences]
    beside = {"unlearning": _unlearning(probing, matrix, one)} if "dispose" in roles else {}
    told = {name: value for name, value in one.items() if name not in ("curve", "floor_curve", "ceiling_curve")}
    return {"pl_accuracy": {**told, **facts}, **beside}


def _stolen(probe: Any, answers: Answers, index: int) -> dict[str, Any]:
    facts, size = probe.facts(), probe.loot[index].largest
    found: dict[str, dict[str, Any]] = {}
    for thief in probe.thieves(index):
        piece = f"{index}:{thief}"
        grids = {subject: torch.tensor(pieces[piece]["accuracies"], dtype=torch.float64) for subject, pieces in answers.items()}
        found[thief] = _between(grids, facts["rates"])
        if "old_head" in answers["tested"][piece]:
            found[thief]["old_head"] = max(answers["tested"][piece]["old_head"])
    first = next(iter(found)).partition("/")[0]
    main = found[f"{first}/{size}"]
    named = {thief.partition("/")[0]: one for thief, one in found.items() if thief.partition("/")[2] in ("", size)}
    strongest = {subject: max(one[subject] for one in named.values()) for subject in ("mean", "floor", "ceiling")}
    told = {key: value for key, value in main.items() if key in ("mean", "sd", "floor", "ceiling", "leakage") or key.endswith("curve")}
    told |= {"best": strongest["mean"], "best_by": max(named, key=lambda name: named[name]["mean"])}
    told |= {"best_floor": strongest["floor"], "best_ceiling": strongest["ceiling"]}
    overall = leakage(strongest["mean"], strongest["floor"], strongest["ceiling"])
    told |= {} if overall is None else {"best_leakage": overall}
    told["by_size"] = {thief.partition("/")[2]: one for thief, one in found.items() if thief.startswith(f"{first}/")}
    told["by_piggybacker"] = named
    for key, curve in (("relearn_steps", "curve"), ("floor_relearn_steps", "floor_curve")):
        steps = steps_to_reach(main[curve], facts["looks"], RELEARNED * main["ceiling"])
        told |= {} if steps is None else {key: steps}
    if "relearn_steps" in told and "floor_relearn_steps" in told:
        told["anamnesis_index"] = told["relearn_steps"] / told["floor_relearn_steps"]
    return told


def _over_experiences(probe: Any, found: dict[int, dict[str, Any]], matrix: list[list[float]]) -> dict[str, Any]:
    # Means over experiences, and each by itself: what the learner still answers, and what a thief gets back of it.
    several = list(found.values())
    told: dict[str, Any] = {**_means(several), **probe.facts()}
    for kind in ("by_size", "by_piggybacker"):
        names = dict.fromkeys(name for one in several for name in one[kind])
        told[kind] = {name: _means([one[kind][name] for one in several if name in one[kind]]) for name in names}
    kept = ("mean", "sd", "floor", "ceiling", "leakage", "best", "best_by", "best_leakage", "relearn_steps", "floor_relearn_steps")
    told["by_experience"] = [
        {
            "experience": index,
            "name": probe.loot[index].name,
            "now": matrix[-1][index],
            "then": matrix[index][index],
            **{key: value for key, value in one.items() if key in kept or key.endswith("curve")},
        }
        for index, one in found.items()
        if index < len(matrix)
    ]
    if all("relearn_steps" in one for one in several):
        told["relearn_steps"] = sum(one["relearn_steps"] for one in several) / len(several)
    now = [each["now"] for each in told["by_experience"]]
    return told | ({"now": sum(now) / len(now)} if now and all(map(math.isfinite, now)) else {})


def _means(several: list[dict[str, Any]]) -> dict[str, Any]:
    told: dict[str, Any] = {}
    for key in ("mean", "floor", "ceiling", "best", "best_floor", "best_ceiling", "old_head"):
        if all(key in one for one in several):
            told[key] = sum(one[key] for one in several) / len(several)
    for key in ("curve", "floor_curve", "ceiling_curve"):
        told[key] = torch.tensor([one[key] for one in several], dtype=torch.float64).mean(0).tolist()
    for key, of in (("leakage", ("mean", "floor", "ceiling")), ("best_leakage", ("best", "best_floor", "best_ceiling"))):
        share = leakage(*(told[each] for each in of)) if of[0] in told else None
        told |= {} if share is None else {key: share}
    return told


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
    tested, floor = ({name: _joined(answers[subject], name) for name in ("linear_probe", "own_head")} for subject in ("tested", "floor"))
    rows: dict[str, list[float]] = {"head": [matrix[-1][index] for index in learned]}
    if tested["own_head"]:
        rows["own_head"] = [tested["own_head"][str(index)] for index in learned]
    rows["linear_probe"] = [tested["linear_probe"][str(index)] for index in learned]
    rows["floor"] = [floor["linear_probe"][str(index)] for index in learned]
    tests = {index: spread(probe.asked[index].test, probe.config.test_examples) for index in learned}
    seen = {}
    for subject in ("tested", "floor"):
        networks = {index: probing.anchor(subject, index) for index in tests}
        for network in networks.values():
            probe.make_ready(network)
        seen[subject] = {index: features_of(networks[index], test) for index, test in tests.items()}
    rows["cka_initial"] = [linear_cka(seen["tested"][index], seen["floor"][index]) for index in learned]
    if all(index in probe.then for index in learned):
        rows["head_then"] = [matrix[index][index] for index in learned]
        rows["linear_probe_then"] = [probe.then[index]["linear_probe"] for index in learned]
        rows["cka"] = [linear_cka(seen["tested"][index].cpu(), probe.then[index]["features"]) for index in learned]
    past = {name: sum(values[:-1]) / (len(values) - 1) for name, values in rows.items() if len(values) > 1}
    # Of features that do not vary at all there is no CKA.
    past = {name: value for name, value in past.items() if math.isfinite(value)}
    if "linear_probe_then" in past:
        kept = leakage(past["linear_probe"], past["floor"], past["linear_probe_then"])
        past |= {} if kept is None else {"kept": kept}
    return {"feature_probe": {**probe.facts(), "experiences": learned, **rows, **({"past": past} if past else {})}}


def _joined(pieces: dict[str, dict[str, Any]], name: str) -> dict[str, float]:
    return {index: value for piece in pieces.values() for index, value in piece[name].items()}


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
    now, before = probing.anchor("tested", 0), probing.anchor("ceiling", 0)
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
