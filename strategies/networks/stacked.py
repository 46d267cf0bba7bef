"""A network whose layers are shared by tasks: a backbone of stacked units, and a head for each task (see `stacking`)."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional

from scenarios.errors import UserError
from strategies.networks.network import OUT_OF_PLAY, Network
from strategies.networks.resnet import PaddedShortcut
from strategies.networks.stacking import Bounds, Plan, Selection, StackedLayer, StackedNorm, StackedShortcut, StackedUnit
from strategies.networks.unit import replace_units, require_units, units


class StackedNetwork(nn.Module):
    """A network whose layers are shared by tasks, with a head for each.

    Args:
        network: the network at its full width; its parts are taken over.
        channels: of its input.
        outputs: for each task, the outputs of its head.
        plan: how layers are shared.

    Raises:
        UserError: the network cannot be taken apart, or is frozen in part.
    """

    def __init__(self, network: Network, channels: int, outputs: Sequence[range], plan: Plan) -> None:
        super().__init__()
        require_units(network.backbone, "hnet-cnet")
        if not all(parameter.requires_grad for parameter in network.parameters()):
            raise UserError("hnet-cnet makes of each layer parts that its tasks train; leave network.freeze out, or choose another network")
        if any(isinstance(unit.layer, nn.Conv2d) and unit.layer.groups > 1 for unit in units(network).values()):
            raise UserError("hnet-cnet shares a layer's channels among tasks, which groups of convolutions forbid; choose another network")
        self.selection = Selection()
        self.outputs = tuple(outputs)
        self.width = network.head.width
        self.num_features = network.num_features
        image = (0, *(channels for _ in plan.shares))
        features, last = self._stack(network, image, plan)
        self.backbone = network.backbone
        per_channel = network.num_features // last
        self.heads = nn.ModuleList()
        for task, own in enumerate(outputs):
            full: Any = network.head.blocks[network.head.ranges.index(own)]
            seen = features[task + 1] * per_channel
            scale = (network.num_features / seen) ** 0.5
            head = nn.Linear(seen, len(own), device="meta")
            head.weight, head.bias = (Parameter(part) for part in (full.weight.detach()[:, :seen] * scale, full.bias.detach() * scale))
            self.heads.append(head)

    def _stack(self, network: Network, image: Bounds, plan: Plan) -> tuple[Bounds, int]:
        # Units come in the order in which they are applied; only the first reads the image.
        before, last = image, image[-1]
        shortcuts = {name: module for name, module in network.named_modules() if isinstance(module, PaddedShortcut)}
        for name, shortcut in shortcuts.items():
            parent, _, attribute = name.rpartition(".")
            block: Any = network.get_submodule(parent)
            both = plan.bounds(block.first.layer.in_channels), plan.bounds(block.second.out_channels)
            setattr(block, attribute, StackedShortcut(shortcut.stride, *both, self.selection))
        stacked: dict[str, StackedUnit] = {}
        for name, unit in units(network).items():
            rows = plan.bounds(unit.out_channels)
            layer = None
            if unit.layer is not None:
                if isinstance(unit.layer, nn.Conv2d) and stacked:
                    before, last = plan.bounds(unit.layer.in_channels), unit.layer.in_channels
                per_channel = unit.layer.weight.shape[1] // last
                inputs = tuple(bound * per_channel for bound in before)
                layer = StackedLayer(unit.layer, rows, inputs, plan, self.selection)
            norm = StackedNorm(unit.norm, rows, plan, self.selection) if unit.norm is not None else None
            stacked[name] = StackedUnit(layer, norm)
            before, last = rows, unit.out_channels
        replace_units(network, lambda name, unit: stacked[name])
        return before, last

    def features(self, x: Tensor, task: int) -> Tensor:
        """What a task's head sees.

        Args:
            x: float [B, C, H, W].
            task: the task.

        Returns:
            [B, F^J].
        """
        self.selection.task = task
        return self.backbone(x)

    def forward(self, x: Tensor, task: int) -> Tensor:
        """Answer as a task does.

        Args:
            x: float [B, C, H, W].
            task: the task.

        Returns:
            [B, K]; `OUT_OF_PLAY` outside the task's own outputs.
        """
        own = self.outputs[task]
        logits = self.heads[task](self.features(x, task))
        if len(own) == self.width:
            return logits
        return functional.pad(logits, (own.start, self.width - own.stop), value=OUT_OF_PLAY)

    @torch.no_grad()
    def part(self, task: int | None) -> Network:
        """What answers a task, as a network by itself: all filters that the task uses, each of them to be trained, and the task's head.

        Args:
            task: the task; None for the last, whose part is the whole network.

        Returns:
            A copy.
        """
        task = len(self.outputs) - 1 if task is None else task
        whole = copy.deepcopy(self)
        whole.selection.task = task
        for name, unit in list(whole.backbone.named_modules()):
            if isinstance(unit, StackedUnit):
                parent, _, attribute = name.rpartition(".")
                setattr(whole.backbone.get_submodule(parent), attribute, unit.part(task))
        head: Any = whole.heads[task]
        made = Network(whole.backbone, head.in_features, [self.outputs[task]])
        made.head.blocks[0] = head
        return made.train(self.training)

    def layers(self) -> dict[str, StackedLayer]:
        """The layers.

        Returns:
            By their names.
        """
        return {name.removeprefix("backbone."): module for name, module in self.named_modules() if isinstance(module, StackedLayer)}

    def of_task(self, task: int) -> list[Parameter]:
        """What a task trains.

        Args:
            task: the task.

        Returns:
            Its rows, columns and biases of every layer, its batch norms' affine parameters, and its head.
        """
        mine: list[Parameter] = []
        for module in self.modules():
            if isinstance(module, StackedLayer):
                mine += module.of_task(task)
            elif isinstance(module, StackedNorm):
                mine += module.norms[task].parameters()
        return [*mine, *self.heads[task].parameters()]
