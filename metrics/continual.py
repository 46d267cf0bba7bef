"""Continual learning: every number from one accuracy matrix and one initial row.

Matrices and rows are tensors, NumPy arrays or nested lists. `matrix[i, j]` is R[i, j], the accuracy on experience j after learning
experience i (both 0..L); `initial[j]` is R0[j], the accuracy before any learning. An empty cell is nan. A metric that needs an empty cell
is None: it is absent, never 0. Means over experiences are plain means; one alone weighs experiences by their test examples n_j.

The literature uses one word for several numbers, so here a name carries its definition:

    average_accuracy              mean_j R[L, j]
    average_incremental_accuracy  mean_i ( sum_{j<=i} n_j R[i, j] / sum_{j<=i} n_j )     Rebuffi et al. 2017, arXiv:1611.07725
    average_forgetting            mean_{j<L} ( max_{j<=i<L} R[i, j] - R[L, j] )          Chaudhry et al. 2018, arXiv:1801.10112
    average_forgetting_diagonal   mean_{j<L} ( R[j, j] - R[L, j] )
    backward_transfer             mean_{j<L} ( R[L, j] - R[j, j] )                       Lopez-Paz & Ranzato 2017, arXiv:1706.08840
    forward_transfer              mean_{j>0} ( R[j-1, j] - R0[j] )                       the same
    learning_accuracy             mean_j R[j, j]                                         Riemer et al. 2019, arXiv:1810.11910
    intransigence                 mean_j ( reference[j] - R[j, j] )                      Chaudhry et al. 2018

The state after an earlier experience i is the upper left corner: `average_forgetting(matrix[: i + 1, : i + 1])`.
"""

from __future__ import annotations

import torch
from torch import Tensor

from metrics.inputs import Array, tensor


def average_accuracy(matrix: Array) -> float | None:
    """Accuracy over all experiences at the end: mean over j of R[L, j].

    Args:
        matrix: [L+1, L+1].

    Returns:
        The mean, or None where a cell of the last row is empty.

    Example:
        >>> average_accuracy(torch.tensor([[1.0, 0.5], [0.75, 1.0]]))
        0.875
    """
    return _mean(_square(matrix)[-1])


def average_accuracy_seen(matrix: Array) -> Tensor:
    """How the average accuracy over what has been seen develops: after each i, the mean over j <= i of R[i, j].

    Args:
        matrix: [L+1, L+1].

    Returns:
        float64 [L+1]; nan where a cell is empty. The last value is `average_accuracy`.

    Example:
        >>> average_accuracy_seen(torch.tensor([[1.0, 0.5], [0.75, 1.0]])).tolist()
        [1.0, 0.875]
    """
    seen = _square(matrix).tril()
    return seen.sum(1) / torch.arange(1, len(seen) + 1, dtype=seen.dtype, device=seen.device)


def average_incremental_accuracy(matrix: Array, sizes: Array) -> float | None:
    """The number that class-incremental papers compare: accuracy on all test examples of what has been seen, averaged over the stream.

    After experience i it is the share of right answers among the test examples of experiences 0..i, whatever the experiences' sizes; the
    mean over i follows. The last experience counts as all others do, and the first as well.

    Args:
        matrix: [L+1, L+1].
        sizes: [L+1], the test examples of each experience.

    Returns:
        The mean, or None where a cell of the lower triangle is empty.

    Example:
        >>> average_incremental_accuracy(torch.tensor([[1.0, 0.5], [0.5, 1.0]]), [30, 10])
        0.8125
    """
    cells, weights = _square(matrix), _row(sizes, "the sizes")
    known = torch.ones_like(cells, dtype=torch.bool).tril()
    right = torch.where(known, cells * weights, 0.0).sum(1)
    return _mean(right / weights.cumsum(0))


def accuracy_by_age(matrix: Array) -> Tensor:
    """The average forgetting curve: accuracy on an experience, d experiences after it was learned, averaged over experiences.

    curve[d] = mean_{j <= L-d} R[j + d, j]. Few experiences reach a great age: curve[L] is experience 0 alone.

    Args:
        matrix: [L+1, L+1].

    Returns:
        float64 [L+1]; nan where a cell is empty. The first value is `learning_accuracy`.

    Example:
        >>> accuracy_by_age(torch.tensor([[1.0, 0.5], [0.25, 0.5]])).tolist()
        [0.75, 0.25]
    """
    cells = _square(matrix)
    return torch.stack([cells.diagonal(-age).mean() for age in range(len(cells))])


def forgetting(matrix: Array) -> Tensor:
    """What was lost of each experience since its best moment: max over j <= i < L of R[i, j], minus R[L, j].

    Negative where an experience is known better at the end than ever before.

    Args:
        matrix: [L+1, L+1].

    Returns:
        float64 [L], for the experiences before the last; nan where a needed cell is empty.

    Example:
        >>> forgetting(torch.tensor([[0.75, 0.0, 0.0], [1.0, 1.0, 0.0], [0.5, 0.75, 1.0]])).tolist()
        [0.5, 0.25]
    """
    cells = _square(matrix)
    earlier = cells[:-1, :-1]
    unborn = torch.ones_like(earlier, dtype=torch.bool).triu(1)
    best = earlier.masked_fill(unborn, -torch.inf).amax(0) if len(earlier) else cells.new_empty(0)
    return best - cells[-1, :-1]


def average_forgetting(matrix: Array) -> float | None:
    """The mean of `forgetting` over the experiences before the last.

    Args:
        matrix: [L+1, L+1].

    Returns:
        The mean, or None where a needed cell is empty or there is one experience only.

    Example:
        >>> average_forgetting(torch.tensor([[1.0, 0.5], [0.75, 1.0]]))
        0.25
    """
    return _mean(forgetting(matrix))


def forgetting_diagonal(matrix: Array) -> Tensor:
    """What was lost of each experience since it was just learned: R[j, j] - R[L, j]. Never above `forgetting`.

    Args:
        matrix: [L+1, L+1].

    Returns:
        float64 [L], for the experiences before the last; nan where a needed cell is empty.

    Example:
        >>> forgetting_diagonal(torch.tensor([[0.75, 0.0, 0.0], [1.0, 1.0, 0.0], [0.5, 0.75, 1.0]])).tolist()
        [0.25, 0.25]
    """
    cells = _square(matrix)
    return (cells.diagonal() - cells[-1])[:-1]


def average_forgetting_diagonal(matrix: Array) -> float | None:
    """The mean of `forgetting_diagonal` over the experiences before the last: `backward_transfer` with the opposite sign.

    Args:
        matrix: [L+1, L+1].

    Returns:
        The mean, or None where a needed cell is empty or there is one experience only.

    Example:
        >>> average_forgetting_diagonal(torch.tensor([[1.0, 0.5], [0.75, 1.0]]))
        0.25
    """
    return _mean(forgetting_diagonal(matrix))


def backward_transfer(matrix: Array) -> float | None:
    """What later learning did to earlier experiences: mean over j < L of R[L, j] - R[j, j].

    Args:
        matrix: [L+1, L+1].

    Returns:
        The mean, or None where a needed cell is empty or there is one experience only.

    Example:
        >>> backward_transfer(torch.tensor([[1.0, 0.5], [0.75, 1.0]]))
        -0.25
    """
    cells = _square(matrix)
    return _mean((cells[-1] - cells.diagonal())[:-1])


def forward_transfer(matrix: Array, initial: Array) -> float | None:
    """What earlier learning did for experiences not yet learned: mean over j > 0 of R[j-1, j] - R0[j].

    Args:
        matrix: [L+1, L+1].
        initial: [L+1], the accuracies before any learning.

    Returns:
        The mean, or None where a needed cell is empty (always in setting `class`) or there is one experience only.

    Example:
        >>> forward_transfer(torch.tensor([[1.0, 0.75], [0.5, 1.0]]), torch.tensor([0.5, 0.5]))
        0.25
    """
    return _mean(_square(matrix).diagonal(1) - _row(initial, "the initial row")[1:])


def learning_accuracy(matrix: Array) -> float | None:
    """How well experiences are learned in the first place: mean over j of R[j, j].

    Args:
        matrix: [L+1, L+1].

    Returns:
        The mean, or None where a cell of the diagonal is empty.

    Example:
        >>> learning_accuracy(torch.tensor([[1.0, 0.5], [0.75, 0.5]]))
        0.75
    """
    return _mean(_square(matrix).diagonal())


def intransigence(matrix: Array, reference: Array) -> float | None:
    """What a learner fails to learn that a reference learns: mean over j of reference[j] - R[j, j].

    Args:
        matrix: [L+1, L+1].
        reference: [L+1], the accuracy on experience j of a model trained on experiences 0..j jointly: the diagonal of a run of `joint`.

    Returns:
        The mean (negative where the learner beats the reference), or None where a needed cell is empty.

    Example:
        >>> intransigence(torch.tensor([[1.0, 0.5], [0.75, 0.5]]), torch.tensor([1.0, 1.0]))
        0.25
    """
    return _mean(_row(reference, "the reference") - _square(matrix).diagonal())


def summarise(matrix: Array, initial: Array, sizes: Array | None = None) -> dict[str, float]:
    """The metrics of the matrix that a run's summary holds.

    Args:
        matrix: [L+1, L+1].
        initial: [L+1], the accuracies before any learning.
        sizes: [L+1], the test examples of each experience; None leaves out what needs them.

    Returns:
        Names to values, without those that are absent.

    Example:
        >>> nan = float("nan")
        >>> summarise(torch.tensor([[1.0, nan], [0.75, 0.5]]), torch.tensor([nan, nan]))
        {'average_accuracy': 0.625, 'average_forgetting': 0.25, 'backward_transfer': -0.25}
    """
    values = {
        "average_accuracy": average_accuracy(matrix),
        "average_incremental_accuracy": None if sizes is None else average_incremental_accuracy(matrix, sizes),
        "average_forgetting": average_forgetting(matrix),
        "backward_transfer": backward_transfer(matrix),
        "forward_transfer": forward_transfer(matrix, initial),
    }
    return {name: value for name, value in values.items() if value is not None}


def _square(matrix: Array) -> Tensor:
    cells = tensor(matrix, "the accuracy matrix", "[L+1, L+1]", dtype=torch.float64)
    if cells.shape[0] != cells.shape[1] or not len(cells):
        raise ValueError(f"the accuracy matrix must be square, not {tuple(cells.shape)}; cut it to the experiences learned")
    return cells


def _row(values: Array, name: str) -> Tensor:
    return tensor(values, name, "[L+1]", dtype=torch.float64)


def _mean(cells: Tensor) -> float | None:
    if not len(cells) or bool(cells.isnan().any()):
        return None
    return float(cells.mean())
