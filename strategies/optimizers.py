"""Optimisers by name: the classes of torch.optim, and those of the user's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch

from scenarios.errors import UserError

Kind = TypeVar("Kind", bound=type[torch.optim.Optimizer])
_own: dict[str, type[torch.optim.Optimizer]] = {}


def kinds() -> dict[str, type[torch.optim.Optimizer]]:
    """The optimisers that step on gradients alone.

    Returns:
        Their names in lower case, and their classes.
    """
    found = {}
    for name, kind in vars(torch.optim).items():
        if isinstance(kind, type) and issubclass(kind, torch.optim.Optimizer) and kind is not torch.optim.Optimizer:
            found[name.lower()] = kind
    return {name: kind for name, kind in found.items() if name not in ("lbfgs", "sparseadam")} | _own


def register(name: str) -> Callable[[Kind], Kind]:
    """Decorate an optimiser of the user's own, so that `train.optimizer` can name it.

    It is made as torch's are: parameters or parameter groups first, then `lr`, and `weight_decay`, `momentum` and `betas` where it takes
    them; others are `train.optimizer_options`.

    Args:
        name: what the user will type.

    Returns:
        The decorator; it raises a `UserError` where torch has an optimiser of the name.
    """

    def add(kind: Kind) -> Kind:
        if name in kinds() and name not in _own:
            raise UserError(f"torch.optim has an optimizer '{name}' already; register yours under another name")
        _own[name] = kind
        return kind

    return add
