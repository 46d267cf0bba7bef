"""A run's directory: everything that every figure and table can be redrawn from.

What resuming depends on is written whole or not at all (a temporary file, then a rename), except `metrics.jsonl`, which only grows and
which a checkpoint cuts back to the length that it knows; artefacts, plots and tables are written in place and can be made again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import math
import os
import platform
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import IO, Any

from runs import config
from runs.recording.code import code
from scenarios.errors import UserError


class Store:
    """One run's directory, held by this process alone.

    Args:
        folder: the directory; made if it is not there.
        resolved: the run's configuration.
        resume: go on with a run of the same configuration that is there already.

    Raises:
        UserError: the folder belongs to another run or another process, or cannot be written.
    """

    def __init__(self, folder: Path, resolved: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        text = config.to_yaml(resolved)
        written = folder / "config.yaml"
        if written.exists() and comparable(config.from_file(written)) != comparable(resolved):
            raise UserError(f"{folder} holds another run; choose another --out, or repeat that one with --config {written}")
        if written.exists() and not resume:
            raise UserError(f"{folder} holds this very run already; add --resume to go on with it, or choose another --out")
        if folder.exists() and not written.exists() and any(folder.iterdir()):
            raise UserError(f"{folder} is not empty and holds no run; choose another --out")
        self._lock = self._claim()
        if not written.exists():
            write_text(written, text)

    def _claim(self) -> IO[str]:
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            lock = (self.folder / ".lock").open("a+")
        except OSError as error:
            raise UserError(f"cannot write to {self.folder} ({error.strerror}); choose another --out") from error
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "another process"
            raise UserError(f"{self.folder} is in use by process {owner}; wait for it, or choose another --out") from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        return lock

    def close(self) -> None:
        """Let go of the directory."""
        self._lock.close()

    def write_environment(self, data: Mapping[str, Any], device: Any) -> None:
        """Write down what the run was made with; of a run that goes on under other code, also what it began with.

        Args:
            data: name, origin and fingerprint of the data.
            device: the torch device.
        """
        path, now = self.folder / "environment.json", environment(data, device)
        before = json.loads(path.read_text(encoding="utf-8")) if path.exists() else now
        earlier = before.get("resumed_from", []) + ([before["code"]] if before["code"] != now["code"] else [])
        write_json(path, {**now, **({"resumed_from": earlier} if earlier else {})})

    @property
    def metrics_length(self) -> int:
        """Bytes in `metrics.jsonl`."""
        path = self.folder / "metrics.jsonl"
        return path.stat().st_size if path.exists() else 0

    def cut_metrics(self, length: int) -> None:
        """Cut `metrics.jsonl` back to what a checkpoint knows.

        Args:
            length: bytes to keep.
        """
        with (self.folder / "metrics.jsonl").open("ab") as file:
            file.truncate(length)

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Add rows to `metrics.jsonl`.

        Args:
            rows: measurements.
        """
        with (self.folder / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.writelines(json.dumps(row) + "\n" for row in rows)

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        Args:
            state: nested dictionaries, lists and tuples of tensors and plain values.
        """
        import torch

        part = self.folder / "checkpoint.pt.part"
        torch.save(state, part)
        os.replace(part, self.folder / "checkpoint.pt")


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are let in.

    Args:
        path: the file.

    Returns:
        The state.

    Raises:
        UserError: there is none, or it is not one of ours.
    """
    import pickle

    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint at {path}; the run ended before its first one: start it again") from error
    except (OSError, RuntimeError, pickle.UnpicklingError, EOFError, ValueError, KeyError) as error:
        raise UserError(f"{path} is not a readable checkpoint ({type(error).__name__}); start the run again in another --out") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this program's version; start the run again in another --out")
    return state


FORMAT = "palimpsest-2"
"""Marks checkpoints that this version reads."""


def comparable(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two configurations the same run: all but where data lie.

    Args:
        resolved: a configuration.

    Returns:
        Plain values, as YAML would give them back.
    """
    plain = json.loads(json.dumps(resolved))
    return {key: value for key, value in plain.items() if key != "data_root"}


def write_text(path: Path, text: str) -> None:
    """Write a file, whole or not at all.

    Args:
        path: the file.
        text: its content.
    """
    part = path.with_name(path.name + ".part")
    part.write_text(text, encoding="utf-8")
    os.replace(part, path)


def write_json(path: Path, content: Mapping[str, Any]) -> None:
    """Write JSON, whole or not at all; what is not a number becomes null.

    Args:
        path: the file.
        content: plain values.
    """
    write_text(path, json.dumps(_without_nan(content), indent=2) + "\n")


def _without_nan(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _without_nan(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [_without_nan(part) for part in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def environment(data: Mapping[str, Any], device: Any) -> dict[str, Any]:
    """Versions, device, threads, data and code.

    Args:
        data: name, origin and fingerprint of the data.
        device: the torch device.

    Returns:
        Plain values.
    """
    from importlib import metadata

    import torch

    def version(package: str) -> str:
        try:
            return metadata.version(package)
        except metadata.PackageNotFoundError:
            return "not installed"

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else _processor()
    return {
        "code": code(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": version("numpy"),
        "platform": platform.platform(),
        "device": {"type": device.type, "name": name, "capability": torch.backends.cpu.get_cpu_capability()},
        "threads": torch.get_num_threads(),
        "data": dict(data),
        "started": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
    }


def _processor() -> str:
    # The platform module names the architecture alone on Linux, where bits depend on the processor's model.
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
