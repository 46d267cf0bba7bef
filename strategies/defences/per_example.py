"""What single examples ask of a network: losses, gradients, and the gradients' inner products with another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor, nn
from torch.func import functional_call, grad, jvp, vmap
from torch.nn import Parameter, functional

from scenarios.experience import Batch, Examples
from strategies.answering import Answering
from strategies.base import Strategy

CHUNK = 64
"""Examples whose gradients are formed at once."""


def losses(strategy: Strategy, batch: Batch) -> Tensor:
    """Cross-entropy of each example of a training batch, in the network as it is.

    Args:
        strategy: the learner.
        batch: the batch.

    Returns:
        [B], with the graph.
    """
    step = Strategy.loss(strategy, batch)
    assert step.logits is not None and step.targets is not None
    return functional.cross_entropy(step.logits, step.targets, reduction="none")


class _Losses(nn.Module):
    # So that the losses of a batch can be asked for at other parameters.
    def __init__(self, strategy: Strategy) -> None:
        super().__init__()
        self.network = strategy.network
        self._strategy = (strategy,)

    def forward(self, batch: Batch) -> Tensor:
        return losses(self._strategy[0], batch)


def alignments(strategy: Strategy, batch: Batch, parameters: Sequence[Parameter], direction: Sequence[Tensor | None]) -> Tensor:
    """Inner products of each example's gradient with one direction, by one directional derivative (forward mode).

    Args:
        strategy: the learner.
        batch: the batch.
        parameters: of its network.
        direction: by each parameter; None for 0.

    Returns:
        [B].
    """
    module = _Losses(strategy)
    names = {id(parameter): name for name, parameter in module.named_parameters()}
    along = {names[id(p)]: d for p, d in zip(parameters, direction) if d is not None}
    known = {name: parameter.detach() for name, parameter in module.named_parameters() if name in along}
    buffers = {name: buffer.clone() for name, buffer in module.named_buffers()}

    def at(values: dict[str, Tensor]) -> Tensor:
        return functional_call(module, {**values, **buffers}, (batch,))

    return jvp(at, (known,), (along,))[1].detach()


def gradients(model: Answering, x: Tensor, y: Tensor, task: int, outputs: range, names: Sequence[str]) -> dict[str, Tensor]:
    """The gradient of each example's cross-entropy.

    Args:
        model: the network; its answer to an image depends on that image alone.
        x: [B, C, H, W], normalised.
        y: int64 [B].
        task: their experience.
        outputs: that the loss looks at.
        names: of the parameters by which it is taken.

    Returns:
        For each, [B, *shape].
    """
    known = {name: parameter.detach() for name, parameter in model.named_parameters() if name in set(names)}

    def loss(values: dict[str, Tensor], image: Tensor, label: Tensor) -> Tensor:
        return functional.cross_entropy(functional_call(model, values, (image[None], task, outputs)), label[None])

    return vmap(grad(loss), (None, 0, 0))(known, x, y - outputs.start)


def cosines(model: Answering, examples: Examples, task: int, outputs: range, direction: dict[str, Tensor]) -> Tensor:
    """The cosine of each example's gradient and one direction.

    Args:
        model: the network, in evaluation mode.
        examples: of one experience.
        task: the experience.
        outputs: that its loss looks at.
        direction: by each parameter that counts.

    Returns:
        [n].
    """
    length = torch.stack([part.square().sum() for part in direction.values()]).sum().sqrt()
    found = []
    for batch in _chunks(examples):
        each = gradients(model, batch.x, batch.y, task, outputs, list(direction))
        product = torch.stack([(each[name].flatten(1) @ part.flatten()) for name, part in direction.items()]).sum(0)
        own = torch.stack([each[name].flatten(1).square().sum(1) for name in direction]).sum(0).sqrt()
        found.append(product / (own * length).clamp_min(1e-30))
    return torch.cat(found)


def _chunks(examples: Examples) -> Iterator[Batch]:
    for start in range(0, len(examples), CHUNK):
        yield examples.batch(slice(start, start + CHUNK))
