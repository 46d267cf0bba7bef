"""Recipes: published experiments as files. `simulate recipe NAME` runs them and sets the paper's numbers beside ours.

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

`simulate recipe --results FILE` writes one table of all published numbers, and below it each recipe's, from the runs that are recorded in
the folder where recipes write theirs.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from scenarios.errors import UserError, nearest

if TYPE_CHECKING:
    from rich.console import Console

FOLDER = Path(__file__).with_name("recipes")


@dataclass(frozen=True)
class Line:
    """One line of a recipe's table.

    Attributes:
        label: the run's.
        metric: its name in the summary; dots lead into nested entries.
        ours: mean over seeds; None where the runs do not have it.
        half: half of the 95 % interval over seeds; None for one seed.
        seeds: how many.
        paper: the published number; None where there is none.
        source: where it was published.
        verdict: within the tolerance or not, in a word; empty where there is nothing to hold it against.
        within: of a few-shot accuracy, half of the 95 % interval of that mean over test episodes alone, the seeds being what they are.
    """

    label: str
    metric: str
    ours: float | None
    half: float | None
    seeds: int
    paper: float | None
    source: str
    verdict: str
    within: float | None = None


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


def table(recipe: Mapping[str, Any], folder: Path, scale: str) -> list[Line]:
    """Set what the runs gave beside what was published.

    Args:
        recipe: its content.
        folder: where its runs are; those that are not over are left out.
        scale: the scale that was run.

    Returns:
        A line for each expectation, and for each of the recipe's metrics of a run that nothing is expected of.
    """
    expected = list(recipe["scales"][scale].get("expected", recipe.get("expected", ())))
    metrics = recipe.get("metrics", ["average_accuracy"])
    covered = {(entry["run"], entry["metric"]) for entry in expected}
    labels = dict.fromkeys([*recipe["runs"], *recipe["scales"][scale].get("runs", ())])
    rest = [{"run": label, "metric": metric} for metric in metrics for label in labels if (label, metric) not in covered]
    lines = [_line(entry, folder) for entry in expected + rest]
    # A further metric is left out where a run does not have it: learners without an index have no index accuracy.
    return [line for line in lines if line.ours is not None or line.paper is not None or line.metric == metrics[0]]


def run(name: str | None, out: Path | None, data_root: Path | None, scale: str) -> None:
    """Run a recipe, or list them.

    Args:
        name: the recipe; None to list them.
        out: where its runs are written; runs that are over there are not repeated.
        data_root: where data sets lie.
        scale: which of its scales.
    """
    from rich.console import Console

    from runs import session

    console = Console(highlight=False, width=None if sys.stdout.isatty() else 140)
    if name is None:
        for each in names():
            console.print(f"{each:<28} {read(each)['title']}")
        return
    recipe = read(name)
    folder = out or _folder(name, scale)
    wanted = requests(recipe, scale)
    minutes = recipe["scales"][scale].get("minutes", "?")
    console.print(f"{recipe['title']} ({recipe['paper']}); about {minutes} minutes; writing to {folder}")
    for label, seeds in wanted.items():
        for request in seeds:
            place = folder / label / f"seed-{request['seed']}"
            if not (place / "summary.json").exists():
                console.print(f"{label}, seed {request['seed']}", style="bold")
                asked = {**request, "data_root": str(data_root)} if data_root else request
                session.one(asked, place, console, quiet=False, resume=place.exists())
    lines = table(recipe, folder, scale)
    (folder / "table.md").write_text(to_markdown(recipe, scale, lines), encoding="utf-8")
    _show(recipe, scale, lines, console)
    console.print(f"table in {folder / 'table.md'}")


def to_markdown(recipe: Mapping[str, Any], scale: str, lines: list[Line]) -> str:
    """Write a recipe's table down.

    Args:
        recipe: its content.
        scale: the scale that was run.
        lines: the table.

    Returns:
        Markdown.
    """
    rows = [f"### {recipe['title']}", "", f"{recipe['paper']}. Scale `{scale}`: {_of_scale(recipe, 'distance', scale)}", ""]
    rows += ["| run | metric | ours | seeds | paper | within tolerance |", "|---|---|---|---|---|---|"]
    for line in lines:
        rows.append(f"| {line.label} | {line.metric} | {_ours(line)} | {line.seeds} | {_paper(line)} | {line.verdict} |")
    finding = _of_scale(recipe, "finding", scale)
    return "\n".join(rows + ["", f"**Finding.** {finding.strip()}"] * bool(finding)) + "\n"


def write_results(file: Path, root: Path, scale: str) -> None:
    """Write the tables of all recipes into one file, from recorded runs alone; nothing is run.

    Args:
        file: Markdown; is replaced.
        root: the folder in which each recipe's runs lie under `NAME-SCALE`.
        scale: the scale that was run.

    Raises:
        UserError: no recipe has a finished run there.
    """
    claims, parts, missing = [], [], []
    for name in names():
        recipe, folder = read(name), _folder(name, scale, root)
        lines = table(recipe, folder, scale) if scale in recipe["scales"] else []
        claims += [_claim(name, line) for line in lines if line.paper is not None]
        if any(line.ours is not None for line in lines):
            command = f"simulate recipe {name}" + ("" if scale == "small" else f" --scale {scale}")
            parts.append(f"{to_markdown(recipe, scale, lines)}\n`{command}`: {_record(folder)}.\n")
        else:
            missing.append(f"`{name}`")
    if not parts:
        raise UserError(f"no finished run of a recipe in '{root}'; run one first: simulate recipe NAME")
    head = "# Published claims, and what our runs gave\n\nPercent, means over seeds with 95 % intervals (Student's t).\n"
    head += "Written by `simulate recipe --results` from recorded runs.\n\n## Every published number\n\n"
    head += "| recipe | run | metric | published | ours | seeds | verdict |\n|---|---|---|---|---|---|---|\n"
    head += "".join(claims) + "\n## Recipe by recipe\n"
    tail = f"Not run yet: {', '.join(missing)}.\n" if missing else ""
    file.write_text("\n".join([head, *parts, tail]).rstrip() + "\n", encoding="utf-8")


def _claim(name: str, line: Line) -> str:
    # One row of the table of all published numbers.
    verdict = {"": "another protocol, see below", "yes": "within tolerance"}.get(line.verdict, line.verdict)
    verdict = verdict if line.ours is not None else ""
    return f"| {name} | {line.label} | {line.metric} | {_paper(line)} | {_ours(line)} | {line.seeds} | {verdict} |\n"


def _folder(name: str, scale: str, root: Path = Path("simulations")) -> Path:
    return root / f"{name}-{scale}"


def _record(folder: Path) -> str:
    # Which code the runs were made with, on what, and how long they took.
    import json

    summaries = [json.loads(path.read_text()) for path in folder.glob("*/seed-*/summary.json")]
    environments = [json.loads(path.read_text()) for path in folder.glob("*/seed-*/environment.json")]
    minutes = sum(summary.get("wall_seconds", 0) for summary in summaries) / 60
    commits = sorted({(each["code"].get("commit") or each["code"]["version"])[:7] for each in environments})
    machines = sorted({f"{each['device']['name']}, {each['threads']} threads, torch {each['torch']}" for each in environments})
    return f"{len(summaries)} runs, {minutes:.0f} minutes in all; {'; '.join(machines)}; code {', '.join(commits)}"


def _named(request: Mapping[str, Any]) -> dict[str, Any]:
    sections = ("scenario", "strategy", "network")
    return {key: {"name": value} if key in sections and isinstance(value, str) else value for key, value in request.items()}


def _line(entry: Mapping[str, Any], folder: Path) -> Line:
    import json

    from metrics.statistics import over_seeds

    values, halves = [], []
    path, _, last = entry["metric"].rpartition(".")
    for summary in sorted((folder / entry["run"]).glob("seed-*/summary.json")):
        at: Any = json.loads(summary.read_text())
        for key in path.split(".") if path else ():
            at = at.get(key, {})
        if isinstance(at.get(last), (int, float)):
            values.append(float(at[last]))
            if last == "mean" and "ci95" in at:
                halves.append(float(at["ci95"]))
    spread = over_seeds(values) if values else None
    ours = spread.mean if spread else None
    paper, tolerance = entry.get("value"), entry.get("tolerance")
    verdict = ""
    if spread and ours is not None and paper is not None and tolerance is not None:
        if "sem" in entry:
            tolerance += 3 * math.hypot(entry["sem"], (spread.sd or 0.0) / math.sqrt(spread.n))
        verdict = "yes" if abs(ours - paper) <= tolerance else f"no ({100 * (ours - paper):+.1f} points)"
    half = spread.ci95 if spread else None
    within = math.hypot(*halves) / len(halves) if halves else None
    return Line(entry["run"], entry["metric"], ours, half, len(values), paper, entry.get("source", ""), verdict, within)


def _of_scale(recipe: Mapping[str, Any], entry: str, scale: str) -> str:
    text = recipe.get(entry, "")
    return text.get(scale, "") if isinstance(text, Mapping) else text


def _ours(line: Line) -> str:
    if line.ours is None:
        return "not run"
    interval = "" if line.half is None or math.isnan(line.half) else f" ± {100 * line.half:.2f}"
    episodes = "" if line.within is None else f" (± {100 * line.within:.2f} over episodes)"
    return f"{100 * line.ours:.2f}{interval}{episodes}"


def _paper(line: Line) -> str:
    return "" if line.paper is None else f"{100 * line.paper:.2f} ({line.source})" if line.source else f"{100 * line.paper:.2f}"


def _show(recipe: Mapping[str, Any], scale: str, lines: list[Line], console: Console) -> None:
    from rich.table import Table

    shown = Table(title=recipe["title"], title_justify="left")
    for heading in ("run", "metric", "ours %", "seeds", "paper %", "within tolerance"):
        shown.add_column(heading, overflow="fold")
    for line in lines:
        shown.add_row(line.label, line.metric, _ours(line), str(line.seeds), _paper(line), line.verdict)
    console.print(shown)
    if any(line.ours is not None for line in lines) and (finding := _of_scale(recipe, "finding", scale)):
        console.print(f"what our recorded runs said: {finding.strip()}")
