"""SGD's one kernel, called without what torch does around it: collecting, hashing and sorting tensors that are the same at every step.

On a network of a millisecond a step that bookkeeping is a twentieth of it. The kernel has no public name; where torch has none of this
name, `runs.optimizers` takes torch's own class, which makes the same steps.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor
from torch.nn import Parameter

AVAILABLE = hasattr(torch, "_fused_sgd_")


class FusedSGD(torch.optim.SGD):
    """torch.optim.SGD of parameters that all have their momentum, if it is above 0, from the beginning.

    Args:
        parameters: parameters, or groups of them.
        options: of torch.optim.SGD.
    """

    def __init__(self, parameters: list[Any], **options: Any) -> None:
        super().__init__(parameters, **options)
        self._moved: list[list[list[tuple[Parameter, Tensor]]]] | None = None

    def add_param_group(self, param_group: dict[str, Any]) -> None:
        """Take on further parameters.

        Args:
            param_group: with its settings.
        """
        super().add_param_group(param_group)
        self._moved = None

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state_dict: what `state_dict` gave.
        """
        super().load_state_dict(dict(state_dict))
        self._moved = self._collect()

    def step(self) -> None:  # type: ignore[override]
        """Move every parameter that has a gradient."""
        if self._moved is None:
            self._moved = self._collect()
        with torch.no_grad():
            for group, alike in zip(self.param_groups, self._moved):
                for pairs in alike:
                    moved = [(each, each.grad, momentum) for each, momentum in pairs if each.grad is not None]
                    if moved:
                        parameters, gradients, momenta = map(list, zip(*moved))
                        torch._fused_sgd_(
                            parameters,
                            gradients,
                            momenta if group["momentum"] else [],
                            weight_decay=group["weight_decay"],
                            momentum=group["momentum"],
                            lr=group["lr"],
                            dampening=group["dampening"],
                            nesterov=group["nesterov"],
                            maximize=group["maximize"],
                            is_first_step=False,
                        )

    # Torch would wrap it in a label for its profiler.
    step.hooked = True  # type: ignore[attr-defined]

    def _collect(self) -> list[list[list[tuple[Parameter, Tensor]]]]:
        # By group and, within it, what one call of the kernel takes: one device, one type.
        found = []
        for group in self.param_groups:
            alike: dict[tuple[torch.device, torch.dtype], list[tuple[Parameter, Tensor]]] = {}
            for each in group["params"]:
                momentum = self.state[each]["momentum_buffer"] if group["momentum"] else each
                alike.setdefault((each.device, each.dtype), []).append((each, momentum))
            found.append(list(alike.values()))
        return found
