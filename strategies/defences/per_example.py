"""What single examples ask of a network: losses, gradients, and the gradients' inner products with another one."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor
from torch.func import functional_call, grad, vmap
from torch.nn import Parameter, functional

from scenarios.experience import Batch, Examples
from strategies.answering import Answering
from strategies.base import Strategy
from strategies.networks.norms import still

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
    with still(strategy.network):
        step = Strategy.loss(strategy, batch)
    assert step.logits is not None and step.targets is not None
    return functional.cross_entropy(step.logits, step.targets, reduction="none")


def alignments(losses_: Tensor, parameters: Sequence[Parameter], direction: Sequence[Tensor | None]) -> Tensor:
    """Inner products of each example's gradient with one direction.

    With J the losses' derivative by the parameters and w any weights, (J^T w, direction) is linear in w, and its derivative by w is
    J direction: two backward passes give all products, and no gradient of a single example is formed.

    Args:
        losses_: [B], with their graph, which is kept.
        parameters: of the network.
        direction: by each parameter; None for 0.

    Returns:
        [B].
    """
    pairs = [(parameter, along) for parameter, along in zip(parameters, direction) if along is not None]
    weights = torch.ones_like(losses_, requires_grad=True)
    found = torch.autograd.grad((weights * losses_).sum(), [p for p, _ in pairs], create_graph=True, allow_unused=True)
    products = [(gradient * along).sum() for gradient, (_, along) in zip(found, pairs) if gradient is not None]
    (result,) = torch.autograd.grad(torch.stack(products).sum(), weights, retain_graph=True)
    return result


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
        product = torch.stack([(each[name].reshape(len(batch.x), -1) @ part.flatten()) for name, part in direction.items()]).sum(0)
        own = torch.stack([each[name].reshape(len(batch.x), -1).square().sum(1) for name in direction]).sum(0).sqrt()
        found.append(product / (own * length).clamp_min(1e-30))
    return torch.cat(found)


def _chunks(examples: Examples) -> Iterator[Batch]:
    for start in range(0, len(examples), CHUNK):
        yield examples.batch(slice(start, start + CHUNK))
