"""What a run shows on the terminal when it is over: tables and lines made of its summary."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from strategies.registry import strategies

if TYPE_CHECKING:
    from rich.console import Console

    from runs.result import RunResult

PROBED = ("pl_accuracy", "feature_probe", "few_shot_probe")
"""Entries of a summary that a probe gives."""


def run(result: RunResult, console: Console) -> None:
    """Print a run's accuracies, what its method measured of itself, its costs, and where it lies.

    Args:
        result: the run.
        console: where to.
    """
    from runs.showing import tables

    summary = result.summary
    if summary["setting"] == "episodic":
        few_shot(summary, console)
    if len(result.names) > 1 or summary["setting"] != "episodic":
        of = (summary["scenario"], summary["setting"], f"{summary['data']['origin']} data")
        console.print(f"accuracy in %: {strategies.shown(summary['strategy'])} on {', '.join(of)}")
        console.print(tables.render_matrix(result.names, result.initial.tolist(), result.matrix.tolist()))
    words = {"average_accuracy": "average accuracy", "average_forgetting": "forgetting", "backward_transfer": "backward transfer"}
    words = {} if len(result.names) == 1 else words
    line = ", ".join(f"{text} {100 * summary[key]:.2f} %" for key, text in words.items() if key in summary)
    if line:
        console.print(line, style="bold")
    if "metrics" in summary:
        metrics(summary["metrics"], console)
    if "drop" in summary.get("attack", {}):
        (attack if "target" in summary["attack"] else attacked_support)(result, console)
    if "routing" in summary:
        routing(summary, console)
    if any(key in summary for key in PROBED):
        probe(summary, console)
    if "curvature" in summary:
        curvature(summary["curvature"], console)
    console.print(
        f"{summary['wall_seconds']:.1f} s ({summary['train_seconds']:.1f} s training, {summary['evaluate_seconds']:.1f} s testing) "
        f"after {summary['start_seconds']:.1f} s of starting, "
        f"peak memory {summary['peak_memory_bytes'] / 2**20:.0f} MiB, {summary['parameters']:,} parameters",
    )
    folder = Path(str(result.directory)) / "plots"
    where = f"plots in {folder}, everything else" if any(folder.glob("*.png")) else "everything"
    console.print(f"{where} in {result.directory}", soft_wrap=True)


def metrics(found: Mapping[str, Any], console: Console) -> None:
    """Print further metrics.

    Args:
        found: names to values: numbers, or lists of them.
        console: where to.
    """

    def written(value: Any) -> str:
        if isinstance(value, Mapping):
            return ", ".join(f"{name}: {written(each)}" for name, each in value.items())
        if isinstance(value, list) and value and isinstance(value[0], list):
            return "\n" + "\n".join(f"  {written(each)}" for each in value)
        if isinstance(value, list):
            return "  ".join(written(each) for each in value)
        return f"{value:,}" if isinstance(value, int) else f"{value:.4f}"

    for name, value in found.items():
        console.print(f"{name}: {written(value)}", soft_wrap=True)


def attack(result: RunResult, console: Console) -> None:
    """Print what an attack cost, beside the run's clean twin and its noise control.

    Args:
        result: an attacked run.
        console: where to.
    """
    from strategies.attacks.registry import attacks

    found = result.summary["attack"]
    percent = {name: f"{100 * found[name]:.2f}" for name in found if isinstance(found[name], float)}
    noise = f", under noise of the same size {percent['noise']} %" if "noise" in percent else ""
    through = ", ".join(result.names[index] for index in found["experiences"])
    console.print(
        f"{attacks.shown(found['name'])} on '{result.names[found['target']]}' through '{through}': target's accuracy clean "
        f"{percent['clean']} %{noise}, attacked {percent['attacked']} %",
        style="bold",
    )
    parts = ", ".join(f"{word} {percent[word]}" for word in ("drop", "collateral", "plasticity", "specificity") if word in percent)
    console.print(f"in points: {parts}; crafting took {found['crafting_seconds']:.1f} s")
    for index, each in result.summary.get("defence", {}).get("detection", {}).items():
        console.print(f"altered examples of '{result.names[int(index)]}' detected with area under the ROC curve {each['auc']:.3f}")


def attacked_support(result: RunResult, console: Console) -> None:
    """Print few-shot accuracy with altered support sets.

    Args:
        result: an attacked run of a learner of episodes.
        console: where to.
    """
    from strategies.attacks.registry import attacks

    found = result.summary["attack"]
    percent = {name: f"{100 * found[name]:.2f} ± {100 * found[f'{name}_ci95']:.2f} %" for name in ("clean", "noise", "attacked")}
    told = ", ".join(f"{word} {percent[name]}" for name, word in (("clean", "clean"), ("noise", "under noise"), ("attacked", "attacked")))
    console.print(f"{attacks.shown(found['name'])} on the support sets of {found['episodes']} test episodes: {told}", style="bold")


def few_shot(summary: Mapping[str, Any], console: Console) -> None:
    """Print few-shot accuracy with its interval, by adaptation step and on other domains.

    Args:
        summary: of the run.
        console: where to.
    """
    several = summary.get("few_shot_ensemble")
    tested = summary["scenario"]
    if len(summary["experiences"]) > 1:
        tested += f", domain {summary['experiences'][-1]} alone"
    name = f"{tested}, ensemble of the {several['members']} best checkpoints in validation" if several else ""
    for where, result in (
        (tested, summary["few_shot_accuracy"]),
        (name, several),
        (summary.get("cross_domain", {}).get("scenario"), summary.get("cross_domain")),
    ):
        if not result:
            continue
        few = ", too few to report" if result.get("too_few_episodes") else ""
        console.print(
            f"{where}: {result['ways']}-way {result['shots']}-shot accuracy {100 * result['mean']:.2f} ± {100 * result['ci95']:.2f} % "
            f"(95 % interval over {result['episodes']} episodes{few}; bn_mode {summary.get('bn_mode', 'none')})",
            style="bold",
        )
        if "per_step" in result:
            steps = ", ".join(f"{100 * value:.1f}" for value in result["per_step"])
            of = f"the first {result['per_step_episodes']} episodes" if result["per_step_episodes"] < result["episodes"] else "all episodes"
            console.print(f"  after 0, 1, ... adaptation steps, over {of}: {steps} %")


def probe(summary: Mapping[str, Any], console: Console) -> None:
    """Print what a probe found: of a piggybacker, what he gets back of the source, and what else was measured of the network.

    Args:
        summary: with what the probe found.
        console: where to.
    """
    from rich import box
    from rich.table import Table

    from runs.showing import probes

    if "feature_probe" in summary:
        probes.features(summary["feature_probe"], console)
    if "few_shot_probe" in summary:
        probes.few_shot(summary["few_shot_probe"], console)
    found = summary.get("pl_accuracy")
    if not found:
        if not any(key in summary for key in PROBED):
            console.print("the probe found nothing to measure")
        return
    if "by_experience" in found:
        probes.stolen(found, console)
        return
    title = "PL accuracy in %: what retraining gets back of the source"
    table = Table(title=title, title_justify="left", header_style="", box=box.SIMPLE_HEAD)
    for name in ("piggyback set", "this network", "never saw it", "before disposal", "leakage", "rate"):
        table.add_column(name, justify="left" if name == "piggyback set" else "right")
    rows = {f"{found_name(size)}, fresh head": one for size, one in found["by_size"].items()}
    first = next(iter(found["by_piggybacker"]))
    rows |= {f"{found_name(found['size'])}, {name}": one for name, one in found["by_piggybacker"].items() if name != first}
    for label, one in rows.items():
        numbers = [f"{100 * one['mean']:.1f} ± {100 * one['sd']:.1f}", f"{100 * one['floor']:.1f}", f"{100 * one['ceiling']:.1f}"]
        table.add_row(label, *numbers, f"{100 * one['leakage']:.0f}" if "leakage" in one else "–", f"{one['rate']:g}")
    console.print(table)
    share = f", {100 * found['best_leakage']:.0f} % of the way from floor to ceiling" if "best_leakage" in found else ""
    console.print(f"best piggybacker ({found['best_by']}): {100 * found['best']:.1f} %{share}", style="bold")
    other = summary.get("unlearning")
    if other:
        console.print(
            f"target {100 * other['target_accuracy']:.1f} % ({100 * other['target_change']:+.1f}), source through the old head "
            f"{100 * other['old_head_accuracy']:.1f} %; features on the source: CKA {other['cka_source']:.2f} to those before disposal, "
            f"{100 * other['dead_units_source']:.0f} % dead units, scale {other['feature_scale_source']:.2g}; "
            f"membership AUC {other['membership_auc']:.2f}"
        )


def found_name(size: str) -> str:
    """What a piggyback set is called.

    Args:
        size: examples per class, or a percentage.

    Returns:
        Words.

    Example:
        >>> found_name("5"), found_name("1%")
        ('5 per class', '1%')
    """
    return size if size.endswith("%") else f"{size} per class"


def routing(summary: Mapping[str, Any], console: Console) -> None:
    """Print how often the task of an image was inferred rightly, what that costs, and what inferring takes in memory.

    Args:
        summary: of a run of H-net/C-net.
        console: where to.
    """
    found = summary["routing"]
    percent = {name: f"{100 * found[f'mean_{name}_accuracy']:.2f} %" for name in ("index", "oracle", "end_to_end")}
    console.print(
        f"task index right {percent['index']}; accuracy given the index {percent['oracle']}, end to end {percent['end_to_end']}; "
        f"the bounds between them {'hold' if found['bounds_hold'] else 'DO NOT HOLD'}",
    )
    hnet = summary["hnet"]
    if hnet["bytes"]:
        console.print(
            f"index '{hnet['index']}' keeps {sum(hnet['bytes'].values()) / 2**20:.1f} MiB, "
            f"in which a replay memory would hold {hnet['replay_images_of_as_many_bytes']} images",
        )


def curvature(rows: Sequence[Mapping[str, Any]], console: Console) -> None:
    """Print how far Kronecker-factored curvature is from the exact one, by layer.

    Args:
        rows: what `--diagnose curvature` found.
        console: where to.
    """
    from rich import box
    from rich.table import Table

    table = Table(header_style="", box=box.SIMPLE_HEAD)
    for name in ("layer", "tap", "coupled by batch norm"):
        table.add_column(name)
    for name in ("K-FAC", "XK-FAC"):
        table.add_column(name, justify="right")
    for row in rows:
        coupled = "yes" if row["coupled"] else "no"
        table.add_row(row["layer"], row["tap"], coupled, f"{row['kfac_error']:.3f}", f"{row['xkfac_error']:.3f}")
    seen = f"{rows[0]['examples']} examples of the last experience"
    console.print(f"relative error of Kronecker factors against the exact Gauss-Newton block of {seen}")
    console.print(table)
    if not any(row["coupled"] for row in rows):
        console.print("no batch norm in training mode lies behind any layer: XK-FAC is K-FAC")


def group(folder: Path, console: Console) -> None:
    """Print mean, standard deviation and interval over the seeds of a folder, and keep them there as table.md, table.csv and table.json.

    Args:
        folder: the folder of seeds.
        console: where to.
    """
    from runs import plots
    from runs.showing import compare as comparison
    from runs.showing import formats

    groups = comparison.collect([folder])
    table = comparison.table(groups)
    formats.write(table, folder)
    console.print(comparison.render(table))
    console.print(f"{named(plots.draw_group(groups, folder))}runs in {folder}", soft_wrap=True)


def named(figures: Sequence[Path]) -> str:
    """Name figures, where any were drawn.

    Args:
        figures: their files.

    Returns:
        The beginning of a line; empty where there are none.

    Example:
        >>> named([Path("a.png"), Path("b.png")]), named([])
        ('figures a.png, b.png, ', '')
    """
    return f"figure{'s' if len(figures) > 1 else ''} {', '.join(map(str, figures))}, " if figures else ""
