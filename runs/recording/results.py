"""RESULTS.md, and the tables of the README, made of records alone; and a recipe's table for the terminal.

`simulate recipe NAME` adds records and writes both files anew: nothing but the rows of its recipe changes. A test makes them and compares.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs.recording import files, findings, records
from runs.recording import recipe as recipes
from runs.recording.code import ROOT
from runs.recording.records import Record
from runs.recording.rows import Row, count, table
from scenarios.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console

Last = Callable[[Row | None], str]
"""What stands in a table's last column: of a row, or of None its heading."""

FILE = ROOT / "RESULTS.md"
README = ROOT / "README.md"
BEGIN, END = "<!-- made of runs/records by `simulate recipe --results`: begin -->", "<!-- end -->"

HEAD = """# Published claims, and what our runs gave

Made of the records in `runs/records/` alone, by `simulate recipe --results`. Percent; means over seeds with 95 % intervals (Student's t).
A row's last cell leads from each seed to its record: resolved configuration, summary, environment, commit.
`simulate recipe NAME --show ROW SEED` prints it, `simulate recipe NAME --rows ROW --repeat` runs it again.

*Verdict*: our interval against the published mean ± the recipe's margin. *Within*: all of the interval lies inside. *Outside*: all of it
lies outside. *Undecided*: else, and always with one seed. *Another protocol*: ours differs too much to judge. *Outdated*: the recipe would
be run with other options today.

## Every published number

| recipe | run | metric | published | margin | ours | seeds | verdict |
|---|---|---|---|---|---|---|---|
"""


def everything(folder: Path | None = None) -> str:
    """Write the results of all recipes down.

    Args:
        folder: where the records lie; by default those of the repository.

    Returns:
        The content of RESULTS.md.
    """
    claims, parts, missing = [], [], []
    for name in recipes.names():
        recipe, known = recipes.read(name), records.read(name, folder)
        scales = [scale for scale in recipe["scales"] if any(record.scale == scale for record in known)]
        if not scales:
            missing.append(f"[{name}](runs/recipes/{name}.yaml)")
        for scale in scales or list(recipe["scales"])[:1]:
            claims += [_claim(name, scale, row) for row in table(recipe, known, scale) if row.paper is not None]
        parts += [to_markdown(name, recipe, known, scale) for scale in scales]
    tail = f"\nNo record yet: {', '.join(missing)}.\n" if missing else ""
    return HEAD + "".join(claims) + "\n## Recipe by recipe\n\n" + "\n".join(parts) + tail


def to_markdown(name: str, recipe: Mapping[str, Any], known: Sequence[Record], scale: str) -> str:
    """Write one recipe's results down.

    Args:
        name: the recipe's.
        recipe: its content.
        known: its records.
        scale: one of its scales.

    Returns:
        Markdown: title, distance to the paper, table, what machines gave, finding, and what the runs were made with.
    """
    rows = table(recipe, known, scale)
    lines = [f"### {recipe['title']}", "", f"{recipe['paper']}. Scale `{scale}`: {recipes.text(recipe, 'distance', scale)}", ""]
    lines += _long(name, rows) if any(row.paper is not None for row in rows) else _wide(rows, _links_of(name))
    lines += [line for row in rows if (line := _machines(row))]
    if finding := findings.told(recipe, known, scale):
        lines += ["", f"**Finding.** {finding}"]
    return "\n".join([*lines, "", _made_with(name, recipe, known, scale)]) + "\n"


def headlines(folder: Path | None = None) -> str:
    """Write the tables of the README down.

    Args:
        folder: where the records lie; by default those of the repository.

    Returns:
        Markdown: for each recipe that asks for it its table, and how many published numbers are within, outside and undecided.
    """
    parts, verdicts = [], []
    for name in recipes.names():
        recipe, known = recipes.read(name), records.read(name, folder)
        for scale in recipe["scales"]:
            rows = table(recipe, known, scale)
            verdicts += [row.verdict.split()[0].rstrip(":") for row in rows if row.margin is not None and row.spread]
        if recipe.get("headline") and known:
            parts.append(_headline(name, recipe, table(recipe, known, "small")))
    told = ", ".join(f"{verdicts.count(word)} {word}" for word in ("within", "outside", "undecided", "outdated") if word in verdicts)
    judged = f"[RESULTS.md](RESULTS.md) sets every published number beside ours; of {len(verdicts)} with records and a margin: {told}.\n"
    return "\n".join([*parts, judged] if verdicts else parts)


def refresh(folder: Path | None = None, file: Path = FILE, readme: Path = README) -> None:
    """Write RESULTS.md, and the README's part between its two marks.

    Args:
        folder: where the records lie; by default those of the repository.
        file: is replaced.
        readme: its part is replaced, where it has one.
    """
    files.write_text(file, everything(folder))
    if readme.exists():
        content = readme.read_text(encoding="utf-8")
        part = f"{BEGIN}\n{headlines(folder)}{END}"
        files.write_text(readme, re.sub(f"{re.escape(BEGIN)}.*?{re.escape(END)}", lambda _: part, content, flags=re.DOTALL))


def show(recipe: Mapping[str, Any], known: Sequence[Record], scale: str, console: Console) -> None:
    """Print a recipe's table.

    Args:
        recipe: its content.
        known: its records.
        scale: one of its scales.
        console: where to.
    """
    from rich.table import Table

    shown = Table(title=recipe["title"], title_justify="left")
    for heading in ("run", "metric", "ours %", "seeds", "published %", "verdict"):
        shown.add_column(heading, overflow="fold")
    for row in table(recipe, known, scale):
        shown.add_row(row.shown, row.metric, ours(row), _seeds(row), _published(row), row.verdict)
    console.print(shown)
    if finding := findings.told(recipe, known, scale):
        console.print(finding)


def traced(name: str, row: str, seed: str, scale: str, folder: Path | None = None) -> str:
    """Find the records of one run of a recipe.

    Args:
        name: the recipe's.
        row: its label.
        seed: its seed, as the user wrote it.
        scale: one of the recipe's scales.
        folder: where the records lie; by default those of the repository.

    Returns:
        JSON: the file, and its records of the run, each with its line and what is outdated about it.

    Raises:
        UserError: there is no such row, or no record of it.
    """
    recipe = recipes.read(name)
    requests = recipes.rows(recipe, scale, row)[row]
    known = [record for record in records.read(name, folder) if (record.scale, record.row) == (scale, row)]
    mine = [record for record in known if str(record.seed) == seed]
    if not mine:
        there = ", ".join(map(str, sorted({record.seed for record in known}))) or "none"
        raise UserError(f"no record of {name}, row {row}, seed {seed} at scale {scale} (seeds with one: {there})")
    found = [{**vars(record), "outdated": records.outdated(record, {**requests[0], "seed": record.seed})} for record in mine]
    return json.dumps({"file": f"runs/records/{name}.jsonl", "records": found}, indent=2)


def ours(row: Row) -> str:
    """Write our number: in percent, durations in seconds, memory in MiB.

    Args:
        row: of a table.

    Returns:
        Mean, interval over seeds, and for few-shot accuracies the interval over episodes.
    """
    if row.spread is None:
        return "–"
    factor, digits, unit = _unit(row.metric)
    interval = "" if row.spread.ci95 is None else f" ± {factor * row.spread.ci95:.{digits}f}"
    episodes = "" if row.within is None else f" (± {factor * row.within:.{digits}f} over episodes)"
    return f"{factor * row.spread.mean:.{digits}f}{interval}{episodes}{unit}"


def _unit(metric: str) -> tuple[float, int, str]:
    # What a number is multiplied by, its digits, and what stands behind it.
    if metric.endswith("seconds"):
        return 1, 1, " s"
    return (2**-20, 0, " MiB") if metric.endswith("bytes") else (100, 2, "")


def side_by_side(rows: Sequence[Row]) -> list[str]:
    """Write a table without its records: a line for each number where one of them is published, else a line for each run.

    Args:
        rows: of one recipe.

    Returns:
        Lines of Markdown.
    """
    if all(row.paper is None for row in rows):
        return _wide(rows, _seconds_of)
    lines = ["| run | metric | ours | seeds | published | verdict |", "|---|---|---|---|---|---|"]
    return lines + [
        f"| {' | '.join((row.shown, row.metric, ours(row), _seeds(row), _published(row), row.verdict))} |"
        for row in rows
        if row.spread or row.paper is not None
    ]


def _claim(name: str, scale: str, row: Row) -> str:
    # One line of the table of all published numbers.
    margin = "" if row.margin is None else f"± {100 * row.margin:g}"
    of = f"[{name}](runs/recipes/{name}.yaml)" + ("" if scale == "small" else f" at scale {scale}")
    cells = (of, row.shown, row.metric, _published(row), margin, ours(row), _seeds(row), row.verdict)
    return f"| {' | '.join(cells)} |\n"


def _published(row: Row) -> str:
    if row.paper is None:
        return ""
    return f"{100 * row.paper:.2f} ({row.source})" if row.source else f"{100 * row.paper:.2f}"


def _seeds(row: Row) -> str:
    known = row.spread.n if row.spread else 0
    return str(known) if known == row.wanted else f"{known} of {row.wanted}"


def _links(name: str, row: Row) -> str:
    return " ".join(f"[{record.seed}](runs/records/{name}.jsonl#L{record.line})" for record in row.counted.records)


def _machines(row: Row) -> str:
    # What several machines gave for one seed: the spread that rounding alone makes.
    parts = []
    for seed, several in row.counted.by_seed.items():
        if len(several) > 1:
            gave = [f"{100 * value:.2f} ({record.machine})" for record in several if (value := record.number(row.metric)) is not None]
            parts.append(f"seed {seed}: {', '.join(gave)}")
    return f"\nOn several machines, {row.shown}, {row.metric}: {'; '.join(parts)}." if parts else ""


def _made_with(name: str, recipe: Mapping[str, Any], known: Sequence[Record], scale: str) -> str:
    wanted = recipes.requests(recipe, scale)
    used = [record for label, requests in wanted.items() for record in count(known, label, requests, scale).records]
    seconds = [each for each in (record.number("cpu_seconds") for record in used) if each is not None]
    least = "" if len(seconds) == len(used) else "at least "
    took = f", {least}{sum(seconds) / 60:.0f} minutes of processor time" if seconds else ""
    machines, codes = sorted({record.machine for record in used}), sorted({record.code for record in used})
    command = f"simulate recipe {name}" + ("" if scale == "small" else f" --scale {scale}")
    return f"`{command}`: {len(used)} runs{took}; {'; '.join(machines)}; code {', '.join(codes)}."


def _headline(name: str, recipe: Mapping[str, Any], rows: Sequence[Row]) -> str:
    asked = recipe["headline"] if isinstance(recipe["headline"], Mapping) else {}
    metrics = asked.get("metrics", list(dict.fromkeys(row.metric for row in rows)))
    chosen = [row for row in rows if row.metric in metrics and (row.label in asked.get("runs", [row.label])) and row.spread]
    heading = f"**{recipe['title']}** (`simulate recipe {name}`), in percent:"
    return "\n".join([heading, "", *_wide(chosen, _seconds_of)]) + "\n"


def _long(name: str, rows: Sequence[Row]) -> list[str]:
    # A line for each number: where there are published ones, each has a verdict.
    lines = ["| run | metric | ours | seeds | published | verdict | records |", "|---|---|---|---|---|---|---|"]
    for row in rows:
        cells = (row.shown, row.metric, ours(row), _seeds(row), _published(row), row.verdict, _links(name, row))
        lines.append(f"| {' | '.join(cells)} |")
    return lines


def _wide(rows: Sequence[Row], last: Last) -> list[str]:
    # A line for each run, its metrics side by side; runs without a record are named below.
    metrics = list(dict.fromkeys(row.metric for row in rows))
    heads = ["run", *(_heading(metric) for metric in metrics), "seeds", last(None)]
    by_run: dict[str, dict[str, Row]] = {}
    for row in rows:
        by_run.setdefault(row.label, {})[row.metric] = row
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for mine in by_run.values():
        known = [row for row in mine.values() if row.spread]
        if known:
            most = max(known, key=lambda row: len(row.counted.records))
            why = f" ({most.verdict})" if most.counted.why else ""
            cells = [ours(mine[metric]) if metric in mine else "" for metric in metrics]
            lines.append(f"| {' | '.join([most.shown + why, *cells, _seeds(most), last(most)])} |")
    empty = [next(iter(mine.values())).shown for mine in by_run.values() if not any(row.spread for row in mine.values())]
    return [*lines, *(["", f"No record yet: {', '.join(empty)}."] if empty else [])]


def _heading(metric: str) -> str:
    told = {"average_accuracy": "average accuracy", "average_forgetting": "forgetting", "few_shot_accuracy.mean": "accuracy"}
    short = metric
    for prefix in ("unlearning.", "attack.", "pl_accuracy.by_piggybacker."):
        short = short.removeprefix(prefix)
    short = short.replace("pl_accuracy.by_size.", "PL at ").replace("pl_accuracy.", "PL ").removesuffix(".mean")
    return told.get(metric, short.replace("_", " "))


def _links_of(name: str) -> Last:
    return lambda row: "records" if row is None else _links(name, row)


def _seconds_of(row: Row | None) -> str:
    if row is None:
        return "processor seconds a run"
    seconds = list(row.counted.values("cpu_seconds").values())
    return f"{sum(seconds) / len(seconds):.0f}" if seconds else ""
