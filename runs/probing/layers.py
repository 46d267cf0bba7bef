"""Linear layers of all trials of a stack at once, and the first of them in terms of the images that it reads.

All that gradient descent adds to a first layer's weights lies in the span of the images X [n, d] that it sees. With W = a W0 + X^T C a
batch's answers are X W = a (X W0) + (X X^T) C: X W0 and X X^T are made once, and the gradient by C is the layer's error itself,
in the batch's rows. Momentum and weight decay are linear, so that they act on (a, C) as on W. Where n <= d the first layer so costs n
instead of d forward and nothing backward. This is arithmetic in another order, no approximation.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from runs.probing.seen import ROWS, Seen


class Layer:
    """A linear layer of every trial, and what gradient descent needs of it.

    Args:
        layers: of each trial those whose outputs stand side by side.
        relu: whether a ReLU follows.
    """

    def __init__(self, layers: Sequence[Sequence[nn.Linear]], relu: bool) -> None:
        self.layers, self.relu = layers, relu
        with torch.no_grad():
            self.weight = torch.stack([torch.cat([part.weight for part in parts]) for parts in layers])
            self.bias = torch.stack([torch.cat([part.bias for part in parts])[None] for parts in layers])

    def trained(self) -> list[Tensor]:
        """What is moved.

        Returns:
            Tensors with a leading dimension over trials.
        """
        return [self.weight, self.bias]

    def finish(self) -> None:
        """Write the weights back."""
        for parts, weight, bias in zip(self.layers, self.weight, self.bias):
            widths = [part.out_features for part in parts]
            for part, rows, offsets in zip(parts, weight.split(widths), bias[0].split(widths)):
                part.weight.copy_(rows)
                part.bias.copy_(offsets)


class First(Layer):
    """The first layer: its inputs are rows of what is seen.

    Args:
        layers: of each trial those whose outputs stand side by side.
        relu: whether a ReLU follows.
        seen: the rows.
    """

    def __init__(self, layers: Sequence[Sequence[nn.Linear]], relu: bool, seen: Seen) -> None:
        super().__init__(layers, relu)
        self.seen = seen

    def forward(self, step: int, out: Tensor) -> None:
        """Answer a batch of each trial.

        Args:
            step: which of the batches.
            out: [T, B, outputs], receives the answers.
        """
        self.batch = self.seen.inputs.flatten(0, 1).index_select(0, self.seen.rows[step]).view(*out.shape[:2], -1)
        torch.baddbmm(self.bias, self.batch, self.weight.mT, out=out)

    def backward(self, step: int, error: Tensor, gradient: Tensor) -> None:
        """Differentiate by what is trained.

        Args:
            step: which of the batches; the one that was answered last.
            error: [T, B, outputs], the derivative by the answers.
            gradient: like the first of `trained`, receives the derivative.
        """
        torch.bmm(error.mT, self.batch, out=gradient)

    def test(self, rows: slice) -> Tensor:
        """Answer some of the test images.

        Args:
            rows: which.

        Returns:
            [T, rows, outputs].
        """
        return torch.baddbmm(self.bias, self.seen.test[:, rows].expand(len(self.weight), -1, -1), self.weight.mT)

    def stepped(self, rates: list[float], momentum: float, decay: float) -> None:
        """Follow a step of gradient descent on what is trained."""

    def rest(self) -> None:
        """Forget the velocity."""


class InExamples(First):
    """The first layer in terms of the images: W = a W0 + X^T C.

    Args:
        layers: of each trial those whose outputs stand side by side.
        relu: whether a ReLU follows.
        seen: the images.
    """

    def __init__(self, layers: Sequence[Sequence[nn.Linear]], relu: bool, seen: Seen) -> None:
        super().__init__(layers, relu, seen)
        count, (_, examples, _) = len(self.weight), seen.inputs.shape
        self.gram = seen.inputs @ seen.inputs.mT
        self.test_gram = torch.cat([seen.test[0, at : at + ROWS] @ seen.inputs.mT for at in range(0, seen.test.shape[1], ROWS)], 1)
        # Copies of one trunk begin with the same weights.
        first = [next(other for other in range(count) if torch.equal(self.weight[other], self.weight[each])) for each in range(count)]
        self.began = torch.stack([seen.inputs[group] @ weight.t() for group, weight in zip(seen.which, self.weight)])
        tested = {each: seen.test[0] @ self.weight[each].t() for each in sorted(set(first))}
        self.test_began = [tested[each] for each in first]
        self.moved = self.weight.new_zeros(count, examples, self.weight.shape[1])
        self.share, self.velocity = [1.0] * count, [0.0] * count
        offsets = torch.arange(count, device=self.weight.device)[:, None] * examples
        self.own = (seen.orders + offsets).flatten(1)

    def trained(self) -> list[Tensor]:
        """What is moved.

        Returns:
            Tensors with a leading dimension over trials.
        """
        return [self.moved, self.bias]

    def forward(self, step: int, out: Tensor) -> None:
        """Answer a batch of each trial.

        Args:
            step: which of the batches.
            out: [T, B, outputs], receives the answers.
        """
        began = self.began.flatten(0, 1).index_select(0, self.own[step]).view_as(out)
        torch.addcmul(self.bias, began, out.new_tensor(self.share)[:, None, None], out=out)
        grams = self.gram.flatten(0, 1).index_select(0, self.seen.rows[step])
        out.baddbmm_(grams.view(*out.shape[:2], -1), self.moved)

    def backward(self, step: int, error: Tensor, gradient: Tensor) -> None:
        """Differentiate by what is trained.

        Args:
            step: which of the batches; the one that was answered last.
            error: [T, B, outputs], the derivative by the answers.
            gradient: like the first of `trained`, receives the derivative.
        """
        gradient.zero_().flatten(0, 1).index_add_(0, self.own[step], error.flatten(0, 1))

    def test(self, rows: slice) -> Tensor:
        """Answer some of the test images.

        Args:
            rows: which.

        Returns:
            [T, rows, outputs].
        """
        grams = [self.test_gram[group, rows] for group in self.seen.which]
        parts = zip(self.bias, self.share, self.test_began, grams, self.moved)
        return torch.stack([torch.addmm(bias + share * began[rows], gram, moved) for bias, share, began, gram, moved in parts])

    def stepped(self, rates: list[float], momentum: float, decay: float) -> None:
        """Follow a step of gradient descent on what is trained.

        Args:
            rates: of each trial.
            momentum: of gradient descent.
            decay: its L2 penalty.
        """
        self.velocity = [momentum * velocity + decay * share for velocity, share in zip(self.velocity, self.share)]
        self.share = [share - rate * velocity for share, rate, velocity in zip(self.share, rates, self.velocity)]

    def rest(self) -> None:
        """Forget the velocity."""
        self.velocity = [0.0] * len(self.velocity)

    def finish(self) -> None:
        """Write the weights back."""
        images = self.seen.inputs[torch.tensor(self.seen.which, device=self.weight.device)]
        self.weight = torch.baddbmm(self.weight.new_tensor(self.share)[:, None, None] * self.weight, self.moved.mT, images)
        super().finish()
