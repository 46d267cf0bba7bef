"""How it is carried out: command line, configuration, engine, store, plots."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from runs.result import RunResult
    from runs.simulation import load, simulate

__all__ = ["RunResult", "load", "simulate"]


def __getattr__(name: str) -> Any:
    # torch is imported when it is needed, not by `import runs`.
    if name in __all__:
        from importlib import import_module

        return getattr(import_module("runs.result" if name == "RunResult" else "runs.simulation"), name)
    raise AttributeError(f"module 'runs' has no attribute '{name}'")
