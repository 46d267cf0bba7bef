"""One run from Python: a scenario, a strategy and a seed in, the result out. The command line calls what is here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from runs import checkpoints, config, controls
from runs.controls import Controls
from runs.interrupts import Interrupts
from runs.parallel import launch
from runs.plan import Plan, make_plan
from runs.recording.store import Store, load_checkpoint
from runs.result import RunResult, put_together
from runs.run import Run
from runs.showing.progress import Progress


def simulate(
    *,
    scenario: str | Mapping[str, Any],
    strategy: str | Mapping[str, Any],
    seed: int = 0,
    setting: str | None = None,
    network: str | Mapping[str, Any] | None = None,
    train: Mapping[str, Any] | None = None,
    evaluate: Mapping[str, Any] | None = None,
    data: str | None = None,
    data_root: Path | str | None = None,
    device: str | None = None,
    imports: Sequence[Path | str] = (),
    test_scenario: str | None = None,
    attack: str | Mapping[str, Any] | None = None,
    defence: str | Mapping[str, Any] | None = None,
    probe: str | Mapping[str, Any] | None = None,
    diagnose: str | None = None,
    log: str | None = None,
    out: Path | str | None = None,
    resume: bool = False,
    progress: Progress | None = None,
) -> RunResult:
    """Carry out one run.

    Args:
        scenario: its name, or a mapping with `name` and options.
        strategy: its name, or a mapping with `name` and options.
        seed: of everything that is random.
        setting: task, domain or class; none for the scenario's own.
        network: its name, or a mapping with `name` and options; none for what suits the scenario.
        train: options of training.
        evaluate: options of testing.
        data: a data set that replaces the scenario's own.
        data_root: where data sets lie.
        device: cpu or cuda; none for cuda where there is one.
        imports: files of your own that register strategies or scenarios.
        test_scenario: test few-shot learning on this scenario's classes as well.
        attack: an adversary's name, or a mapping with `name` and options; its clean twin and its noise control are run too.
        defence: a defence's name, or a mapping with `name` and options.
        probe: what is measured in the end on copies of the network: a probe's name, or a mapping with `name` and options.
        diagnose: curvature, for the errors of Kronecker factors by layer.
        log: further forms of the training log, joined by commas: csv, tensorboard, avalanche:LOGGER.
        out: the run's directory; none to write nothing.
        resume: go on with a run that is in `out` already.
        progress: is told what is going on.

    Returns:
        The result.

    Example:
        >>> result = simulate(scenario="split-digits", strategy="naive", train={"epochs": 1})
        >>> result.matrix.shape
        torch.Size([5, 5])
    """
    components = {"scenario": scenario, "strategy": strategy, "network": network or {}, "attack": attack or {}, "defence": defence or {}}
    components["probe"] = probe or {}
    request = config.merge(
        {name: {"name": value} if isinstance(value, str) else value for name, value in components.items()},
        {"scenario": {"setting": setting} if setting else {}, "train": train or {}, "evaluate": evaluate or {}},
        {"seed": seed, "device": device, "data": data, "data_root": str(data_root) if data_root else None},
        {"imports": [str(path) for path in imports] or None, "test_scenario": test_scenario, "diagnose": diagnose, "log": log},
    )
    progress = progress or Progress()
    return carry_out(make_plan(request, progress), Path(out) if out else None, resume=resume, progress=progress)


def carry_out(plan: Plan, out: Path | None, *, resume: bool, progress: Progress) -> RunResult:
    """Carry out a plan, from its beginning or from its last checkpoint.

    Args:
        plan: what to do.
        out: the run's directory; none to write nothing.
        resume: go on with a run that is in `out` already.
        progress: is told what is going on.

    Returns:
        The result.
    """
    store = Store(out, plan.resolved, resume=resume) if out and launch.rank() == 0 else None
    if plan.device.type == "cuda":
        torch.backends.cudnn.deterministic = True
        torch.cuda.reset_peak_memory_stats(plan.device)
    try:
        run = Run(plan, store, progress, controls_of(plan, out, progress) if plan.attack and plan.scenario.setting != "episodic" else {})
        with Interrupts(run.engine), run.engine.log:
            return run.go(resume)
    finally:
        progress.close()
        if store:
            store.close()


def controls_of(plan: Plan, out: Path | None, progress: Progress) -> Controls:
    """Find or carry out what an attacked run is held against: the same run without the adversary, and with noise of the same size.

    Args:
        plan: of the attacked run.
        out: its directory; none to write nothing.
        progress: is told what is going on.

    Returns:
        What they gave.
    """
    return {kind: control(kind, request, plan, out, progress) for kind, request in controls.requests(plan).items()}


def control(kind: str, request: Mapping[str, Any], plan: Plan, out: Path | None, progress: Progress) -> controls.Control:
    """Find or carry out one run that another is held against.

    Args:
        kind: what it is called.
        request: what is run.
        plan: of the run that is held against it.
        out: that run's directory; none to write nothing.
        progress: is told what is going on.

    Returns:
        What it gave.
    """
    known = controls.finished(request, plan.scenario.data, out) if out else None
    if known is not None:
        progress.say(f"control run: {kind}, found in {known.directory}")
        return known
    progress.say(f"control run: {kind}")
    place = out / controls.FOLDER / kind if out else None
    result = carry_out(make_plan(request, progress), place, resume=bool(place and place.exists()), progress=progress)
    return controls.Control(result.matrix, place)


def load(directory: Path | str) -> RunResult:
    """Take up a run that is over, or as far as it came.

    Args:
        directory: the run's directory.

    Returns:
        The result, with the trained strategy ready to predict.
    """
    return put_together(take_up(Path(directory)), Path(directory))


def take_up(directory: Path, test_scenario: str | None = None, probe: str | None = None) -> Run:
    """Restore a run from its directory, without going on with it.

    Args:
        directory: the run's directory.
        test_scenario: another few-shot scenario to test on.
        probe: another probe than the run's own; its options are the defaults then.

    Returns:
        The run; nothing that it does is written.
    """
    further = {"test_scenario": test_scenario, "probe": {"name": probe} if probe else {}}
    request = config.merge(config.from_file(directory / "config.yaml"), further)
    run = Run(make_plan(request, Progress()), None, Progress())
    checkpoints.restore(run, load_checkpoint(directory / "checkpoint.pt"), directory)
    return run
