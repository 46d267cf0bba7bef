"""What a run is asked to do: collected from defaults, a file, flags and `--set`, checked, and written down resolved.

A request is a nested dictionary: `{"scenario": {"name": "split-mnist", "tasks": 5}, "strategy": {"name": "ewc"}, "seed": 0}`.
Precedence: `--set`, then flags, then `--config`, then what the scenario recommends, then what the strategy does, then defaults.
Nothing here imports torch until a component is asked for.
"""

from __future__ import annotations

import dataclasses
import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from runs import yaml_files
from scenarios.errors import UserError, nearest, shortened, shown
from scenarios.options import build, option, told

SECTIONS = ("scenario", "strategy", "network", "train", "evaluate", "attack", "defence", "probe")
"""Parts of a request that hold options."""
OPTIONAL = ("attack", "defence", "probe")
"""Sections that name a component which a run may do without."""
SCALARS = ("seed", "device", "data", "data_root", "imports", "test_scenario", "diagnose", "log", "selection")
"""Parts of a request that are values."""
ASIDE = ("data_root", "imports", "log")
"""Those of them that make no other run: where data and code lie, and in which forms the training log is written."""


@dataclass(frozen=True, kw_only=True)
class EvaluateConfig:
    """How a learner is tested after each experience.

    Attributes:
        stream: test on all experiences, or only on those that have been learned (quicker for long streams; no forward transfer).
        batch_size: examples in one pass of the network.
        validate_every: passes (of 100 meta-batches) after which a learner of episodes is validated on 100 episodes, for the training
            curve; 0 for never.
        ensemble: of a learner of episodes, also test so many of the checkpoints that did best in validation, their logits averaged;
            0 for none.
        metrics: further metrics of `simulate list metrics`, measured when all is learned.
    """

    stream: Literal["all", "seen"] = "all"
    batch_size: int = option(1000, low=1)
    validate_every: int = option(5, low=0)
    ensemble: int = option(0, low=0)
    metrics: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        if self.ensemble and not self.validate_every:
            raise UserError("evaluate.ensemble chooses among validated checkpoints; set evaluate.validate_every to 1 or more")


def merge(*requests: Mapping[str, Any]) -> dict[str, Any]:
    """Put requests on top of each other.

    Args:
        requests: the weakest first.

    Returns:
        One request; in its sections, later options replace earlier ones.
    """
    merged: dict[str, Any] = {}
    for request in requests:
        for name, value in request.items():
            if isinstance(value, Mapping):
                old = merged.get(name, {})
                other = "name" in value and "name" in old and value["name"] != old["name"]
                merged[name] = {**({} if other else old), **value}
            elif value is not None:
                merged[name] = value
    return merged


def from_file(path: Path) -> dict[str, Any]:
    """Read a request from a YAML file, for instance a run's `config.yaml`.

    Args:
        path: the file.

    Returns:
        The request. A mistake in the file is a `UserError`.
    """
    return checked(yaml_files.load(path, "give --config a file like a run's config.yaml"), f"{path}: ")


def checked(content: Any, where: str = "") -> dict[str, Any]:
    """Check that something is a request: its entries known, each of its kind. Options are checked where they are used.

    Args:
        content: what was read.
        where: the beginning of a message.

    Returns:
        The request; a section that is a name alone is spelt out, what is null is left out.

    Raises:
        UserError: it is no request.
    """
    if not isinstance(content, Mapping):
        raise UserError(f"{where}there are no options in it; give --config a file like a run's config.yaml")
    request: dict[str, Any] = {}
    for name, value in content.items():
        if name not in SECTIONS + SCALARS:
            raise UserError(f"{where}unknown entry '{shortened(name)}'{nearest(shortened(name), SECTIONS + SCALARS)}")
        if value is not None:
            request[name] = _section(name, value, where) if name in SECTIONS else _scalar(name, value, where)
    return request


def _section(name: str, value: Any, where: str) -> dict[str, Any]:
    options = {"name": value} if isinstance(value, str) else value
    if not isinstance(options, Mapping):
        raise UserError(f"{where}'{name}' must hold options, like '{name}: {{name: ...}}', not {shown(value)}")
    for option_, given in options.items():
        if not isinstance(option_, str):
            raise UserError(f"{where}the options of '{name}' have names, not {shown(option_)}")
        if option_ == "name" and not isinstance(given, str):
            raise UserError(f"{where}{name}.name must be text, not {shown(given)}")
    return dict(options)


def _scalar(name: str, value: Any, where: str) -> Any:
    if name == "imports":
        if not isinstance(value, (list, tuple)) or not all(isinstance(path, str) for path in value):
            raise UserError(f"{where}imports must be a list of files, like [mine.py], not {shown(value)}")
        return list(value)
    kinds: tuple[type, ...] = (int, str) if name == "seed" else (str,)
    if not isinstance(value, kinds) or isinstance(value, bool):
        raise UserError(f"{where}{name} must be {'a whole number' if name == 'seed' else 'text'}, not {shown(value)}")
    return value


OWN = re.compile(r"((?:[a-z]+-)?(?:npz|folder):)(.+)", re.DOTALL)
"""Names of data sets of the user's own, and of scenarios made of one: what comes last is a place."""


def absolute(request: Mapping[str, Any]) -> dict[str, Any]:
    """Write places so that they are found from any folder.

    Args:
        request: a request that was checked.

    Returns:
        The same, its files and folders absolute.
    """

    def place(text: str) -> str:
        return str(Path(os.path.expanduser(text)).absolute())  # no shell expands npz:~/FILE

    def own(text: str) -> str:
        found = OWN.fullmatch(text)
        return found[1] + place(found[2]) if found else text

    changed = dict(request)
    for name in ("data", "test_scenario"):
        if name in request:
            changed[name] = own(request[name])
    if "name" in request.get("scenario", {}):
        changed["scenario"] = {**request["scenario"], "name": own(request["scenario"]["name"])}
    if request.get("train", {}).get("from"):
        changed["train"] = {**request["train"], "from": place(str(request["train"]["from"]))}
    if request.get("data_root"):
        changed["data_root"] = place(request["data_root"])
    if "imports" in request:
        changed["imports"] = [place(path) for path in request["imports"]]
    return changed


def from_settings(settings: Sequence[str]) -> dict[str, Any]:
    """Read a request from `--set` arguments.

    Args:
        settings: texts like `train.epochs=2`.

    Returns:
        The request.

    Raises:
        UserError: a text is not of this form, or its first word is no section.
    """
    request: dict[str, Any] = {}
    for text in settings:
        path, equals, value = text.partition("=")
        section, dot, name = path.strip().partition(".")
        if not equals or (not dot and section not in SCALARS):
            raise UserError(f"--set takes PATH=VALUE, for instance train.epochs=2, not '{shortened(text)}'")
        if dot and section not in SECTIONS:
            raise UserError(f"unknown option {shortened(path)}{nearest(section, SECTIONS)}")
        if dot:
            request.setdefault(section, {})[name] = value
        else:
            request[section] = [value] if section == "imports" else value
    return request


def from_paths(values: Mapping[str, Any]) -> dict[str, Any]:
    """Read a request from a flat dictionary, as scenarios recommend it.

    Args:
        values: paths to values; a section alone stands for its name (`{"network": "mlp", "train.epochs": 2}`).

    Returns:
        The request.
    """
    request: dict[str, Any] = {}
    for path, value in values.items():
        section, _, name = path.partition(".")
        request.setdefault(section, {})[name or "name"] = value
    return request


def named(request: Mapping[str, Any], section: str) -> tuple[str, dict[str, Any]]:
    """Take a section's name and options apart.

    Args:
        request: the request.
        section: which.

    Returns:
        The component's name and its options.

    Raises:
        UserError: there is no name.
    """
    options = dict(request.get(section, {}))
    name = options.pop("name", None)
    if not name:
        raise UserError(f"no {section} was named; add --{section} NAME (`simulate list` shows the names)")
    return str(name), options


def section(config: type, request: Mapping[str, Any], name: str) -> Any:
    """Build the configuration of a section that has no component's name.

    Args:
        config: the dataclass.
        request: the request.
        name: the section.

    Returns:
        The configuration.
    """
    return build(config, request.get(name, {}), name)


def as_dict(config: Any) -> dict[str, Any]:
    """A configuration as plain values.

    Args:
        config: a configuration dataclass's instance.

    Returns:
        Names to values, tuples as lists.
    """

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(each) for key, each in value.items()}
        return list(value) if isinstance(value, tuple) else value

    return {told(key): plain(value) for key, value in dataclasses.asdict(config).items()}


def to_yaml(resolved: Mapping[str, Any]) -> str:
    """Write a request down.

    Args:
        resolved: the request.

    Returns:
        YAML.
    """
    import yaml

    return yaml.safe_dump(dict(resolved), sort_keys=False, default_flow_style=None, width=120)
