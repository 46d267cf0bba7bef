"""What is measured of a run when all is learned: on other domains, under attack, of curvature, and by a probe."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from runs.evaluate_episodes import evaluate_episodes
from runs.plan import Plan
from runs.probing.probing import Probing
from scenarios.episodes.episodic import EpisodicScenario

if TYPE_CHECKING:
    from runs.run import Run


def measure(run: Run) -> dict[str, Any]:
    """Measure what a run asks for beside its accuracies.

    Args:
        run: the run, its stream learned.

    Returns:
        Entries of the summary.
    """
    plan = run.plan
    found = plan.strategy.measure(plan.scenario)
    if plan.attack and isinstance(plan.scenario, EpisodicScenario):
        found = {**found, "attack": attacked_episodes(plan)}
    if plan.test_scenario is not None:
        found = {**found, "cross_domain": cross_domain(plan)}
    if plan.resolved.get("diagnose") == "curvature":
        found = {**found, "curvature": curvature(plan)}
    return {**found, **probe(run)} if plan.probe is not None else found


def probe(run: Run) -> dict[str, Any]:
    """Put the probe to copies of the network.

    Args:
        run: with a probe.

    Returns:
        Entries of the summary.
    """
    return Probing(run.plan, lambda: run.engine.stopping, run.progress.say).measure(run.matrix)


def cross_domain(plan: Plan) -> dict[str, Any]:
    """Few-shot accuracy on another scenario's classes.

    Args:
        plan: with a test scenario.

    Returns:
        The test scenario's name, and the entries of `few_shot_accuracy`.
    """
    assert plan.test_scenario is not None
    result = evaluate_episodes(plan.strategy, plan.test_scenario, batch_size=plan.evaluation.batch_size)
    return {"scenario": plan.test_scenario.name, **result.summary["few_shot_accuracy"]}


def attacked_episodes(plan: Plan) -> dict[str, Any]:
    """Few-shot accuracy with support sets as they are, under noise, and attacked.

    Args:
        plan: with an adversary that can alter support sets.

    Returns:
        The adversary's name and the accuracies.
    """
    from runs.evaluate_attacked import attacked_episodes as attacked
    from strategies.attacks.adversary import BoundedAdversary

    assert isinstance(plan.scenario, EpisodicScenario) and isinstance(plan.attack, BoundedAdversary)
    found = attacked(plan.strategy, plan.scenario, plan.attack, plan.randomness, plan.evaluation.batch_size)
    return {"name": plan.resolved["attack"]["name"], **found}


def curvature(plan: Plan) -> list[dict[str, Any]]:
    """Relative errors of Kronecker-factored curvature against the exact one, by layer, on the last experience.

    Args:
        plan: of a run that is over.

    Returns:
        A row for each layer.
    """
    from strategies.penalties.curvature.diagnosis import curvature as diagnose

    return diagnose(plan.strategy, plan.scenario.experiences[-1].train, plan.randomness)
