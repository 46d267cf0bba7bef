"""Layers that tasks share by stacking: each task adds filters to every layer and reads its own and all older ones.

Of a layer with F filters, task J uses the first I^J; 0 = I^0 < I^1 < ... <= F are the same for all layers of one width, so that shortcuts
join like with like. Of the weights W[0 : I_k^J, 0 : I_{k-1}^J] that task J uses, those of older tasks are frozen, and the rest,

    rows      W[I_k^{J-1} : I_k^J, 0 : I_{k-1}^J]              its own filters, over all channels that it sees,
    columns   W[0 : I_k^{J-1}, I_{k-1}^{J-1} : I_{k-1}^J]      old filters, over its own channels,

is trained. Columns exist in one of two readings; without them the weights are block lower-triangular, and an old filter answers alike for
all tasks. Rows and columns are parameters of their own, so an optimiser that is handed one task's has nothing else to move; the whole is
put together when it is used, older tasks' parts without gradient. Batch norms: with columns old filters change with the task, so each
task has statistics and affine parameters for all filters that it uses; without, for its own filters alone, and old filters keep theirs.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import floor
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import Parameter, functional

from scenarios.errors import UserError
from strategies.networks.unit import Unit

Bounds = tuple[int, ...]
"""How many channels each task uses: I^0 = 0, I^1, ..., I^N."""


@dataclass
class Selection:
    """Which task's part of the network answers.

    Attributes:
        task: the task, from 0.
    """

    task: int = 0


@dataclass(frozen=True)
class Plan:
    """How layers are shared.

    Attributes:
        shares: for each task, the share of each layer that it and its predecessors use.
        columns: whether old filters read new channels.
    """

    shares: tuple[Fraction, ...]
    columns: bool

    def bounds(self, width: int) -> Bounds:
        """Share the filters of a layer.

        Args:
            width: how many there are.

        Returns:
            I^0, ..., I^N.

        Raises:
            UserError: a task would get no filter.

        Example:
            >>> Plan((Fraction(1, 3), Fraction(2, 3), Fraction(1)), True).bounds(10)
            (0, 3, 7, 10)
        """
        bounds = (0, *(floor(width * share + Fraction(1, 2)) for share in self.shares))
        for task, (before, after) in enumerate(zip(bounds, bounds[1:])):
            if after <= before:
                raise UserError(
                    f"a layer of width {width} has nothing left for experience {task}; widen the network (network.hidden, "
                    "network.channels or network.width), learn fewer experiences, or change strategy.shares"
                )
        return bounds


class StackedLayer(nn.Module):
    """A linear or convolutional layer in rows and columns.

    New entries are those that the layer was initialised with, scaled to the number of channels that they are born into.

    Args:
        layer: the layer at its full width.
        rows: how its filters are shared.
        inputs: how its input channels are shared.
        plan: how layers are shared.
        selection: which task answers.
    """

    def __init__(self, layer: nn.Linear | nn.Conv2d, rows: Bounds, inputs: Bounds, plan: Plan, selection: Selection) -> None:
        super().__init__()
        self.selection = selection
        self.row_bounds, self.input_bounds = rows, inputs
        self.options: dict[str, Any] = {}
        if isinstance(layer, nn.Conv2d):
            self.options = {"stride": layer.stride, "padding": layer.padding, "dilation": layer.dilation}
        self.rows, self.columns, self.biases = nn.ParameterList(), nn.ParameterDict(), nn.ParameterList()
        weight = layer.weight.detach()
        for task, (old, own) in enumerate(zip(rows, rows[1:])):
            seen, new = inputs[task + 1], range(inputs[task], inputs[task + 1])
            scale = (weight.shape[1] / seen) ** 0.5
            self.rows.append(Parameter(_copy(weight[old:own, :seen] * scale, weight)))
            if plan.columns and old and new:
                self.columns[str(task)] = Parameter(_copy(weight[:old, new.start : new.stop] * scale, weight))
            if layer.bias is not None:
                self.biases.append(Parameter(layer.bias.detach()[old:own] * scale))

    def forward(self, x: Tensor) -> Tensor:
        """Apply the selected task's part.

        Args:
            x: [B, I_{k-1}^J, ...].

        Returns:
            [B, I_k^J, ...].
        """
        task = self.selection.task
        weight, bias = self.weight(task), self.bias(task)
        return functional.conv2d(x, weight, bias, **self.options) if weight.ndim == 4 else functional.linear(x, weight, bias)

    def weight(self, task: int) -> Tensor:
        """Put a task's weights together; only its own rows and columns have a gradient.

        Args:
            task: the task.

        Returns:
            [I_k^J, I_{k-1}^J, ...].
        """
        whole = self.rows[0] if task == 0 else self.rows[0].detach()
        for number in range(1, task + 1):
            rows = self.rows[number] if number == task else self.rows[number].detach()
            missing = rows.shape[1] - whole.shape[1]
            if str(number) in self.columns:
                columns = self.columns[str(number)] if number == task else self.columns[str(number)].detach()
                whole = torch.cat([whole, columns], 1)
            elif missing:
                whole = torch.cat([whole, whole.new_zeros(len(whole), missing, *whole.shape[2:])], 1)
            whole = torch.cat([whole, rows])
        return whole

    def bias(self, task: int) -> Tensor | None:
        """Put a task's biases together; only its own have a gradient.

        Args:
            task: the task.

        Returns:
            [I_k^J], or None where the layer has none.
        """
        if not len(self.biases):
            return None
        if task == 0:
            return self.biases[0]
        return torch.cat([*(self.biases[number].detach() for number in range(task)), self.biases[task]])

    def part(self, task: int) -> nn.Linear | nn.Conv2d:
        """A task's part of the layer as a layer by itself.

        Args:
            task: the task.

        Returns:
            A copy, all of it to be trained.
        """
        weight, bias = self.weight(task), self.bias(task)
        made: nn.Linear | nn.Conv2d
        if weight.ndim == 4:
            kernel = (weight.shape[2], weight.shape[3])
            made = nn.Conv2d(weight.shape[1], weight.shape[0], kernel, bias=bias is not None, device="meta", **self.options)
        else:
            made = nn.Linear(weight.shape[1], weight.shape[0], bias=bias is not None, device="meta")
        made.weight = Parameter(_copy(weight.detach().clone(), weight))
        made.bias = None if bias is None else Parameter(bias.detach().clone())
        return made

    def of_task(self, task: int) -> Iterator[Parameter]:
        """What a task trains.

        Args:
            task: the task.

        Yields:
            Its rows, columns and biases.
        """
        yield self.rows[task]
        if str(task) in self.columns:
            yield self.columns[str(task)]
        if len(self.biases):
            yield self.biases[task]


class StackedNorm(nn.Module):
    """Batch norms by task: of all filters that it uses, or of its own alone where old filters do not change.

    Args:
        norm: the batch norm at its full width.
        bounds: how its channels are shared.
        plan: how layers are shared.
        selection: which task answers.
    """

    def __init__(self, norm: nn.BatchNorm1d | nn.BatchNorm2d, bounds: Bounds, plan: Plan, selection: Selection) -> None:
        super().__init__()
        self.selection = selection
        self.bounds = bounds
        self.own_only = not plan.columns
        self.norms = nn.ModuleList(
            type(norm)(own - (old if self.own_only else 0), norm.eps, norm.momentum, device=norm.weight.device, dtype=norm.weight.dtype)
            for old, own in zip(bounds, bounds[1:])
        )

    def forward(self, x: Tensor) -> Tensor:
        """Normalise as the selected task does.

        Args:
            x: [B, I^J, ...].

        Returns:
            [B, I^J, ...].
        """
        task = self.selection.task
        if not self.own_only or task == 0:
            return self.norms[task](x)
        blocks = list(x.split([own - old for old, own in zip(self.bounds, self.bounds[1 : task + 2])], 1))
        for number in range(task):
            norm: Any = self.norms[number]
            frozen = norm.weight.detach(), norm.bias.detach()
            blocks[number] = functional.batch_norm(blocks[number], norm.running_mean, norm.running_var, *frozen, False, 0.0, norm.eps)
        blocks[task] = self.norms[task](blocks[task])
        return torch.cat(blocks, 1)

    def part(self, task: int) -> nn.BatchNorm1d | nn.BatchNorm2d:
        """A task's batch norm as one by itself.

        Args:
            task: the task.

        Returns:
            A copy over all channels that the task uses.
        """
        blocks: list[Any] = list(self.norms[: task + 1]) if self.own_only else [self.norms[task]]
        kind: Any = type(blocks[0])
        made = kind(self.bounds[task + 1], blocks[0].eps, blocks[0].momentum).to(blocks[0].weight)
        state = {
            name: torch.cat([block.state_dict()[name] for block in blocks]) for name in ("weight", "bias", "running_mean", "running_var")
        }
        made.load_state_dict({**made.state_dict(), **state})
        return made


class StackedUnit(nn.Module):
    """A unit whose layer and batch norm are shared by tasks.

    Args:
        layer: its layer, if it has one.
        norm: its batch norm, if it has one.
    """

    def __init__(self, layer: StackedLayer | None, norm: StackedNorm | None) -> None:
        super().__init__()
        self.layer = layer
        self.norm = norm

    def forward(self, x: Tensor) -> Tensor:
        """Apply the layer, then the norm.

        Args:
            x: [B, I_{k-1}^J, ...].

        Returns:
            [B, I_k^J, ...].
        """
        x = self.layer(x) if self.layer is not None else x
        return self.norm(x) if self.norm is not None else x

    def part(self, task: int) -> Unit:
        """A task's part of the unit.

        Args:
            task: the task.

        Returns:
            A copy that is a unit by itself.
        """
        layer, norm = self.layer, self.norm
        return Unit(None if layer is None else layer.part(task), None if norm is None else norm.part(task))


class StackedShortcut(nn.Module):
    """Every second pixel, and channels of zeros at the end of each task's channels: a task's channels stay its own.

    Args:
        stride: how many pixels a step takes.
        inputs: how the input's channels are shared.
        outputs: how the output's channels are shared.
        selection: which task answers.
    """

    def __init__(self, stride: int, inputs: Bounds, outputs: Bounds, selection: Selection) -> None:
        super().__init__()
        self.stride = stride
        self.inputs, self.outputs = inputs, outputs
        self.selection = selection

    def forward(self, x: Tensor) -> Tensor:
        """Change the shape.

        Args:
            x: [B, I_{k-1}^J, H, W].

        Returns:
            [B, I_k^J, H / stride, W / stride].
        """
        x = x[:, :, :: self.stride, :: self.stride]
        blocks = []
        for task in range(self.selection.task + 1):
            own = x[:, self.inputs[task] : self.inputs[task + 1]]
            missing = self.outputs[task + 1] - self.outputs[task] - own.shape[1]
            blocks.append(functional.pad(own, (0, 0, 0, 0, 0, missing)))
        return torch.cat(blocks, 1)


def _copy(part: Tensor, whole: Tensor) -> Tensor:
    channels_last = whole.ndim == 4 and whole.is_contiguous(memory_format=torch.channels_last) and not whole.is_contiguous()
    return part.contiguous(memory_format=torch.channels_last) if channels_last else part.contiguous()
