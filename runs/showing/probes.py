"""What the probes of features found, on the terminal."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table


def features(found: Mapping[str, Any], console: Console) -> None:
    """Print linear probes and CKA by experience.

    Args:
        found: `feature_probe` of a summary.
        console: where to.
    """
    headings = {
        "head": "head",
        "own_head": "head, own classes",
        "linear_probe": "linear probe",
        "linear_probe_then": "just after learning",
        "floor": "initial weights",
        "cka": "CKA",
        "cka_initial": "CKA to initial",
    }
    shown = {key: heading for key, heading in headings.items() if key in found}
    title = "accuracy in %: through the head, and of linear probes on frozen features; is the knowledge gone, or only the head?"
    table = Table(title=title, title_justify="left", header_style="", box=box.SIMPLE_HEAD)
    for heading in ("experience", *shown.values()):
        table.add_column(heading, justify="left" if heading == "experience" else "right")
    for place, index in enumerate(found["experiences"]):
        numbers = {key: found[key][place] for key in shown}
        table.add_row(str(index), *(_shown(key, value) for key, value in numbers.items()))
    if "past" in found:
        table.add_row("mean, but the last", *(_shown(key, found["past"][key]) for key in shown))
    console.print(table)
    if "cka" not in found:
        console.print("the features just after learning are not known: the run was not made with --probe features")
    if "kept" in found.get("past", {}):
        share = f"{100 * found['past']['kept']:.0f} % of what a linear probe gained by learning"
        console.print(f"past experiences: {share} is still in the features", style="bold")


def _shown(key: str, value: float) -> str:
    return f"{value:.2f}" if key.startswith("cka") else f"{100 * value:.1f}"


def few_shot(found: Mapping[str, Any], console: Console) -> None:
    """Print the few-shot accuracy of frozen features.

    Args:
        found: `few_shot_probe` of a summary.
        console: where to.
    """
    for head, one in (("prototypes", found), ("adapted head", found.get("adapted_head"))):
        if one:
            few = ", too few to report" if one.get("too_few_episodes") else ""
            console.print(
                f"frozen features on {found['scenario']}, {head}: {found['ways']}-way {found['shots']}-shot accuracy "
                f"{100 * one['mean']:.2f} ± {100 * one['ci95']:.2f} % (95 % interval over {one['episodes']} episodes{few}); "
                f"initial weights {100 * one['floor']['mean']:.2f} %, difference {100 * one['above_floor']['mean']:+.2f} ± "
                f"{100 * one['above_floor']['ci95']:.2f}",
                style="bold",
            )


def stolen(found: Mapping[str, Any], console: Console) -> None:
    """Print how far and how soon each forgotten experience comes back.

    Args:
        found: `pl_accuracy` of a summary, of several experiences.
        console: where to.
    """
    title = f"PL accuracy in %: what retraining on {found['size']} examples per class gets back of each past experience"
    table = Table(title=title, title_justify="left", header_style="", box=box.SIMPLE_HEAD)
    headings = ("experience", "now", "just learned", "retrained", "never saw it", "had just learned it", "leakage", "steps", "never saw it")
    for heading in headings:
        table.add_column(heading, justify="left" if heading == "experience" else "right")
    for each in found["by_experience"]:
        numbers = [f"{100 * each[key]:.1f}" for key in ("now", "then")]
        numbers += [f"{100 * each['mean']:.1f} ± {100 * each['sd']:.1f}", f"{100 * each['floor']:.1f}", f"{100 * each['ceiling']:.1f}"]
        numbers.append(f"{100 * each['leakage']:.0f}" if "leakage" in each else "–")
        steps = [str(each.get(key, f"> {found['looks'][-1]}")) for key in ("relearn_steps", "floor_relearn_steps")]
        table.add_row(f"{each['experience']}: {each['name']}", *numbers, *steps)
    console.print(table)
    console.print("steps: of retraining, until 95 % of what the network that had just learned it comes to", style="dim")
    now = f"{100 * found['now']:.1f} % now, " if "now" in found else ""
    console.print(
        f"past experiences: {now}{100 * found['mean']:.1f} % after retraining; a network that never saw them {100 * found['floor']:.1f} %, "
        f"one that had just learned them {100 * found['ceiling']:.1f} %",
        style="bold",
    )
