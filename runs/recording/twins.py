"""Runs found by what they were asked to do: a digest of the configuration tells whether a finished run is the one that is needed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from runs import config
from runs.recording.store import comparable
from scenarios.errors import UserError


def digest(resolved: Mapping[str, Any]) -> str:
    """A digest of all that makes a run what it is: everything but where its data lie.

    Args:
        resolved: its configuration.

    Returns:
        SHA-256, hexadecimal.

    Example:
        >>> digest({"seed": 1, "data_root": "here"}) == digest({"data_root": "there", "seed": 1}) != digest({"seed": 2})
        True
    """
    return hashlib.sha256(json.dumps(comparable(resolved), sort_keys=True).encode()).hexdigest()


def finished(place: Path, resolved: Mapping[str, Any], fingerprint: str | None) -> bool:
    """Whether a directory holds a certain run, and the run is over.

    Args:
        place: the directory.
        resolved: the run's configuration.
        fingerprint: of its data.

    Returns:
        True where configuration, seed and data are the same.
    """
    summary = place / "summary.json"
    if not summary.is_file():
        return False
    try:
        if digest(config.from_file(place / "config.yaml")) != digest(resolved):
            return False
        return json.loads(summary.read_text(encoding="utf-8"))["data"].get("fingerprint") == fingerprint
    except (UserError, OSError, ValueError, KeyError):
        return False


def near(out: Path, controls: str) -> Iterator[Path]:
    """Directories in which a run's relatives lie: its own controls, runs beside it, and those runs' controls.

    Args:
        out: the run's directory; one of several seeds has its relatives two levels up.
        controls: name of the folder of controls.

    Yields:
        Directories.
    """
    yield from (path for path in (out / controls).glob("*") if path.is_dir())
    seed = out.name.startswith("seed-")
    root = out.absolute().parents[1 if seed else 0]
    for pattern in (f"*/{out.name}", f"*/{out.name}/{controls}/*") if seed else ("*", f"*/{controls}/*"):
        yield from (path for path in sorted(root.glob(pattern)) if path != out.absolute() and path.is_dir())
