"""`train.from=RUN`: a network begins with the backbone of a run that is over: pre-training, then meta-training or learning a stream.

What is taken are tensors of the backbone (norms' statistics too) of the same name and shape; heads are always new. A run's summary says
under `started_from` which run that was, by the digest of its configuration, its data's fingerprint and the weights themselves.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from runs import config
from runs.recording.store import load_checkpoint
from runs.recording.twins import digest
from scenarios.errors import UserError, shortened

BACKBONE = "backbone."
SHOWN = 3
"""Names of tensors that a line holds at most."""


@dataclass(frozen=True, eq=False)
class Beginning:
    """A finished run's backbone.

    Attributes:
        directory: of the run.
        told: the run's configuration and summary, as far as a summary repeats them.
        tensors: of its backbone, by name.
    """

    directory: Path
    told: Mapping[str, Any]
    tensors: Mapping[str, Tensor]

    def fits(self, network: nn.Module) -> tuple[list[str], dict[str, str]]:
        """See what of a network's backbone can be taken from the run.

        Args:
            network: newly made.

        Returns:
            Names of what is taken, and of what is not with the reason.
        """
        taken, left = [], {}
        for name, own in network.state_dict().items():
            if not name.startswith(BACKBONE):
                continue
            there = self.tensors.get(name)
            if there is not None and there.shape == own.shape:
                taken.append(name)
            else:
                left[name] = "not there" if there is None else f"{list(there.shape)} there, {list(own.shape)} here"
        return taken, left

    @torch.no_grad()
    def give(self, network: nn.Module) -> None:
        """Let a network begin so.

        Args:
            network: newly made; is changed.
        """
        own = network.state_dict()
        for name in self.fits(network)[0]:
            own[name].copy_(self.tensors[name])

    def provenance(self, network: nn.Module) -> dict[str, Any]:
        """What the summary says.

        Args:
            network: of this run, newly made.

        Returns:
            The run, digests of its configuration and of the tensors taken, their names, and what was not taken, with reasons.

        Raises:
            UserError: nothing can be taken.
        """
        taken, left = self.fits(network)
        if not taken:
            name, why = next(iter(left.items()), ("a backbone", "without tensors"))
            raise UserError(
                f"train.from={shortened(self.directory, 100)}: nothing of that run's backbone fits this network ({name}: {why})"
            )
        weights = hashlib.sha256()
        for name in taken:
            weights.update(name.encode())
            weights.update(self.tensors[name].contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
        return {**self.told, "weights_sha256": weights.hexdigest(), "taken": taken, "not_taken": {**left, "head": "heads are always new"}}


def read(place: str, network: str) -> Beginning:
    """Read the backbone of a finished run.

    Args:
        place: the run's directory.
        network: the name of this run's network.

    Returns:
        The backbone.

    Raises:
        UserError: there is no finished run, or its network is another one.
    """
    directory = Path(place)
    where = f"train.from={shortened(directory, 100)}"
    try:
        resolved = config.from_file(directory / "config.yaml")
        summary = json.loads((directory / "summary.json").read_text(encoding="utf-8"))
        told = {name: summary[name] for name in ("scenario", "strategy", "setting", "seed")}
        theirs, data = summary["network"], summary["data"].get("fingerprint")
    except (UserError, OSError, ValueError, KeyError, TypeError, AttributeError):
        several = next(iter(sorted(directory.glob("seed-*"))), None) if directory.is_dir() else None
        advice = f"name one of its runs, for instance {several.name}" if several else "name the directory of one, with summary.json in it"
        raise UserError(f"{where}: there is no finished run; {advice}") from None
    if theirs != network:
        raise UserError(f"{where}: that run's network is '{theirs}', this one's '{network}'; choose --network {theirs}")
    state = load_checkpoint(directory / "checkpoint.pt").get("strategy", {}).get("network")
    if not isinstance(state, Mapping):
        raise UserError(f"{where}: strategy {told['strategy']} keeps no network of one backbone; choose another run")
    tensors = {name: value for name, value in state.items() if name.startswith(BACKBONE) and isinstance(value, Tensor)}
    return Beginning(directory, {"directory": str(directory), "digest": digest(resolved), **told, "data": data}, tensors)


def in_words(told: Mapping[str, Any]) -> str:
    """What was taken, in one line.

    Args:
        told: what `provenance` gave.

    Returns:
        The line.
    """
    taken, left = told["taken"], {name: why for name, why in told["not_taken"].items() if name != "head"}
    line = f"train.from: {len(taken)} of {len(taken) + len(left)} tensors of the backbone are from {told['directory']}"
    if left:
        some = ", ".join(f"{name} ({why})" for name, why in list(left.items())[:SHOWN])
        line += f"; not taken: {some}{', ...' if len(left) > SHOWN else ''}"
    return f"{line}; heads are new"
