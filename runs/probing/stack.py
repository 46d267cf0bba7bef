"""Trials of one shape trained as one: a leading dimension over trials, gradients by hand, buffers that are made once.

A step of a fully connected network is a few matrix products; what else an engine does costs more time than these. Here it is left out: no
graph, no allocation, one fused kernel for all parameters of a trial. A trunk that is not trained is asked once for the features of the
images that a trial will see, whatever the network: what is trained then is a linear layer on them. Of few images the first layer is told in
terms of them (`runs.probing.layers`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import nn

from runs.engine import InterruptedRunError
from runs.probing.layers import First, InExamples, Layer
from runs.probing.seen import ROWS, see
from strategies.networks.network import Head, Network
from strategies.networks.unit import Unit
from strategies.probes.trial import Trial


class Stack:
    """Trains trials of one shape.

    Args:
        trials: their networks are trained in place.
    """

    def __init__(self, trials: Sequence[Trial]) -> None:
        self.trials, self.trial = trials, trials[0]
        self.seen = see(trials)
        heads: list[Any] = [list(trial.network.head.blocks) for trial in trials]
        alone = self.trial.trained == "head"
        trunk = [] if alone else [([[layer] for layer in same], relu) for same, relu in _layers(trials)]
        (layers, relu), *others = [*trunk, (heads, False)]
        _, examples, width = self.seen.inputs.shape
        kind: type[First] = InExamples if not alone and examples <= width else First
        self.first = kind(layers, relu, self.seen)
        self.others = [Layer(*each) for each in others]
        moved = [layer.trained() for layer in (self.first, *self.others)]
        self.gradients = [[torch.empty_like(part) for part in parts] for parts in moved]
        self.velocities = [[torch.zeros_like(part) for part in parts] for parts in moved]
        shape = self.seen.orders.shape[1:]
        self.values = [layer.bias.new_empty(*shape, layer.bias.shape[2]) for layer in (self.first, *self.others)]
        self.errors = [torch.empty_like(value) for value in self.values]
        self.by_trial = [
            [[part[each] for parts in kinds for part in parts] for kinds in (moved, self.gradients, self.velocities)]
            for each in range(len(trials))
        ]

    @torch.no_grad()
    def carry_out(self, stopping: Callable[[], bool]) -> None:
        """Train and test.

        Args:
            stopping: says whether to stop.

        Raises:
            InterruptedRunError: it said so.
        """
        for trial in self.trials:
            trial.accuracies.clear()
        steps, rates = len(self.seen.orders), [trial.rate_after(0) for trial in self.trials]
        for step in range(steps + 1):
            if step in self.trial.looks:
                for trial, accuracy in zip(self.trials, self._accuracies()):
                    trial.accuracies.append(accuracy)
            if step == steps:
                break
            if stopping():
                raise InterruptedRunError
            if step in self.trial.boundaries():
                before, rates = rates, [trial.rate_after(step) for trial in self.trials]
                if rates != before:
                    # As the engine does, which makes a new optimiser for a new rate.
                    self._rest()
            self._differentiate(step)
            self._descend(rates)
        for layer in (self.first, *self.others):
            layer.finish()

    def _rest(self) -> None:
        for parts in self.velocities:
            for part in parts:
                part.zero_()
        self.first.rest()

    def _differentiate(self, step: int) -> None:
        self.first.forward(step, self.values[0])
        for place, layer in enumerate(self.others):
            torch.baddbmm(layer.bias, self.values[place].relu_(), layer.weight.mT, out=self.values[place + 1])
        self._error(step)
        for place in range(len(self.others), 0, -1):
            error, below, value = self.errors[place], self.errors[place - 1], self.values[place - 1]
            layer, (weight, bias) = self.others[place - 1], self.gradients[place]
            torch.bmm(error.mT, value, out=weight)
            torch.sum(error, 1, keepdim=True, out=bias)
            torch.bmm(error, layer.weight, out=below)
            torch.ops.aten.threshold_backward(below, value, 0, grad_input=below)
        weight, bias = self.gradients[0]
        self.first.backward(step, self.errors[0], weight)
        torch.sum(self.errors[0], 1, keepdim=True, out=bias)

    def _error(self, step: int) -> None:
        # The derivative of the trials' loss by the logits: probabilities minus what is wanted.
        logits, error, classes = self.values[-1], self.errors[-1], self.trial.classes
        for outputs in (slice(classes), slice(classes, None))[: 1 if self.trial.teacher is None else 2]:
            error[..., outputs] = logits[..., outputs].softmax(-1)
        wanted = self.seen.wanted.flatten(0, 1).index_select(0, self.seen.rows[step])
        error.sub_(wanted.view_as(error)).div_(error.shape[1])

    def _descend(self, rates: list[float]) -> None:
        trial = self.trial
        for (moved, gradients, velocities), rate in zip(self.by_trial, rates):
            # One kernel for all of a trial's parameters, one pass over them; rates differ by trial.
            torch._fused_sgd_(
                moved,
                gradients,
                velocities,
                weight_decay=trial.weight_decay,
                momentum=trial.momentum,
                lr=rate,
                dampening=0.0,
                nesterov=False,
                maximize=False,
                is_first_step=False,
            )
        self.first.stepped(rates, trial.momentum, trial.weight_decay)

    def _accuracies(self) -> list[float]:
        right = torch.zeros(len(self.trials), dtype=torch.int64)
        for start in range(0, len(self.seen.answers), ROWS):
            rows = slice(start, start + ROWS)
            flowing = self.first.test(rows)
            for layer in self.others:
                flowing = torch.baddbmm(layer.bias, flowing.relu_(), layer.weight.mT)
            right += (flowing[..., : self.trial.classes].argmax(-1) == self.seen.answers[rows]).sum(1).cpu()
        return (right.double() / len(self.seen.answers)).tolist()


def stackable(trial: Trial) -> bool:
    """Whether trials like this one can be trained in a stack: by linear layers and ReLU in a row, or by the head alone.

    Args:
        trial: the trial.

    Returns:
        True or false.
    """
    blocks = isinstance(trial.network.head, Head) and all(_plain(block) for block in trial.network.head.blocks)
    return blocks and (trial.trained == "head" or _in_a_row(trial.network) is not None)


def trained_bytes(trial: Trial) -> int:
    """How much of a processor's cache a trial takes in a stack.

    Args:
        trial: one that is stackable.

    Returns:
        Bytes of what is trained.
    """
    weights = [parameter.numel() for parameter in trial.parameters()]
    if trial.trained == "all":
        first = next(iter(_in_a_row(trial.network) or []), (trial.network.head.blocks[0], False))[0]
        assert isinstance(first, nn.Linear)
        weights.append(min(0, len(trial.order.unique()) - first.in_features) * first.out_features)
    return sum(weights) * next(trial.network.parameters()).element_size()


def _plain(module: nn.Module) -> bool:
    # Of a kind that only derives from it, the answers may be computed otherwise.
    return type(module) is nn.Linear and module.bias is not None


def _in_a_row(network: Network) -> list[tuple[nn.Linear, bool]] | None:
    # The linear layers of the trunk, and whether a ReLU follows; None for another kind of trunk.
    if not isinstance(network.backbone, nn.Sequential):
        return None
    found: list[tuple[nn.Linear, bool]] = []
    for module in network.backbone:
        layer = module.layer if isinstance(module, Unit) and module.norm is None else module
        if isinstance(layer, nn.ReLU) and found and not found[-1][1]:
            found[-1] = (found[-1][0], True)
        elif isinstance(layer, nn.Linear) and _plain(layer) and (not found or found[-1][1]):
            found.append((layer, False))
        elif not (isinstance(layer, nn.Flatten) and not found):
            return None
    return found if found and found[-1][1] else None


def _layers(trials: Sequence[Trial]) -> list[tuple[list[nn.Linear], bool]]:
    networks = [_in_a_row(trial.network) or [] for trial in trials]
    return [([layer for layer, _ in same], same[0][1]) for same in zip(*networks)]
