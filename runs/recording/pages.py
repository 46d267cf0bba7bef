"""The numbers and the figures of the pages of methods, made of records alone: `python -m runs.recording.pages`.

A page has a part between two marks; what stands there is written anew with RESULTS.md. A page's figure is drawn when its part has changed,
or where it is not there.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs.recording import files, findings, records, results
from runs.recording import recipe as recipes
from runs.recording.code import ROOT
from runs.recording.rows import Row, table

DOCS = ROOT / "docs"
BEGIN, END = "<!-- made of runs/records by `python -m runs.recording.pages`: begin -->", "<!-- end -->"
ALL = ".*"


@dataclass(frozen=True)
class Part:
    """What a page shows of one recipe.

    Attributes:
        recipe: its name.
        rows: a regular expression that matches the labels of the rows that are shown.
        metrics: names in the summary, the first of which is drawn; none for all of the recipe.
        finding: whether the recipe's finding is told.
        drawn: whether it is part of the page's figure.
    """

    recipe: str
    rows: str = ALL
    metrics: tuple[str, ...] = ()
    finding: bool = True
    drawn: bool = True


ACCURACY = ("average_accuracy", "average_forgetting")
ATTACK = ("attack.drop", "attack.clean", "attack.noise", "attack.attacked")
PAGES: Mapping[str, Sequence[Part]] = {
    "methods/penalties.md": (
        Part("penalty-defaults", "permuted-mnist-.*|split-mnist-domain-.*", finding=False),
        Part("permuted-mnist-alasso-margin"),
        Part("permuted-mnist-xkfac"),
        Part("split-mnist-ewc-si", "(ewc|si)-domain", finding=False, drawn=False),
    ),
    "methods/l2f.md": (
        Part("cifar-fs", "(maml|l2f)-.shot", finding=False),
        Part("cifar-fs-authors", "maml|l2f", drawn=False),
        Part("glyphs", "maml|l2f", finding=False),
    ),
    "methods/cxgrad.md": (
        Part("cifar-fs", "(maml|l2f|cxgrad)-.shot", finding=False),
        Part("cifar-fs-authors", "maml|cxgrad", drawn=False),
        Part("glyphs-combinations", ".*cxgrad.*", finding=False),
    ),
    "methods/tapl.md": (
        Part("glyphs", "maml|l2f|tapl.*|label-propagation.*"),
        Part("cifar-fs", "(maml|l2f|tapl|label-propagation)(-own|-constant-bandwidth)?-.shot"),
        Part("omniglot-20way", drawn=False),
        Part("glyphs-combinations", ".*tapl", finding=False, drawn=False),
    ),
    "methods/protonet.md": (
        Part("glyphs", "protonet|label-propagation|maml", finding=False),
        Part("domains-glyphs", metrics=ACCURACY),
        Part("cifar-fs", "(protonet|maml)-.shot", finding=False),
    ),
    "methods/few-shot.md": (
        Part("glyphs-solvers"),
        Part("glyphs", "protonet|maml|label-propagation", finding=False),
    ),
    "methods/rescl.md": (
        Part("split-cifar10", metrics=ACCURACY),
        Part("split-cifar-generated", metrics=ACCURACY, finding=False),
    ),
    "methods/hnet-cnet.md": (Part("sequence-hnet"), Part("split-mnist-hnet"), Part("hnet-mnist-svhn", drawn=False)),
    "methods/memory.md": (
        Part("avalanche-split-mnist", r"(naive|replay|der\+\+|icarl)-class|(naive|agem)-task", metrics=ACCURACY, finding=False),
        Part("split-cifar10-buffers"),
        Part("sequence-hnet", "naive|lwf|replay.*", metrics=ACCURACY, finding=False),
    ),
    "attacks.md": (
        Part("attack-victims", "(permuted|rotated)-(task-)?[a-z]+", ATTACK, finding=False),
        Part("attack-defences", metrics=ATTACK, finding=False, drawn=False),
    ),
    "disposal.md": (
        Part("disposal-fashion", metrics=("pl_accuracy.best", "unlearning.target_accuracy", "unlearning.old_head_accuracy")),
    ),
    "bridges.md": (Part("avalanche-split-mnist"), Part("avalanche-split-cifar10")),
}  # fmt: skip
"""Which pages have such a part, relative to the folder of documentation."""


def figure_of(page: str) -> str:
    """Where a page's figure lies.

    Args:
        page: one of `PAGES`.

    Returns:
        A path relative to the folder of documentation.
    """
    return f"figures/{Path(page).stem}.svg"


def shown(part: Part, folder: Path | None = None) -> list[Row]:
    """The rows of a part.

    Args:
        part: of a page.
        folder: where the records lie; by default those of the repository.

    Returns:
        Numbers of the recipe's first scale, in its order.
    """
    recipe, known = recipes.read(part.recipe), records.read(part.recipe, folder)
    rows = table(recipe, known, _scale(recipe))
    return [row for row in rows if re.fullmatch(part.rows, row.label) and row.metric in (part.metrics or (row.metric,))]


def gathered(page: str, folder: Path | None = None) -> list[tuple[Part, list[Row]]]:
    """The rows of all parts of a page.

    Args:
        page: one of `PAGES`.
        folder: where the records lie; by default those of the repository.

    Returns:
        For each part its rows.
    """
    return [(part, shown(part, folder)) for part in PAGES[page]]


def panels(parts: Sequence[tuple[Part, Sequence[Row]]]) -> list[tuple[str, list[Row]]]:
    """What a page's figure shows.

    Args:
        parts: what `gathered` gave.

    Returns:
        For each recipe that is drawn and has records its name, and the rows of its first metric.
    """
    found = []
    for part, rows in parts:
        known = [row for row in rows if part.drawn and row.spread]
        first = part.metrics[:1] or tuple(row.metric for row in known[:1])
        if known:
            found.append((part.recipe, [row for row in known if row.metric in first]))
    return found


def written(page: str, parts: Sequence[tuple[Part, Sequence[Row]]], folder: Path | None = None) -> str:
    """Write a page's part down.

    Args:
        page: one of `PAGES`.
        parts: what `gathered` gave.
        folder: where the records lie; by default those of the repository.

    Returns:
        Markdown: the figure, and for each recipe its table and its finding.
    """
    to_docs = "../" * page.count("/")
    lines = []
    if panels(parts):
        lines = [f"![Means and 95 % intervals over seeds; diamonds: published, where there is a number]({to_docs}{figure_of(page)})", ""]
    for part, rows in parts:
        lines += _part(part, rows, folder, f"{to_docs}../RESULTS.md")
    return "\n".join(lines).rstrip() + "\n"


def refresh(docs: Path = DOCS, folder: Path | None = None) -> list[Path]:
    """Write all pages' parts, and draw the figures of those that changed.

    Args:
        docs: the folder of documentation.
        folder: where the records lie; by default those of the repository.

    Returns:
        The figures that were drawn.
    """
    drawn = []
    for page in PAGES:
        file, figure = docs / page, docs / figure_of(page)
        if not file.exists():
            continue
        parts = gathered(page, folder)
        content = file.read_text(encoding="utf-8")
        before, own, behind = content.partition(BEGIN)[0], written(page, parts, folder), content.partition(END)[2]
        changed = f"{before}{BEGIN}\n\n{own}\n{END}{behind}"
        shown_now = panels(parts)
        if shown_now and (changed != content or not figure.exists()):
            from runs.plots import published, style

            drawn.append(style.save(published.draw(shown_now), figure))
        if changed != content:
            files.write_text(file, changed)
    return drawn


def _scale(recipe: Mapping[str, Any]) -> str:
    return next(iter(recipe["scales"]))


def _part(part: Part, rows: Sequence[Row], folder: Path | None, to_results: str) -> list[str]:
    recipe = recipes.read(part.recipe)
    heading = f"**{recipe['title']}** ([RESULTS]({to_results}), `simulate recipe {part.recipe}`)"
    if not any(row.spread for row in rows):
        return [f"{heading}: no record yet.", ""]
    finding = findings.told(recipe, records.read(part.recipe, folder), _scale(recipe)) if part.finding else None
    return [f"{heading}, in percent:", "", *results.side_by_side(rows), "", *([finding, ""] if finding else [])]


if __name__ == "__main__":
    for path in refresh():
        print(path)
