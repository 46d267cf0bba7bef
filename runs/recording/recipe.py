"""Recipes: published experiments as files. `simulate recipe NAME` runs what has no record and shows the paper's numbers beside the records.

A recipe is a YAML file under `runs/recipes/`:

    title: one line
    paper: citation of the numbers
    distance: how our protocol differs from the paper's, for each scale
    finding: what our runs say about the claim, for each scale; numbers stand in it as placeholders (`runs.recording.findings`)
    metrics: [average_accuracy, ...], names in the summary, shown of every run; dots lead into nested entries
    headline: true for a recipe whose table stands in the README as well, or {runs: [label, ...], metrics: [...]} for a part of it
    base: the request that all runs share
    scales: {small: {seeds: 3, minutes: 20, runs: {...}, expected: [...], ...request on top of base}, paper: {...}}
    runs: {label: request on top of that}
    expected: [{run: label, metric: average_accuracy, value: 0.785, source: where, margin: 0.015}]

A scale's own `runs` are added to the recipe's; its own `expected` replaces the recipe's (a smaller protocol has other published numbers).
A run may have `seeds` and `first_seed` of its own. `margin` says how near the published mean ours has to be; without one, ours is another
protocol and is not judged.
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
    labels = {**recipe["runs"], **own.pop("runs", {})}
    wanted = {}
    for label, request in labels.items():
        merged = config.merge(*(_named(part) for part in (recipe["base"], own, request)))
        for entry in ("minutes", "expected"):
            merged.pop(entry, None)
        seeds, first = merged.pop("seeds", 1), merged.pop("first_seed", 0)
        wanted[label] = [{**merged, "seed": seed} for seed in range(first, first + seeds)]
    return wanted


def rows(recipe: Mapping[str, Any], scale: str, chosen: str | None) -> dict[str, list[dict[str, Any]]]:
    """Some of the runs of a recipe.

    Args:
        recipe: its content.
        scale: which of its scales.
        chosen: labels joined by commas; None for all.

    Returns:
        For each label, one request a seed.

    Raises:
        UserError: there is no run of a label.
    """
    wanted = requests(recipe, scale)
    for label in chosen.split(",") if chosen else ():
        if label not in wanted:
            raise UserError(f"this recipe has no row '{label}'{nearest(label, wanted)}")
    return {label: wanted[label] for label in (chosen.split(",") if chosen else wanted)}


def text(recipe: Mapping[str, Any], entry: str, scale: str) -> str:
    """A text of a recipe that may differ between its scales.

    Args:
        recipe: its content.
        entry: distance or finding.
        scale: which of its scales.

    Returns:
        The text; empty where there is none.
    """
    found = recipe.get(entry, "")
    return (found.get(scale, "") if isinstance(found, Mapping) else found).strip()


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


def _named(request: Mapping[str, Any]) -> dict[str, Any]:
    sections = ("scenario", "strategy", "network", "attack", "defence", "probe")
    return {key: {"name": value} if key in sections and isinstance(value, str) else value for key, value in request.items()}
