"""What probes have found, kept by digest: an anchor is measured once for all methods, and a probe that was interrupted goes on.

A digest covers everything that an answer depends on: the network's weights, the probe's options and subsets, the data, all of the code (so
that no change of it is answered from before), torch's version, the processor and threads. Answers are small JSON files beside the cached
data sets; a folder that cannot be written makes the cache do nothing.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import inspect
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from scenarios.cache import cache_folder

ROOMS = ("scenarios", "strategies", "metrics", "runs")


def key(facts: Mapping[str, Any], device: torch.device) -> str:
    """The digest of all that an answer depends on.

    Args:
        facts: plain values.
        device: where it is computed.

    Returns:
        Hexadecimal digits.
    """
    where = [_code(), torch.__version__, device.type, torch.get_num_threads(), torch.backends.cpu.get_cpu_capability()]
    return hashlib.sha256(json.dumps([where, facts], sort_keys=True).encode()).hexdigest()[:32]


@functools.cache
def _code() -> str:
    root = Path(__file__).resolve().parents[2]
    kept = hashlib.sha256()
    for path in sorted(path for room in ROOMS for path in (root / room).rglob("*.py")):
        kept.update(str(path.relative_to(root)).encode() + path.read_bytes())
    return kept.hexdigest()


def source(component: type) -> str:
    """The digest of the file that a component is written in, which may be the user's own.

    Args:
        component: its class.

    Returns:
        Hexadecimal digits; empty where there is no file.
    """
    with contextlib.suppress(OSError, TypeError):
        return hashlib.sha256(Path(inspect.getfile(component)).read_bytes()).hexdigest()
    return ""


def weights(network: nn.Module) -> str:
    """The digest of a network's state.

    Args:
        network: the network.

    Returns:
        Hexadecimal digits.
    """
    kept = hashlib.sha256(repr(network).encode())
    for name, tensor in network.state_dict().items():
        kept.update(name.encode())
        kept.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return kept.hexdigest()[:32]


def read(name: str) -> dict[str, Any] | None:
    """Look an answer up.

    Args:
        name: its digest.

    Returns:
        The answer, or None.
    """
    with contextlib.suppress(OSError, ValueError):
        found = json.loads((cache_folder() / "probes" / f"{name}.json").read_text(encoding="utf-8"))
        return found if isinstance(found, dict) else None
    return None


def write(name: str, answer: Mapping[str, Any]) -> None:
    """Keep an answer.

    Args:
        name: its digest.
        answer: plain values.
    """
    with contextlib.suppress(OSError):
        folder = cache_folder() / "probes"
        folder.mkdir(parents=True, exist_ok=True)
        part = folder / f"{name}.{os.getpid()}.part"
        part.write_text(json.dumps(answer), encoding="utf-8")
        os.replace(part, folder / f"{name}.json")
