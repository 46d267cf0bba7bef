"""Accuracy from logits of full width, over the outputs in play.

The head has an output for every class from the start. A setting only says which outputs may answer, so one forward pass serves all:

    correct = sum_n [ argmax_{k in play(n)} logits[n, k] == targets[n] ]

`in_play` is a range of outputs, a mask `[K]`, a mask per sample `[N, K]` (mixed tasks), or None for all outputs. Everything stays on the
tensors' device; nothing is turned into a Python number, so nothing waits for the device.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metrics.inputs import Array, tensor


def predictions(logits: Array, in_play: Tensor | range | None = None) -> Tensor:
    """The output with the highest logit among those in play.

    Args:
        logits: [N, K].
        in_play: a contiguous range of outputs, bool [K], bool [N, K], or None for all.

    Returns:
        int64 [N], outputs counted over the full width.

    Example:
        >>> logits = torch.tensor([[3.0, 1.0, 2.0], [0.0, 5.0, 1.0]])
        >>> predictions(logits, range(1, 3)).tolist()
        [2, 1]
    """
    logits = tensor(logits, "logits", "[N, K]")
    if in_play is None:
        return logits.argmax(1)
    if isinstance(in_play, range):
        return logits[:, in_play.start : in_play.stop].argmax(1) + in_play.start
    return logits.masked_fill(~in_play, -torch.inf).argmax(1)


def correct(logits: Array, targets: Array, in_play: Tensor | range | None = None) -> Tensor:
    """How many samples are answered rightly.

    Args:
        logits: [N, K].
        targets: int64 [N], over the full width.
        in_play: a contiguous range of outputs, bool [K], bool [N, K], or None for all.

    Returns:
        int64 scalar.

    Example:
        Task-incremental (outputs 2 and 3 belong to the sample's experience) and class-incremental accuracy from the same logits:

        >>> logits = torch.tensor([[9.0, 0.0, 2.0, 1.0]])
        >>> int(correct(logits, torch.tensor([2]), range(2, 4))), int(correct(logits, torch.tensor([2])))
        (1, 0)
    """
    return (predictions(logits, in_play) == tensor(targets, "targets", "[N]")).sum()


def accuracy(logits: Array, targets: Array, in_play: Tensor | range | None = None) -> Tensor:
    """The share of samples that are answered rightly.

    Args:
        logits: [N, K] with N > 0.
        targets: int64 [N], over the full width.
        in_play: a contiguous range of outputs, bool [K], bool [N, K], or None for all.

    Returns:
        float64 scalar in [0, 1].

    Example:
        >>> float(accuracy(torch.eye(4), torch.tensor([0, 1, 2, 0])))
        0.75
    """
    return correct(logits, targets, in_play).double() / len(targets)


def correct_each(logits: Array, targets: Array, masks: Array) -> Tensor:
    """The same logits judged under several masks at once.

    Args:
        logits: [N, K].
        targets: int64 [N], over the full width.
        masks: bool [M, K], one set of outputs in play a row.

    Returns:
        int64 [M], right answers under each mask. A target that a mask leaves out counts as wrong.

    Example:
        >>> masks = torch.tensor([[True, True, False], [True, True, True]])
        >>> correct_each(torch.tensor([[1.0, 2.0, 3.0]]), torch.tensor([1]), masks).tolist()
        [1, 0]
    """
    logits, masks = tensor(logits, "logits", "[N, K]"), tensor(masks, "masks", "[M, K]", dtype=torch.bool)
    answers = logits.masked_fill(~masks[:, None, :], -torch.inf).argmax(2)
    return (answers == tensor(targets, "targets", "[N]")).sum(1)


def confusion_matrix(predicted: Array, targets: Array, num_classes: int) -> Tensor:
    """Count what was answered for what.

    Args:
        predicted: int64 [N].
        targets: int64 [N].
        num_classes: C.

    Returns:
        int64 [C, C]; row: the target, column: the answer.

    Example:
        >>> confusion_matrix(torch.tensor([0, 1, 1]), torch.tensor([0, 1, 0]), 2).tolist()
        [[1, 1], [0, 1]]
    """
    predicted, targets = tensor(predicted, "predicted", "[N]"), tensor(targets, "targets", "[N]")
    return torch.bincount(targets * num_classes + predicted, minlength=num_classes**2).view(num_classes, num_classes)


def per_class_accuracy(confusion: Array) -> Tensor:
    """Recall of each class: the diagonal over the row sums.

    Args:
        confusion: int64 [C, C], rows are targets.

    Returns:
        float64 [C]; nan for a class without samples.

    Example:
        >>> per_class_accuracy(torch.tensor([[3, 1], [0, 0]])).tolist()
        [0.75, nan]
    """
    confusion = tensor(confusion, "the confusion matrix", "[C, C]")
    return confusion.diagonal().double() / confusion.sum(1)
