"""From what varies to points: every combination of names, and for each the points of a grid or of a search among the options that it has.

An option that only some of the named components have (a penalty's strength beside `naive`) applies to those alone: the others are run once,
and a note says so. One that none of them has stays where it is, and is refused as a single run would refuse it.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from runs import config
from runs.sweep.components import COMPONENTS, owner, registry
from runs.sweep.learned import Scores
from runs.sweep.specification import MOST_RUNS, Search, Sweep
from runs.sweep.values import NAMED, Range, Values
from scenarios import options
from scenarios.errors import UserError

LONGEST = 100
"""Letters of a label."""


@dataclass(frozen=True)
class Point:
    """One experiment of a sweep, all but its seed.

    Attributes:
        label: its stable name: it depends on what this point varies alone, and on no other point.
        request: what is asked for.
        names: the components and data that it combines.
        values: the options that it varies, path to value.
    """

    label: str
    request: dict[str, Any]
    names: dict[str, str]
    values: dict[str, Any]


def expand(sweep: Sweep, scores: Scores = MappingProxyType({})) -> tuple[list[Point], list[str]]:
    """All points of a sweep.

    Args:
        sweep: what is asked for.
        scores: of points that were run, where further ones are drawn by them.

    Returns:
        The points, each once, and notes for the user.

    Raises:
        UserError: there are too many, or an option's value is wrong.
    """
    found: dict[str, Point] = {}
    notes: dict[str, None] = {}
    several = len(sweep.vary) > 1 or any(path in NAMED for grid in sweep.vary for path in grid)
    for grid in sweep.vary:
        for point in _of_grid(grid, sweep.base, sweep.search, several, notes, scores):
            if len(found) * len(sweep.seeds) > MOST_RUNS:
                raise UserError(f"these are more than {MOST_RUNS:,} runs; vary less at once, or search at random (search.method)")
            found.setdefault(point.label, point)
    return list(found.values()), list(notes)


def _of_grid(
    grid: Mapping[str, Values], base: Mapping[str, Any], search: Search, several: bool, notes: dict[str, None], scores: Scores
) -> Iterator[Point]:
    named = {path: held for path, held in grid.items() if path in NAMED and not isinstance(held, Range)}
    combinations = [dict(zip(named, combination)) for combination in itertools.product(*named.values())]
    requests = [_with_names(base, names) for names in combinations]
    varied = {path: held for path, held in grid.items() if path not in NAMED}
    fixed = [f"{section}.{name}" for section in COMPONENTS for name in base.get(section, {}) if name != "name"] if several else []
    lacking = {path: _lacking(path, requests) for path in (*varied, *fixed)}
    for path, without in lacking.items():
        if without and len(without) < len({_name(request, path) for request in requests}):
            notes[f"{path} is no option of {', '.join(sorted(without))}: left out there"] = None
        else:
            without.clear()
    drawn = [] if search.method == "optuna" else list(_choices(varied, search))
    for names, request in zip(combinations, requests):
        for path in fixed:
            if _name(request, path) in lacking[path]:
                section, _, name = path.partition(".")
                request = {**request, section: {key: value for key, value in request[section].items() if key != name}}
        if search.method == "optuna":
            from runs.sweep import learned

            space = {path: held for path, held in varied.items() if _name(request, path) not in lacking[path]}
            yield from learned.points(space, search, scores, partial(_point, request, names))
        for values in drawn:
            own = {path: value for path, value in values.items() if _name(request, path) not in lacking[path]}
            yield _point(request, names, own)


def _with_names(base: Mapping[str, Any], names: Mapping[str, str]) -> dict[str, Any]:
    request = dict(base)
    for path, name in names.items():
        request[path] = {**base.get(path, {}), "name": name} if path in COMPONENTS else name
    return request


def _name(request: Mapping[str, Any], path: str) -> str | None:
    section = path.partition(".")[0]
    return request.get(section, {}).get("name") if section in COMPONENTS else None


def _lacking(path: str, requests: Sequence[Mapping[str, Any]]) -> set[str]:
    names = {name for request in requests if (name := _name(request, path)) is not None}
    return {name for name in names if owner(path, name) is None}


def _choices(varied: Mapping[str, Values], search: Search) -> Iterator[dict[str, Any]]:
    if search.method != "grid":
        for shares in draw(search, len(varied)) if varied else [[]]:
            yield {path: _at(held, share) for (path, held), share in zip(varied.items(), shares)}
        return
    for path, held in varied.items():
        if isinstance(held, Range):
            raise UserError(f"{path} has a range, from which a grid takes no values; list them, or add search.method=sobol with samples")
    yield from (dict(zip(varied, chosen)) for chosen in itertools.product(*(tuple(held) for held in varied.values())))  # type: ignore[arg-type]


def _at(held: Values, share: float) -> Any:
    return held.at(share) if isinstance(held, Range) else held[min(int(share * len(held)), len(held) - 1)]


def draw(search: Search, dimensions: int) -> list[list[float]]:
    """Points of the unit cube.

    Args:
        search: random or Sobol, how many, and the seed.
        dimensions: of the cube.

    Returns:
        The points [samples, dimensions], each number in [0, 1).
    """
    import numpy
    from scipy.stats import qmc

    count, generator = search.samples or 0, numpy.random.default_rng(search.seed)
    if search.method == "random":
        return generator.random((count, dimensions)).tolist()
    # Powers of two alone are balanced; of a longer sequence the first `count` are taken.
    sequence = qmc.Sobol(dimensions, scramble=True, rng=generator).random_base2((count - 1).bit_length())
    return sequence[:count].tolist()


def _point(request: Mapping[str, Any], names: Mapping[str, str], values: Mapping[str, Any]) -> Point:
    whole, read = {section: dict(part) if isinstance(part, Mapping) else part for section, part in request.items()}, {}
    for path, value in values.items():
        section, _, option = path.partition(".")
        config_ = owner(path, _name(request, path))
        read[path] = options.convert(config_, option, value, path) if config_ else value
        whole.setdefault(section, {})[option] = list(read[path]) if isinstance(read[path], tuple) else read[path]
    combined = dict(names)
    for section in ("scenario", "strategy"):
        combined[section] = registry(section).canonical(config.named(whole, section)[0])
        whole[section] = {**whole[section], "name": combined[section]}
    return Point(label(combined, read), whole, combined, read)


def label(names: Mapping[str, str], values: Mapping[str, Any]) -> str:
    """The stable name of a point, fit to be a folder's.

    Args:
        names: components and data; scenario and strategy always.
        values: the options that vary.

    Returns:
        The name; where it would be long or has letters that no folder should have, with a digest at its end.

    Example:
        >>> label({"scenario": "split-digits", "strategy": "ewc"}, {"strategy.strength": 100.0, "network.hidden": (8, 8)})
        'split-digits_ewc_network.hidden=8,8_strategy.strength=100'
    """
    rest = {**{name: value for name, value in names.items() if name not in ("scenario", "strategy")}, **values}
    parts = [names["scenario"], names["strategy"], *(f"{path}={_written(rest[path])}" for path in sorted(rest))]
    text = "_".join(parts)
    plain = re.sub(r"[^\w.,+=-]+", "-", text)
    if plain == text and len(text) <= LONGEST:
        return text
    exact = json.dumps([names, values], sort_keys=True, default=str)
    return f"{plain[:LONGEST].strip('-')}-{hashlib.sha256(exact.encode()).hexdigest()[:8]}"


def _written(value: Any) -> str:
    if isinstance(value, (tuple, list)):
        return ",".join(map(_written, value))
    return str(int(value)) if isinstance(value, float) and value.is_integer() and abs(value) < 1e6 else str(value)
