"""How each metric is had from a run: many are in every summary, some need a probe or an adversary, the others `evaluate.metrics=NAME,...`.

What `evaluate.metrics` asks for is measured when all is learned, changes nothing of the learner, and stands in the summary under `metrics`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from metrics.registry import metrics
from scenarios.errors import UserError

if TYPE_CHECKING:
    from runs.run import Run

LOOKED_AT = 1000
"""Test examples of an experience from which features are taken, at most."""
STREAM = "a stream"
SEVERAL = "a stream of experiences or of domains"
EPISODES = "a learner of episodes"
ATTACK, DEFENCE = "--attack NAME", "--attack NAME --defence NAME"
PIGGYBACK, FEATURES = "--probe piggyback", "--probe features"


@dataclass(frozen=True)
class Measure:
    """How one metric is had.

    Attributes:
        needs: what the run must have; empty where every run has it.
        take: from a run and its summary to the value; None where it is absent.
        stored: whether the summary holds it without being asked.
    """

    needs: str
    take: Callable[[Run, Mapping[str, Any]], Any]
    stored: bool = False


def _matrix(name: str) -> Measure:
    def take(run: Run, summary: Mapping[str, Any]) -> Any:
        import torch

        value = metrics.load(name)[0](torch.tensor(run.matrix, dtype=torch.float64))
        return value.tolist() if isinstance(value, torch.Tensor) else value

    return Measure(SEVERAL, take)


def _entry(path: str, needs: str) -> Measure:
    def take(run: Run, summary: Mapping[str, Any]) -> Any:
        value: Any = summary
        for part in path.split("."):
            value = value.get(part) if isinstance(value, Mapping) else None
        return value

    return Measure(needs, take, stored=True)


def _detection(run: Run, summary: Mapping[str, Any]) -> Any:
    found = summary.get("defence", {}).get("detection")
    return {index: each["auc"] for index, each in found.items()} if found else None


def _answers(run: Run) -> tuple[Any, Any]:
    """Predictions and targets of all test examples that can be asked, as the run's setting asks them.

    Args:
        run: its stream learned.

    Returns:
        Two int64 [N].
    """
    import torch

    from metrics.accuracy import predictions

    strategy, scenario, size = run.plan.strategy, run.plan.scenario, run.plan.evaluation.batch_size
    found, targets = [], []
    for experience in scenario.experiences:
        task = scenario.setting == "task"
        if not strategy.answers(experience.index) or (scenario.setting == "class" and strategy.needs_label):
            continue
        for start in range(0, len(experience.test), size):
            batch = experience.test.batch(slice(start, start + size))
            logits = strategy.logits(batch.x, experience.index if task and strategy.task_dependent else None)
            found.append(predictions(logits, experience.outputs if task else None))
            targets.append(batch.y)
    return torch.cat(found), torch.cat(targets)


def _judged(measure: Callable[[Any, Any, int], Any]) -> Measure:
    def take(run: Run, summary: Mapping[str, Any]) -> Any:
        import torch

        with torch.inference_mode():
            return measure(*_answers(run), run.plan.scenario.num_outputs)

    return Measure(STREAM, take)


def _confusion(predicted: Any, targets: Any, width: int) -> list[list[int]]:
    from metrics.accuracy import confusion_matrix

    return confusion_matrix(predicted, targets, width).tolist()


def _per_class(predicted: Any, targets: Any, width: int) -> list[float]:
    from metrics.accuracy import confusion_matrix, per_class_accuracy

    return per_class_accuracy(confusion_matrix(predicted, targets, width)).tolist()


def _of_features(measure: Callable[[Any, Any], float]) -> Measure:
    # By experience, from what the head sees of its test set, now and before any learning.
    def take(run: Run, summary: Mapping[str, Any]) -> Any:
        from strategies.probes.looking import features, spread
        from strategies.probes.released import can_release, released

        network: Any = run.plan.strategy.network
        if not can_release(network):
            return None
        initial = run.plan.strategy.setup.build_network()
        tests = {each.index: spread(each.test, LOOKED_AT) for each in run.plan.scenario.experiences if len(each.test)}
        return [measure(features(released(network, index), test), features(initial, test)) for index, test in tests.items()]

    return Measure(STREAM, take)


def _cka(now: Any, before: Any) -> float:
    from metrics.features import linear_cka

    return linear_cka(now, before)


def _dead(now: Any, before: Any) -> float:
    from metrics.features import dead_unit_share

    return dead_unit_share(now)


def _rank(now: Any, before: Any) -> float:
    from metrics.features import effective_rank

    return effective_rank(now)


def _membership(run: Run, summary: Mapping[str, Any]) -> Any:
    import torch

    from metrics.unlearning import membership_auc
    from strategies.probes.looking import spread

    strategy, found = run.plan.strategy, []
    with torch.no_grad():
        # What is only disposed of has no examples of its own.
        for experience in [each for each in run.plan.scenario.experiences if len(each.train) and len(each.test)]:
            losses = []
            for examples in (experience.train, experience.test):
                batch = spread(examples, LOOKED_AT).batch(slice(None))
                logits = strategy.logits(batch.x, experience.index if strategy.task_dependent else None)
                own = logits[:, experience.outputs.start : experience.outputs.stop]
                losses.append(torch.nn.functional.cross_entropy(own, batch.y - experience.outputs.start, reduction="none"))
            found.append(membership_auc(*losses))
    return found


def _intransigence(run: Run, summary: Mapping[str, Any]) -> Any:
    # Held against joint training of the same request, which is looked for among finished runs, and carried out where there is none.
    import torch

    from metrics.continual import intransigence
    from runs.simulation import control

    folder = run.store.folder if run.store else None
    joint = control("joint", {**_plain(run), "strategy": {"name": "joint"}}, run.plan, folder, run.progress)
    return intransigence(torch.tensor(run.matrix, dtype=torch.float64), joint.matrix.diagonal())


def _plain(run: Run) -> dict[str, Any]:
    request = {name: value for name, value in run.plan.resolved.items() if name not in ("attack", "defence", "probe", "diagnose", "log")}
    return {**request, "evaluate": {**request["evaluate"], "metrics": None}}


def _state(run: Run, summary: Mapping[str, Any]) -> int:
    from metrics.resources import state_bytes

    return state_bytes(run.plan.strategy.state_dict())


MEASURES: dict[str, Measure] = {
    "average_accuracy": _entry("average_accuracy", ""),
    "average_incremental_accuracy": _entry("average_incremental_accuracy", STREAM),
    **{name: _matrix(name) for name in ("average_accuracy_seen", "accuracy_by_age", "forgetting")},
    "average_forgetting": _entry("average_forgetting", SEVERAL),
    **{name: _matrix(name) for name in ("forgetting_diagonal", "average_forgetting_diagonal", "learning_accuracy")},
    "backward_transfer": _entry("backward_transfer", SEVERAL),
    "forward_transfer": _entry("forward_transfer", SEVERAL),
    "intransigence": Measure(STREAM, _intransigence),
    "accuracy": _judged(lambda predicted, targets, width: (predicted == targets).double().mean().item()),
    "confusion_matrix": _judged(_confusion),
    "per_class_accuracy": _judged(_per_class),
    "few_shot_accuracy": _entry("few_shot_accuracy.mean", EPISODES),
    "few_shot_accuracy_per_step": _entry("few_shot_accuracy.per_step", EPISODES),
    "pooled_binomial_ci95": _entry("few_shot_accuracy.pooled_binomial_ci95", EPISODES),
    "targeted_drop": _entry("attack.drop", ATTACK),
    "collateral_drop": _entry("attack.collateral", ATTACK),
    "plasticity_drop": _entry("attack.plasticity", ATTACK),
    "detection_auc": Measure(DEFENCE, _detection),
    "pl_accuracy": _entry("pl_accuracy.mean", PIGGYBACK),
    "leakage": _entry("pl_accuracy.leakage", PIGGYBACK),
    "relearn_steps": _entry("pl_accuracy.relearn_steps", PIGGYBACK),
    "membership_auc": Measure(STREAM, _membership),
    "linear_cka": _of_features(_cka),
    "linear_probe": _entry("feature_probe.linear_probe", FEATURES),
    "dead_unit_share": _of_features(_dead),
    "effective_rank": _of_features(_rank),
    "peak_memory_bytes": _entry("peak_memory_bytes", ""),
    "parameters": _entry("parameters", ""),
    "state_bytes": Measure("", _state),
}
"""Name of a metric to how it is had."""


def measure(name: str) -> Measure:
    """How a metric is had.

    Args:
        name: of the metric.

    Returns:
        Its entry in `MEASURES`; a metric of the user's own is a function of the accuracy matrix.
    """
    return MEASURES.get(name) or _matrix(name)


def told(name: str) -> str:
    """Say how a metric is had.

    Args:
        name: of the metric.

    Returns:
        What to add to a run, in a few words.

    Example:
        >>> told("parameters"), told("accuracy"), told("leakage")
        ('every run', 'a stream', 'a stream, with --probe piggyback')
    """
    needs = measure(name).needs
    return f"{STREAM}, with {needs}" if needs.startswith("--") else needs or "every run"


def check(names: Sequence[str], setting: str, resolved: Mapping[str, Any]) -> None:
    """See whether a run will have the metrics that are asked for.

    Args:
        names: of metrics.
        setting: of its scenario.
        resolved: its configuration.

    Raises:
        UserError: it will not, or there is no such metric.
    """
    for name in names:
        metrics.find(name)
        needs = measure(name).needs
        where = f"evaluate.metrics={name}"
        if setting not in settings(needs):
            raise UserError(f"{where} is of {EPISODES if needs == EPISODES else 'streams'}; `simulate list metrics` says how each is had")
        for flag, value in zip(needs.split()[::2], needs.split()[1::2]) if needs.startswith("--") else ():
            asked = resolved.get(flag.removeprefix("--"), {}).get("name")
            if not asked or value not in ("NAME", asked):
                raise UserError(f"{where} needs {needs}; add it, or leave the metric out")


def settings(needs: str) -> frozenset[str]:
    """Where a metric is had.

    Args:
        needs: what the run must have.

    Returns:
        The settings of scenarios.
    """
    if needs == EPISODES:
        return frozenset({"episodic"})
    streams = frozenset({"task", "domain", "class"})
    # Probes ask learners of every kind; an adversary of episodes alters support sets, and has other numbers.
    return streams if needs in (STREAM, ATTACK, DEFENCE) else streams | {"episodic"}


def take(run: Run, summary: Mapping[str, Any], names: Sequence[str]) -> dict[str, Any]:
    """Measure what `evaluate.metrics` asks for.

    Args:
        run: its stream learned.
        summary: what is known of it so far.
        names: of metrics; `check` has seen them.

    Returns:
        Names to values; those that this run does not have are left out, and the user is told.
    """
    found = {}
    for name in names:
        found[name] = measure(name).take(run, summary)
        if found[name] is None:
            run.progress.say(f"this run has no {name}: what it is made of is absent")
    return {name: value for name, value in found.items() if value is not None}
