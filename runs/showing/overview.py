"""The page that says of every strategy for streams where it works, what it keeps from the past, and what a step costs beside fine-tuning's.

`python -m runs.showing.overview docs/strategies.md` writes it. Settings come from components; what is kept and what it costs, from here.
"""

from __future__ import annotations

import sys
from pathlib import Path

from scenarios.registry import Registry

KEPT_AND_COST = {
    "naive": ("nothing", "F: one pass forward and back of a batch"),
    "joint": ("all images", "F a step; anew on all experiences met, about T / 2 times the steps"),
    "cumulative": ("all images", "F a step, about T / 2 times the steps"),
    "replay": ("M images", "2 F"),
    "der": ("M images and their logits", "2 F"),
    "der++": ("M images and their logits", "3 F"),
    "er-ace": ("M images", "2 F"),
    "mir": ("M images", "3 F, and two passes forward of the candidates"),
    "agem": ("M images", "2 F, and a product of two gradients"),
    "gem": ("M images", "F, one more over each earlier experience's memory, and a quadratic programme of their number"),
    "icarl": ("M images, a mean feature a class", "F and a pass forward of the old network; (n + M) / n times the steps"),
    "bic": ("M images, two numbers an experience", "F and a pass forward of the old network; (n + M) / n times the steps"),
    "lucir": ("M images, as many of each class", "F and a pass forward of the old network; (n + M) / n times the steps"),
    "gdumb": ("M images", "nothing in the stream; F a step on the memory alone"),
    "dgr": ("a generator", "2 F, the old network's pass forward, and the generator's training"),
    "ncm": ("a sum a class", "one pass forward an example"),
    "slda": ("a sum a class, a matrix of F x F features", "one pass forward an example, and a product of features"),
    "ranpac": ("a sum a class, a matrix of P x P projections", "one pass forward an example, and a product of projections"),
    "packnet": ("whose each weight is", "F, half as many steps again"),
    "lwf": ("nothing (the old network while it learns)", "F and a pass forward of the old network"),
    "ewc": ("two numbers a parameter", "F, and a Fisher pass after each experience"),
    "online-ewc": ("two numbers a parameter", "F, and a Fisher pass after each experience"),
    "si": ("three numbers a parameter", "F, and the path integral"),
    "mas": ("two numbers a parameter", "F, and a sensitivity pass after each experience"),
    "kfac": ("two factors a layer", "F, and products with the factors; factor passes after each experience"),
    "xkfac": ("two factors a layer", "F, and products with the factors; factor passes after each experience"),
    "alasso": ("three numbers and a byte a parameter", "F, the path integral, and a fit after each experience"),
    "rescl": ("nothing (the old network while it learns)", "two stages: F, then about 2 F"),
    "hnet-cnet": ("a generator, a classifier and a part of the network for each experience", "F, and the index modules' training"),
    "METHOD+replay": ("M images, and what the method keeps", "2 F, and what the method adds"),
}
"""For each strategy for streams: what it keeps of earlier experiences, and what a step costs."""

HEAD = """# Strategies for streams: where they work, what they keep, what they cost

    simulate list strategies --family memory
    simulate list strategies der++

M is `strategy.memory`, T the number of experiences, n the examples of one, F a pass forward and back of one batch. A batch of remembered
examples is as large as one of new ones unless `strategy.batch_size` says otherwise. What a memory takes in bytes is in the summary
(`replay_memory`). *Free*: needs no word of where an experience ends (`scenario.online=true`). This page is written by
`python -m runs.showing.overview docs/strategies.md`.

| strategy | family | task | domain | class | free | keeps | a step costs |
|---|---|---|---|---|---|---|---|
"""


def family(place: str) -> str:
    """The family of a component.

    Args:
        place: `module:Class`.

    Returns:
        The folder inside the room; empty where it lies above all families.
    """
    parts = place.partition(":")[0].split(".")
    return parts[1] if len(parts) > 2 else ""


def markdown(registry: Registry) -> str:
    """The page.

    Args:
        registry: of strategies.

    Returns:
        Markdown.
    """
    lines = []
    for name, (kept, cost) in KEPT_AND_COST.items():
        row = registry.rows[name]
        component = registry.load(name.replace("METHOD", "ewc"))[0]
        marks = ["x" if setting in component.settings else "" for setting in ("task", "domain", "class")]
        free = "" if component.needs_boundaries else "x"
        shown = name.replace("METHOD", "ewc") + ", ..." if "METHOD" in name else name
        lines.append(f"| `{shown}` | {family(row.place) or '-'} | {' | '.join(marks)} | {free} | {kept} | {cost} |")
    return HEAD + "\n".join(lines) + "\n"


if __name__ == "__main__":
    from strategies.registry import strategies

    Path(sys.argv[1]).write_text(markdown(strategies), encoding="utf-8")
