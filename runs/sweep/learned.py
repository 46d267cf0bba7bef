"""Points that are drawn where earlier ones did well: the tree-structured Parzen estimator, as Optuna has it (the extra `optuna`).

Points are drawn in rounds of `search.batch`; each round is a function of the seed and of what the runs before it gave, and of nothing
else. So the same sweep draws the same points with any number of jobs and after any interruption, and the runs themselves are the only
books. Bergstra et al. 2011, *Algorithms for hyper-parameter optimization*.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from runs.sweep.specification import Search
from runs.sweep.values import Range, Values, rounded

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

    from runs.sweep.space import Point

STARTUP = 10
"""Points at most that are drawn at random before any is learned from; of few samples a quarter."""

Scores = Mapping[str, float | None]
"""How good points are, by label; more is better, None where a run has failed."""


def points(space: Mapping[str, Values], search: Search, scores: Scores, make: Callable[[dict[str, Any]], Point]) -> Iterator[Point]:
    """All points so far: those of rounds whose scores are known, and those of the next round.

    Args:
        space: what varies, option to values.
        search: how many points, and the seed.
        scores: of points that were run.
        make: from values to a point.

    Yields:
        The points, in order; one may come again.
    """
    if not space:
        yield make({})
        return
    told: list[tuple[dict[str, Any], float | None]] = []
    name = make({}).label
    while len(told) < (search.samples or 0):
        count = min(search.batch, (search.samples or 0) - len(told))
        seed = int.from_bytes(hashlib.sha256(f"{search.seed} {name} {len(told)}".encode()).digest()[:4], "big")
        drawn = suggest(space, told, count, seed, startup=max(1, min(STARTUP, (search.samples or 0) // 4)))
        made = [make({path: _value(held, given[path]) for path, held in space.items()}) for given in drawn]
        yield from made
        if not all(point.label in scores for point in made):
            return
        told += [(given, scores[point.label]) for given, point in zip(drawn, made)]


def suggest(
    space: Mapping[str, Values], told: list[tuple[dict[str, Any], float | None]], count: int, seed: int, *, startup: int
) -> list[dict[str, Any]]:
    """Draw points.

    Args:
        space: what varies, option to values.
        told: points that were tried, and how good they are; None for one that failed.
        count: how many to draw.
        seed: of what is drawn.
        startup: how many good ones there must be before they are learned from.

    Returns:
        For each point option to number; of a list of values the place in it.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    distributions = {path: _distribution(held) for path, held in space.items()}
    with warnings.catch_warnings():
        # Points of one round know of each other, which Optuna calls experimental.
        warnings.simplefilter("ignore")
        sampler = optuna.samplers.TPESampler(seed=seed, n_startup_trials=startup, constant_liar=True)
        study = optuna.create_study(direction="maximize", sampler=sampler)
        state = optuna.trial.TrialState
        for given, score in told:
            known = score is not None and math.isfinite(score)
            kept = {"value": score, "state": state.COMPLETE} if known else {"state": state.FAIL}
            study.add_trial(optuna.trial.create_trial(params=given, distributions=distributions, **kept))
        asked = [study.ask(distributions).params for _ in range(count)]
    return [{path: _written(space[path], value) for path, value in given.items()} for given in asked]


def _distribution(held: Values) -> BaseDistribution:
    from optuna import distributions

    if not isinstance(held, Range):
        return distributions.CategoricalDistribution(range(len(held)))
    if held.whole:
        return distributions.IntDistribution(int(held.low), int(held.high), log=held.log)
    return distributions.FloatDistribution(held.low, held.high, log=held.log)


def _written(held: Values, number: Any) -> Any:
    return rounded(number, held) if isinstance(held, Range) and not held.whole else number


def _value(held: Values, number: Any) -> Any:
    return number if isinstance(held, Range) else held[number]


def version() -> str:
    """Which Optuna draws.

    Returns:
        Its version.
    """
    from importlib import metadata

    return metadata.version("optuna")
