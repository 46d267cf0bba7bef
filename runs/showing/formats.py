"""A comparison as a file: Markdown, CSV, LaTeX (booktabs) or JSON."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

from runs.recording.files import making, write_text
from runs.showing.compare import Table, cell


def to_markdown(content: Table) -> str:
    """Write a comparison as a Markdown table.

    Args:
        content: the comparison.

    Returns:
        The table, its title above and its notes below.
    """
    header = ["strategy", "seeds", *(column.heading for column in content.columns)]
    lines = [header, ["---", *["---:"] * (len(header) - 1)]]
    for row in content.rows:
        cells = [cell(row, column, "{mean} ± {ci95} ({sd})", "**{}**") for column in content.columns]
        lines.append([row.label.replace("|", "\\|"), str(len(row.seeds)), *cells])
    body = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{content.title}\n\n{body}\n\n{' '.join(content.notes)}".rstrip() + "\n"


def to_csv(content: Table) -> str:
    """Write a comparison as CSV, in the summary's own units and at full precision.

    Args:
        content: the comparison.

    Returns:
        One line a group, five columns a number; a cell is empty where there is no such number.
    """
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    parts = ("mean", "sd", "se", "ci95", "n")
    writer.writerow(["strategy", "seeds", *(f"{column.key}_{part}" for column in content.columns for part in parts)])
    for row in content.rows:
        spreads = [row.values.get(column.key) for column in content.columns]
        cells = [getattr(spread, part) if spread else None for spread in spreads for part in parts]
        writer.writerow([row.label, " ".join(map(str, row.seeds)), *cells])
    return text.getvalue()


def to_json(content: Table) -> str:
    """Write a comparison as JSON, in the summary's own units and at full precision.

    Args:
        content: the comparison.

    Returns:
        An object with the title, the notes, for each group its seeds and numbers, and the comparisons of the best with the others.
    """
    rows = []
    for row in content.rows:
        values = {key: {**asdict(spread), "se": spread.se} for key, spread in row.values.items()}
        rows.append({"strategy": row.label, "seeds": list(row.seeds), "best_in": sorted(row.best), "values": values})
    whole = {"title": content.title, "rows": rows, "comparisons": list(content.comparisons), "notes": list(content.notes)}
    return json.dumps(whole, indent=2) + "\n"


def to_latex(content: Table) -> str:
    """Write a comparison as a LaTeX table of the package booktabs.

    Args:
        content: the comparison.

    Returns:
        A `tabular`, its notes as comments above.
    """
    lines = [f"% {line}" for line in (content.title, *content.notes)]
    lines += [f"\\begin{{tabular}}{{lr{'r' * len(content.columns)}}}", "\\toprule"]
    lines += [" & ".join(["strategy", "seeds", *(_tex(column.heading) for column in content.columns)]) + " \\\\", "\\midrule"]
    for row in content.rows:
        cells = [cell(row, column, "{mean} $\\pm$ {ci95}", "\\textbf{{{}}}") for column in content.columns]
        lines.append(" & ".join([_tex(row.label), str(len(row.seeds)), *cells]).replace("±", "$\\pm$").replace("–", "--") + " \\\\")
    return "\n".join([*lines, "\\bottomrule", "\\end{tabular}"]) + "\n"


FORMATS = {
    "markdown": ("table.md", to_markdown),
    "csv": ("table.csv", to_csv),
    "latex": ("table.tex", to_latex),
    "json": ("table.json", to_json),
}
"""Name of a format to the file's name and the function that writes it."""


def write(content: Table, folder: Path, formats: Iterable[str] = ("markdown", "csv", "json")) -> list[Path]:
    """Write a comparison into files.

    Args:
        content: the comparison.
        folder: where to; is made.
        formats: of `FORMATS`.

    Returns:
        The files.
    """
    with making(folder):
        folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for name in formats:
        file, text = FORMATS[name]
        write_text(folder / file, text(content))
        paths.append(folder / file)
    return paths


def _tex(text: str) -> str:
    words = {"\\": "\\textbackslash{}", "~": "\\textasciitilde{}", "^": "\\textasciicircum{}"}
    special = words | {letter: f"\\{letter}" for letter in "&%$#_{}"}
    return "".join(special.get(letter, letter) for letter in text)
