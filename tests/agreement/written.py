"""Stored numbers and the page's tables: `python -m tests.agreement.written` makes both anew from the references."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tests.agreement import context, curvature, streams

FOLDER = Path(__file__).parent
PAGE = FOLDER.parents[1] / "docs" / "agreement.md"
BEGIN, END = "<!-- stored numbers: python -m tests.agreement.written -->\n", "<!-- end -->\n"


def flattened(tree: Any, path: str = "") -> dict[str, float]:
    """Numbers of nested dictionaries and lists by their path."""
    if isinstance(tree, dict):
        children = list(tree.items())
    elif isinstance(tree, list):
        children = list(enumerate(tree))
    else:
        return {path: tree}
    return {name: value for key, child in children for name, value in flattened(child, f"{path}/{key}").items()}


def stored(name: str) -> Any:
    return json.loads((FOLDER / f"{name}.json").read_text(encoding="utf-8"))


def write(name: str, inputs: Any, outputs: Any) -> None:
    """One line for each entry, so that a change is seen where it is."""
    parts = [f'"{key}": {{\n{_lines(value)}\n}}' for key, value in (("inputs", inputs), ("outputs", outputs))]
    (FOLDER / f"{name}.json").write_text("{\n" + ",\n".join(parts) + "\n}\n", encoding="utf-8")


def _lines(tree: dict[str, Any]) -> str:
    return ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in tree.items())


def tables() -> str:
    """The page's tables, from the stored numbers alone."""
    of_streams = stored("streams")["outputs"]
    lines = ["| case | largest importance, after each experience | penalty elsewhere |", "|---|---|---|"]
    for case, each in of_streams.items():
        largest = ", ".join(f"{max(row):.9f}" for row in each["importance"])
        lines.append(f"| `{case}` | {largest} | {each['penalty_elsewhere']:.9f} |")
    found = stored("context")["outputs"]
    along = (found["outer_gradient_along_network"], found["outer_gradient_along_generator"])
    context_norm = ", ".join(f"{size:.9f}" for size in found["context_norm"])
    lines += ["", "| `cxgrad` | |", "|---|---|", f"| outer loss | {found['outer_loss']:.12f} |"]
    lines += [f"| length of the context after each inner step | {context_norm} |"]
    lines += [f"| outer gradient along a direction of the network | {along[0]:.8f} |"]
    lines += [f"| outer gradient along a direction of the generator of lengths | {along[1]:.8f} |"]
    lines += ["", "| layer | norm of the exact block | of K-FAC's | of XK-FAC's |", "|---|---|---|---|"]
    for name, each in stored("curvature")["outputs"].items():
        norms = [f"{np.linalg.norm(each[kind]):.9f}" if kind in each else "as K-FAC's" for kind in ("exact", "kfac", "xkfac")]
        lines.append(f"| `{name}` | {' | '.join(norms)} |")
    return "\n".join(lines) + "\n"


def main() -> None:
    """Compute the references, store their numbers, and put the tables into the page."""
    write("streams", streams.inputs(), {case: streams.outputs(case) for case in streams.CASES})
    write("context", context.inputs(), context.outputs())
    write("curvature", curvature.inputs(), curvature.outputs())
    before, rest = PAGE.read_text(encoding="utf-8").split(BEGIN)
    PAGE.write_text(before + BEGIN + "\n" + tables() + "\n" + END + rest.split(END)[1], encoding="utf-8")


if __name__ == "__main__":
    main()
