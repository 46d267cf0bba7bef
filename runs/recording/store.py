"""A run's directory: everything that every figure and table can be redrawn from.

Every file is written whole or not at all (`runs.recording.files`), except `metrics.jsonl`, which only grows and which a checkpoint cuts
back to the length that it knows.
"""

from __future__ import annotations

import contextlib
import json
import os
import platform
import re
import sys
from collections.abc import Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import BaseFileLock, FileLock, Timeout

from runs import config
from runs.parallel import launch
from runs.recording import files
from runs.recording.code import code
from scenarios.errors import UserError, shortened

BEFORE_THE_FIRST = re.compile(r"\.lock|config\.yaml(\.\d+)?\.part")
"""What a process can leave in a directory that was killed before it had written its first file."""


class InUseError(UserError):
    """Another process holds a run's directory."""


class Store:
    """One run's directory, held by this process alone.

    Args:
        folder: the directory; made if it is not there.
        resolved: the run's configuration.
        resume: go on with a run of the same configuration that is there already. Where that run has no checkpoint yet, nothing is lost by
            beginning it again, and this does not matter.

    Raises:
        UserError: the folder belongs to another run or another process, or cannot be written.
        OSError: the disk is full.
    """

    def __init__(self, folder: Path, resolved: Mapping[str, Any], *, resume: bool) -> None:
        self.folder = folder
        self._refuse_foreign()
        self._lock = claim(folder)
        try:
            files.sweep(folder)
            self._enter(resolved, resume)
        except BaseException:
            self.close()
            raise

    def _refuse_foreign(self) -> None:
        try:
            names = {path.name for path in self.folder.iterdir()} if self.folder.exists() else set()
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or error
            raise UserError(f"cannot write to {shortened(self.folder, 300)} ({reason}); choose another --out, a directory") from error
        if "config.yaml" not in names and not all(BEFORE_THE_FIRST.fullmatch(name) for name in names):
            raise UserError(f"{self.folder} is not empty and holds no run; choose another --out")

    def _enter(self, resolved: Mapping[str, Any], resume: bool) -> None:
        written, text = self.folder / "config.yaml", config.to_yaml(resolved)
        begun, over = ((self.folder / name).exists() for name in ("checkpoint.pt", "summary.json"))
        if over and not begun:
            raise UserError(f"{self.folder} holds a run that is over and whose checkpoint was taken away; choose another --out")
        if not written.exists() or (not begun and _begins(text, written)):
            files.write_text(written, text)
            return
        was, now = comparable(config.from_file(written)), comparable(resolved)
        # An option that a hand or an older version left out has its default; whether that is the run's, the checkpoint knows.
        both = [section for section in config.SECTIONS if section in was and section in now]
        named = {section: {name: now[section].get(name) for name in was[section]} for section in both}
        changed = differences(was, {**now, **named})
        if changed:
            what = shortened("; ".join(changed), 300)
            raise UserError(f"{self.folder} holds another run ({what}); choose another --out, or repeat that one with --config {written}")
        if begun and not resume:
            raise UserError(f"{self.folder} holds this very run already; add --resume to go on with it, or choose another --out")

    def close(self) -> None:
        """Let go of the directory."""
        self._lock.release()

    def write_environment(self, data: Mapping[str, Any], device: Any, *, resumed: bool) -> list[str]:
        """Write down what the run was made with; a run that goes on adds to what it began with.

        Args:
            data: name, origin and fingerprint of the data.
            device: the torch device.
            resumed: whether the run goes on.

        Returns:
            What is not as it was, each in a few words, where it may change the numbers.
        """
        path, now = self.folder / "environment.json", environment(data, device)
        before = files.read_json(path) if resumed else {}
        if not before:
            files.write_json(path, now)
            return []
        others = [before["code"]] if before.get("code") not in (None, now["code"]) else []
        was = {name: value for name, value in before.items() if name not in ("data", "resumed_from", "earlier")}
        known = {name: list(before[name]) for name in ("resumed_from", "earlier") if isinstance(before.get(name), list)}
        history = {"resumed_from": [*known.get("resumed_from", ()), *others], "earlier": [*known.get("earlier", ()), was]}
        files.write_json(path, {**now, **{name: entries for name, entries in history.items() if entries}})
        return differences({name: before.get(name) for name in DECISIVE}, {name: now.get(name) for name in DECISIVE})

    @property
    def metrics(self) -> Path:
        """The file `metrics.jsonl`."""
        return self.folder / "metrics.jsonl"

    @property
    def metrics_length(self) -> int:
        """Bytes in `metrics.jsonl`."""
        return files.length(self.metrics)

    def cut_metrics(self, length: int) -> None:
        """Cut `metrics.jsonl` back to what a checkpoint knows; one that is shorter is a mistake of the user's.

        Args:
            length: bytes to keep.
        """
        files.cut(self.metrics, length)

    def append_metrics(self, rows: list[dict[str, Any]]) -> None:
        """Add rows to `metrics.jsonl`.

        Args:
            rows: measurements.
        """
        files.append(self.metrics, "".join(json.dumps(row) + "\n" for row in rows))

    def save_checkpoint(self, state: dict[str, Any]) -> None:
        """Replace the checkpoint.

        Args:
            state: nested dictionaries, lists and tuples of tensors and plain values.
        """
        files.write_tensors(self.folder / "checkpoint.pt", state)


DECISIVE = ("threads", "device", "torch", "numpy", "processes")
"""Entries of the environment on which the last bits of a number depend."""


def claim(folder: Path) -> BaseFileLock:
    """Hold a run's directory against other processes.

    Args:
        folder: the directory; made if it is not there.

    Returns:
        The lock; the system lets go of it when the process ends, however it does.

    Raises:
        InUseError: another process holds it.
    """
    path, owner = folder / ".lock", ""
    with files.making(folder):
        folder.mkdir(parents=True, exist_ok=True)
        try:
            lock = FileLock(path, timeout=0)
            lock.acquire()
        except Timeout:
            with contextlib.suppress(OSError):
                owner = path.read_text().strip()
            raise InUseError(f"{folder} is in use by process {owner or 'unknown'}; wait for it, or choose another --out") from None
    # For the message above alone: Windows does not let another handle write to a locked file.
    with contextlib.suppress(OSError):
        path.write_text(str(os.getpid()))
    return lock


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a checkpoint; only tensors and plain values are let in.

    Args:
        path: the file.

    Returns:
        The state.

    Raises:
        UserError: there is none, or it is not one of ours.
    """
    import torch

    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise UserError(f"no checkpoint at {path}; the run ended before its first one: start it again") from error
    except Exception as error:  # whatever reading bytes of any kind may raise
        raise UserError(f"{path} is not a readable checkpoint ({type(error).__name__}); start the run again in another --out") from error
    if not isinstance(state, dict) or state.get("format") != FORMAT:
        raise UserError(f"{path} is not a checkpoint of this program's version; start the run again in another --out")
    return state


FORMAT = "palimpsest-3"
"""Marks checkpoints that this version reads."""


def comparable(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """What makes two configurations the same run: all but `config.ASIDE`, and where data of one's own lie.

    Args:
        resolved: a configuration.

    Returns:
        Plain values, as YAML would give them back.
    """
    plain = json.loads(json.dumps(resolved, default=str))
    names = [(plain, "data"), (plain, "test_scenario"), (plain.get("scenario", {}), "name")]
    for entries, name in names:
        if found := config.OWN.fullmatch(str(entries.get(name, ""))):
            entries[name] = found[1] + Path(found[2]).name
    return {key: value for key, value in plain.items() if key not in config.ASIDE}


def differences(before: Mapping[str, Any], now: Mapping[str, Any], path: str = "") -> list[str]:
    """Find where two nested dictionaries differ.

    Args:
        before: the one.
        now: the other.
        path: what leads to them.

    Returns:
        For each value that is not the same its path, what it was and what it is.

    Example:
        >>> differences({"train": {"epochs": 2}, "seed": 0}, {"train": {"epochs": 3}, "seed": 0})
        ['train.epochs was 2, is 3']
    """
    found = []
    # Where another component is named, its options are others as well.
    renamed = before.get("name") != now.get("name")
    for key in ("name",) if renamed else dict.fromkeys([*before, *now]):
        old, new = before.get(key), now.get(key)
        if isinstance(old, Mapping) and isinstance(new, Mapping):
            found += differences(old, new, f"{path}{key}.")
        elif old != new:
            found.append(f"{path}{key} was {shortened(old)}, is {shortened(new)}")
    return found


def _begins(text: str, path: Path) -> bool:
    # A crash may leave the first part of a file, or a file without content.
    try:
        return text.encode().startswith(path.read_bytes().rstrip(b"\0"))
    except OSError:
        return False


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

    name = torch.cuda.get_device_name(device) if device.type == "cuda" else processor()
    return {
        "code": code(),
        "python": sys.version.split()[0],
        "torch": torch.__version__,
        "torchvision": version("torchvision"),
        "numpy": version("numpy"),
        "platform": platform.platform(),
        "device": {"type": device.type, "name": name, "capability": torch.backends.cpu.get_cpu_capability()},
        "threads": torch.get_num_threads(),
        **({"processes": launch.size()} if launch.size() > 1 else {}),
        "data": dict(data),
        "started": datetime.now(timezone.utc).isoformat(timespec="milliseconds"),
    }


def processor() -> str:
    """The model of the processor.

    Returns:
        Its name.
    """
    # The platform module names the architecture alone on Linux, where bits depend on the processor's model.
    with contextlib.suppress(OSError):
        found = re.search(r"^model name\s*: (.*)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
        if found:
            return found[1].strip()
    return platform.processor() or platform.machine()
