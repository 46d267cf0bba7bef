"""From a request to a plan: components found, options checked, data loaded, the learner prepared; nothing begun and nothing written."""

from __future__ import annotations

import importlib.util
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from runs import beginnings, config, measures, optimizers
from runs.building import Builder
from runs.checks import check_batches, check_features, check_foreign, check_online, check_options, check_unread
from runs.config import EvaluateConfig
from runs.contest import check, outfit
from runs.held_out import first, held_out
from runs.parallel import ranks, refusals
from runs.parallel.ranks import Ranks
from runs.probing.probing import check as check_probe
from runs.recording import exports
from runs.resolution import OPTIONAL, choose, resolve, scalars
from runs.showing.progress import Progress
from scenarios.episodes.episodic import EpisodicScenario, adapt_to
from scenarios.errors import UserError, shortened
from scenarios.experience import Scenario
from scenarios.random import Randomness
from scenarios.scenario_registry import scenarios as scenario_registry
from scenarios.streams.request import Request
from strategies.attacks.adversary import Adversary
from strategies.base import Setup, Strategy
from strategies.defences.defence import Defence
from strategies.networks import networks as network_registry
from strategies.phase import Optimizer, TrainConfig
from strategies.probes.probe import Probe, ProbeSetup
from strategies.probes.released import ByExperience


@dataclass(frozen=True)
class Plan:
    """A request, checked and resolved: all that a run needs, nothing of it begun.

    Attributes:
        resolved: the configuration, as it is written down.
        scenario: the stream, its batches made on the device.
        strategy: the learner, prepared.
        train: how networks are trained.
        evaluation: how the learner is tested.
        randomness: of the run.
        device: where it computes.
        test_scenario: another few-shot scenario to test on in the end, brought to the images of this one.
        attack: the adversary, prepared; None where there is none.
        defence: the defence, prepared; None where there is none.
        probe: what is measured in the end on copies of the network, prepared; None where there is none.
        ranks: this process among those that torchrun has started; None where it is alone.
        started_from: what a summary says of the run whose backbone this one begins with; None for new weights.
    """

    resolved: dict[str, Any]
    scenario: Scenario
    strategy: Strategy
    train: TrainConfig
    evaluation: EvaluateConfig
    randomness: Randomness
    device: torch.device
    test_scenario: EpisodicScenario | None = None
    attack: Adversary | None = None
    defence: Defence | None = None
    probe: Probe | None = None
    ranks: Ranks | None = None
    started_from: dict[str, Any] | None = None


def make_plan(request: Mapping[str, Any], progress: Progress) -> Plan:
    """Check a request and get everything ready.

    Args:
        request: a nested dictionary, as `runs.config` describes it.
        progress: is told about downloads.

    Returns:
        The plan. Nothing has been written but the cache of data.

    Raises:
        UserError: something in the request is wrong.
    """
    request = config.absolute(config.checked(request))
    for path in request.get("imports", ()):
        import_file(Path(path))
    seed = _seed(request.get("seed", 0))
    asked = choose(request, "scenario")
    strategy_name = choose(request, "strategy").name
    _check_the_rest(request)
    device = device_of(request.get("device"))
    together = ranks.join(device)
    scenario = make_scenario(asked.component, asked.options, asked.name, asked.parts, request, progress)
    if request.get("selection"):
        scenario = held_out(scenario, request["selection"])
    chosen = resolve(request, scenario.recommended)
    strategy_class, network = chosen.strategy.component, chosen.network
    if scenario.setting not in strategy_class.settings:
        possible = ", ".join(sorted(strategy_class.settings))
        raise UserError(f"strategy '{strategy_name}' does not work in setting '{scenario.setting}', only in {possible}; choose another")
    for name, choice in chosen.optional.items():
        if scenario.setting not in choice.component.settings:
            possible = ", ".join(sorted(choice.component.settings))
            raise UserError(f"{name} '{choice.name}' does not work in setting '{scenario.setting}', only in {possible}; choose another")
    randomness = Randomness(seed)

    check_options(scenario, chosen.train, chosen.evaluation)
    check_unread(chosen, resolve({**request, "train": {}}, scenario.recommended).train)
    measures.check(chosen.evaluation.metrics or (), scenario.setting, chosen.as_dict())
    check_features(scenario, chosen)
    check_online(scenario, chosen)
    beginning = beginnings.read(chosen.train.from_, network.name) if chosen.train.from_ else None
    builder = Builder(network.name, network.options, scenario, randomness, device, beginning)
    attack, defence = (chosen.component(name) for name in ("attack", "defence"))
    scenario = outfit(scenario.to(device, builder.channels_last), attack, defence)
    test_scenario = _test_scenario(request, scenario, progress)
    strategy = strategy_class(chosen.strategy.options)
    strategy.prepare(Setup(scenario, chosen.train, builder, randomness, device))
    started_from = beginning.provenance(builder()) if beginning else None
    if started_from:
        progress.say(beginnings.in_words(started_from))
    check_batches(scenario, strategy.network, chosen.train)
    check_foreign(chosen, strategy)
    if attack and not isinstance(scenario, EpisodicScenario):
        attack.prepare(scenario)
        check(attack, defence, strategy)
    if defence:
        defence.prepare(strategy)
    probe = chosen.component("probe")
    if probe:
        check_probe(probe, strategy)
        root = request.get("data_root")
        by_experience = isinstance(strategy.network, ByExperience)
        probe.prepare(ProbeSetup(scenario, randomness, Path(root) if root else None, by_experience))
    resolved = {**chosen.as_dict(), "seed": seed, "device": device.type, **_default_root(scenario), **scalars(request)}
    trained = (chosen.train, chosen.evaluation, randomness, device)
    plan = Plan(resolved, scenario, strategy, *trained, test_scenario, attack, defence, probe, together, started_from)
    if together:
        refusals.check(plan)
    return plan


def _default_root(scenario: Scenario) -> dict[str, str]:
    # A default that depends on the folder from which the run began would not be found from another.
    root = os.environ.get("PALIMPSEST_DATA", "data")
    found = scenario.data["origin"] == "real" and not os.path.isabs(root) and os.path.isdir(root)
    return {"data_root": os.path.abspath(root)} if found else {}


def _check_the_rest(request: Mapping[str, Any]) -> None:
    # What neither scenario nor strategy has to say about: mistakes in it are told before data are loaded.
    config.section(EvaluateConfig, request, "evaluate")
    optimizers.check(Optimizer.of(config.section(TrainConfig, request, "train")))
    for name in filter(request.get, OPTIONAL):
        if request[name].get("name"):
            choose(request, name)
    if request.get("network", {}).get("name"):
        network_registry.find(request["network"]["name"])
    if request.get("log"):
        exports.check(request["log"])
    if request.get("selection"):
        first(request["selection"])
    if request.get("diagnose", "curvature") != "curvature":
        raise UserError(f"cannot diagnose '{shortened(request['diagnose'])}'; --diagnose takes curvature")


def make_scenario(
    component: Any, options: Any, name: str, parts: Mapping[str, Any], request: Mapping[str, Any], progress: Progress
) -> Scenario:
    """Build a scenario from a request.

    Args:
        component: the scenario's class.
        options: its configuration.
        name: what the user typed.
        parts: what stands in the place of the name's placeholders.
        request: with seed, data and data root.
        progress: is told about downloads.

    Returns:
        The scenario.
    """
    root = request.get("data_root")
    return component.make(
        options,
        Request(
            name=name,
            parts=parts,
            seed=_seed(request.get("seed", 0)),
            data=request.get("data"),
            data_root=Path(root) if root else None,
            report=progress.say,
        ),
    )


def _test_scenario(request: Mapping[str, Any], scenario: Any, progress: Progress) -> EpisodicScenario | None:
    name = request.get("test_scenario")
    if name is None:
        return None
    component, parts = scenario_registry.load(name)
    other = make_scenario(component, component.Config(), name, parts, {**request, "data": None}, progress)
    if not isinstance(scenario, EpisodicScenario) or not isinstance(other, EpisodicScenario):
        raise UserError(f"--test-scenario {name} needs few-shot scenarios on both sides, such as cifar-fs and glyphs")
    return adapt_to(other, scenario)


def import_file(path: Path) -> None:
    """Run a file of the user's own, so that it registers what it defines.

    Args:
        path: a Python file.

    Raises:
        UserError: it is not there, or fails.
    """
    try:
        there = path.is_file()
    except (OSError, ValueError):
        there = False
    if not there:
        raise UserError(f"--import {shortened(path, 200)}: there is no such file")
    name = f"imported_{path.stem}"
    if name in sys.modules and getattr(sys.modules[name], "__file__", None) == str(path.resolve()):
        return
    spec = importlib.util.spec_from_file_location(name, path.resolve())
    if spec is None or spec.loader is None:
        raise UserError(f"--import {path} must be a Python file (*.py)")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        sys.modules.pop(name, None)
        raise UserError(f"--import {path} failed: {type(error).__name__}: {shortened(error, 200)}") from error


def _seed(value: Any) -> int:
    try:
        seed = int(str(value))
    except ValueError:
        seed = -1
    if seed < 0:
        raise UserError(f"the seed must be a whole number from 0, not '{shortened(value)}'")
    return seed


def device_of(asked: str | None) -> torch.device:
    """The device that a request means.

    Args:
        asked: its name; None for cuda where there is one.

    Returns:
        The device.

    Raises:
        UserError: there is no such device here.
    """
    name = asked or ("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UserError(f"unknown device '{shortened(name)}'; choose cpu or cuda") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UserError("there is no CUDA device here; use --device cpu")
    if device.type not in ("cpu", "cuda"):
        raise UserError(f"unknown device '{shortened(name)}'; choose cpu or cuda")
    return device
