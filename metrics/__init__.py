"""What is measured: pure functions, usable without the rest.

A family is imported when it is first named, so that `import metrics` costs nothing: `metrics.continual.average_accuracy(matrix)`.
"""

from __future__ import annotations

import importlib
from types import ModuleType

FAMILIES = ("accuracy", "continual", "features", "fewshot", "resources", "robustness", "statistics", "unlearning")


def __getattr__(name: str) -> ModuleType:
    if name not in FAMILIES:
        raise AttributeError(f"metrics has no family '{name}'; there are {', '.join(FAMILIES)}")
    return importlib.import_module(f"metrics.{name}")
