"""What recipes gave beside what was published: `simulate recipe NAME` shows one, `simulate recipe --results FILE` writes down all.

The file is made from recorded runs alone: one table of every published number, and below it each recipe's with its distance and finding.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs.recording import recipe as recipes
from scenarios.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


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


def table(recipe: Mapping[str, Any], folder: Path, scale: str) -> list[Line]:
    """Set what the runs gave beside what was published.

    Args:
        recipe: its content.
        folder: where its runs are; those that are not over are left out.
        scale: the scale that was run.

    Returns:
        A line for each expectation, and for each of the recipe's metrics of a run that nothing is expected of. A run of other settings than
        the recipe's is an error.
    """
    places = recipes.recorded(recipe, scale, folder)
    expected = list(recipe["scales"][scale].get("expected", recipe.get("expected", ())))
    metrics = recipe.get("metrics", ["average_accuracy"])
    covered = {(entry["run"], entry["metric"]) for entry in expected}
    rest = [{"run": label, "metric": metric} for metric in metrics for label in places if (label, metric) not in covered]
    lines = [_line(entry, places[entry["run"]]) for entry in expected + rest]
    # A further metric is left out where a run does not have it: learners without an index have no index accuracy.
    return [line for line in lines if line.ours is not None or line.paper is not None or line.metric == metrics[0]]


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


def write(file: Path, root: Path, scale: str) -> None:
    """Write the tables of all recipes into one file, from recorded runs alone; nothing is run.

    Args:
        file: Markdown; is replaced.
        root: the folder in which each recipe's runs lie under `NAME-SCALE`.
        scale: the scale that was run.

    Raises:
        UserError: no recipe has a finished run there.
    """
    claims, parts, missing = [], [], []
    for name in recipes.names():
        recipe, folder = recipes.read(name), recipes.folder(name, scale, root)
        lines = table(recipe, folder, scale) if scale in recipe["scales"] else []
        claims += [_claim(name, line) for line in lines if line.paper is not None]
        if any(line.ours is not None for line in lines):
            command = f"simulate recipe {name}" + ("" if scale == "small" else f" --scale {scale}")
            parts.append(f"{to_markdown(recipe, scale, lines)}\n`{command}`: {_record(recipe, scale, folder)}.\n")
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


def show(recipe: Mapping[str, Any], scale: str, lines: list[Line], console: Console) -> None:
    """Print a recipe's table.

    Args:
        recipe: its content.
        scale: the scale that was run.
        lines: the table.
        console: where to.
    """
    from rich.table import Table

    shown = Table(title=recipe["title"], title_justify="left")
    for heading in ("run", "metric", "ours %", "seeds", "paper %", "within tolerance"):
        shown.add_column(heading, overflow="fold")
    for line in lines:
        shown.add_row(line.label, line.metric, _ours(line), str(line.seeds), _paper(line), line.verdict)
    console.print(shown)
    if any(line.ours is not None for line in lines) and (finding := _of_scale(recipe, "finding", scale)):
        console.print(f"what our recorded runs said: {finding.strip()}")


def _claim(name: str, line: Line) -> str:
    # One row of the table of all published numbers.
    verdict = {"": "another protocol, see below", "yes": "within tolerance"}.get(line.verdict, line.verdict)
    verdict = verdict if line.ours is not None else ""
    return f"| {name} | {line.label} | {line.metric} | {_paper(line)} | {_ours(line)} | {line.seeds} | {verdict} |\n"


def _record(recipe: Mapping[str, Any], scale: str, folder: Path) -> str:
    # Which code the runs were made with, on what, and how long they took.
    import json

    places = [place for each in recipes.recorded(recipe, scale, folder).values() for place in each]
    summaries = [json.loads((place / "summary.json").read_text()) for place in places]
    environments = [json.loads((place / "environment.json").read_text()) for place in places]
    minutes = sum(summary.get("wall_seconds", 0) for summary in summaries) / 60
    commits = sorted({(each["code"].get("commit") or each["code"]["version"])[:7] for each in environments})
    machines = sorted({f"{each['device']['name']}, {each['threads']} threads, torch {each['torch']}" for each in environments})
    return f"{len(summaries)} runs, {minutes:.0f} minutes in all; {'; '.join(machines)}; code {', '.join(commits)}"


def _line(entry: Mapping[str, Any], places: list[Path]) -> Line:
    import json

    from metrics.statistics import over_seeds

    values, halves = [], []
    path, _, last = entry["metric"].rpartition(".")
    for place in places:
        at: Any = json.loads((place / "summary.json").read_text())
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
