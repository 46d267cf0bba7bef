"""Recipes: published experiments as files. `simulate recipe NAME` runs them; `runs.recording.results` sets the paper's numbers beside ours.

A recipe is a YAML file under `runs/recipes/`:

    title: one line
    paper: citation of the numbers
    distance: how our protocol differs from the paper's, for each scale
    finding: what our runs say about the claim, for each scale that was run
    metrics: [average_accuracy, ...], names in the summary, shown of every run; dots lead into nested entries
    base: the request that all runs share
    scales: {small: {seeds: 3, minutes: 20, runs: {...}, expected: [...], ...request on top of base}, paper: {...}}
    runs: {label: request on top of that}
    expected: [{run: label, metric: average_accuracy, value: 0.785, source: where, tolerance: 0.015}]

A scale's own `runs` are added to the recipe's; its own `expected` replaces the recipe's (a smaller protocol has other published numbers).
Where the paper gives the standard error of its mean (`sem`), three standard errors of the difference are added to the tolerance.

"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from scenarios.errors import UserError, nearest

FOLDER = Path(__file__).parents[1] / "recipes"


def names() -> list[str]:
    """The recipes that there are.

    Returns:
        Their names.
    """
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def read(name: str) -> dict[str, Any]:
    """Read a recipe.

    Args:
        name: its name.

    Returns:
        Its content.

    Raises:
        UserError: there is none of this name.
    """
    import yaml

    if name not in names():
        raise UserError(f"unknown recipe '{name}'{nearest(name, names())}")
    return yaml.safe_load((FOLDER / f"{name}.yaml").read_text(encoding="utf-8"))


def requests(recipe: Mapping[str, Any], scale: str) -> dict[str, list[dict[str, Any]]]:
    """The runs of a recipe.

    Args:
        recipe: its content.
        scale: which of its scales.

    Returns:
        For each label, one request a seed.

    Raises:
        UserError: the recipe has no such scale.
    """
    from runs import config

    if scale not in recipe["scales"]:
        raise UserError(f"this recipe has no scale '{scale}'{nearest(scale, recipe['scales'])}")
    own = dict(recipe["scales"][scale])
    own.pop("minutes", None)
    own.pop("expected", None)
    labels = {**recipe["runs"], **own.pop("runs", {})}
    seeds, first = own.pop("seeds", 1), own.pop("first_seed", 0)
    wanted = {}
    for label, request in labels.items():
        merged = config.merge(*(_named(part) for part in (recipe["base"], own, request)))
        wanted[label] = [{**merged, "seed": seed} for seed in range(first, first + seeds)]
    return wanted


def folder(name: str, scale: str, root: Path = Path("simulations")) -> Path:
    """Where a recipe's runs are written.

    Args:
        name: the recipe's.
        scale: the scale that is run.
        root: the folder of all recipes.

    Returns:
        A path.
    """
    return root / f"{name}-{scale}"


def recorded(recipe: Mapping[str, Any], scale: str, root: Path) -> dict[str, list[Path]]:
    """The runs of a recipe that are over.

    Args:
        recipe: its content.
        scale: which of its scales.
        root: the folder of its runs.

    Returns:
        For each label, the folders of its finished runs, by seed. A run of other settings than the recipe's, finished or not, is an error.
    """
    found: dict[str, list[Path]] = {}
    for label, seeds in requests(recipe, scale).items():
        places = [(place_of(root, label, request), request) for request in seeds]
        for place, request in places:
            if (place / "config.yaml").exists():
                _check_same(request, place)
        found[label] = [place for place, _ in places if (place / "summary.json").exists()]
    return found


def place_of(root: Path, label: str, request: Mapping[str, Any]) -> Path:
    """Where one run is written.

    Args:
        root: the folder of the recipe's runs.
        label: the run's.
        request: one of its requests.

    Returns:
        A path.
    """
    return root / label / f"seed-{request['seed']}"


def _check_same(request: Mapping[str, Any], place: Path) -> None:
    # All that is asked for has to stand in the recorded run's configuration.
    from runs import config

    was = config.from_file(place / "config.yaml")
    for section, wanted in request.items():
        options, had = (wanted, was.get(section, {})) if isinstance(wanted, Mapping) else ({"": wanted}, {"": was.get(section)})
        for name, value in options.items():
            if had.get(name) != value:
                path = f"{section}.{name}" if name else section
                was_not = f"{place} was run with {path}={had.get(name)}, the recipe says {value}"
                raise UserError(f"{was_not}; move that folder away, or give --out another one")


def _named(request: Mapping[str, Any]) -> dict[str, Any]:
    sections = ("scenario", "strategy", "network", "attack", "defence")
    return {key: {"name": value} if key in sections and isinstance(value, str) else value for key, value in request.items()}
