"""The exact Gauss-Newton block of a batch, layer by layer, by brute force: the reference of every approximation.

The Hessian of example n's loss by its logits is diag(p_n) - p_n p_n^T, and the columns sqrt(p_nc) (e_c - p_n) are its root. Each of the N C
directions (n, c) is sent back through the *batch* as it is, norms in training mode included. With G = sum_m g_m a_m^T what arrives at a
layer's weight,

    H = 1/N sum over (n, c) of vec(G) vec(G)^T

No term is dropped and nothing is factorised. The blocks are kept as their roots, so that they can be compared with Kronecker sums without
being formed. Only first derivatives are taken: second ones through a batch norm are wrong in some of PyTorch's function transforms.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from strategies.penalties.curvature.factors import Form, LayerSums
from strategies.penalties.curvature.kronecker import Kronecker
from strategies.penalties.curvature.taps import Taps, input_rows, output_rows


@dataclass(frozen=True, eq=False)
class Rows:
    """What one layer sees of a batch.

    Attributes:
        inputs: [G, N, T, D].
        derivatives: [R, G, N, T, O], by the layer's output, for each direction.
        coupled: whether the layer's tap flows into a norm in training mode.
    """

    inputs: Tensor
    derivatives: Tensor
    coupled: bool

    def root(self) -> Tensor:
        """The block's root: H = root^T root for each group.

        Returns:
            [G, R, O * D].
        """
        examples = self.inputs.shape[1]
        arrived = torch.einsum("rgnto,gntd->grod", self.derivatives, self.inputs)
        return arrived.flatten(2) / examples**0.5

    def kronecker(self, form: Form) -> Kronecker:
        """The Kronecker approximation of this batch's block, from the same derivatives.

        Args:
            form: which terms.

        Returns:
            The approximation.
        """
        sums = LayerSums(form)
        sums.add(self.inputs, self.derivatives, 1.0)
        return sums.curvature(mean_pairs=False)


def directions(logits_NK: Tensor) -> Tensor:
    """The roots of the Hessians of cross-entropy by the logits.

    Args:
        logits_NK: over the outputs in play.

    Returns:
        [N * K, N, K]: what is sent back.

    Example:
        >>> root = directions(torch.zeros(1, 2))
        >>> torch.allclose(root[:, 0].T @ root[:, 0], torch.tensor([[0.25, -0.25], [-0.25, 0.25]]))
        True
    """
    examples, width = logits_NK.shape
    p_NK = logits_NK.detach().softmax(1)
    eye = torch.eye(width, dtype=p_NK.dtype, device=p_NK.device)
    roots_NCK = p_NK.sqrt().unsqueeze(2) * (eye - p_NK.unsqueeze(1))
    sent = p_NK.new_zeros(examples, width, examples, width)
    place = torch.arange(examples, device=p_NK.device)
    sent[place, :, place] = roots_NCK
    return sent.flatten(0, 1)


def send_back(taps: Taps, outputs_NK: Tensor, sent_RNK: Tensor) -> dict[str, Rows]:
    """Send directions back through a batch.

    Args:
        taps: of the forward pass.
        outputs_NK: the network's outputs, with their graph.
        sent_RNK: the directions.

    Returns:
        What arrives, by layer.
    """
    arrived: dict[str, list[Tensor]] = {name: [] for name in taps.outputs}
    for direction in sent_RNK:
        gradients = torch.autograd.grad(outputs_NK, list(taps.outputs.values()), direction, retain_graph=True, allow_unused=True)
        for (name, output), gradient in zip(taps.outputs.items(), gradients):
            arrived[name].append(torch.zeros_like(output) if gradient is None else gradient)
    coupled = taps.coupled()
    found = {}
    for layer in taps.layers:
        if layer.name in arrived:
            derivatives = torch.stack([output_rows(layer, each) for each in arrived[layer.name]])
            found[layer.name] = Rows(input_rows(layer, taps.inputs[layer.name]), derivatives, layer.name in coupled)
    return found


def block(root_GRP: Tensor) -> Tensor:
    """The block itself; only for small layers.

    Args:
        root_GRP: what `Rows.root` gave.

    Returns:
        [G, P, P].
    """
    return root_GRP.mT @ root_GRP


def relative_error(root_GRP: Tensor, approximation: Kronecker) -> float:
    """Frobenius norm of the difference from the exact block, by that of the exact block.

    Neither is formed: the inner products of roots are enough.

    Args:
        root_GRP: the exact block's root.
        approximation: its approximation.

    Returns:
        The relative error.
    """
    exact = (root_GRP @ root_GRP.mT).square().sum()
    left, right = (factors.unsqueeze(2) for factors in approximation.all_terms())
    changes = root_GRP.unflatten(2, (left.shape[-1], right.shape[-1]))
    both = sum((left[:, term] @ changes @ right[:, term] * changes).sum() for term in range(left.shape[1]))
    squared = exact - 2 * both + approximation.inner(approximation)
    return float((squared.clamp(min=0) / exact).sqrt())


def stack(roots: Sequence[Tensor]) -> Tensor:
    """The root of the mean block of several batches.

    Args:
        roots: of each batch.

    Returns:
        [G, sum of R, P].
    """
    return torch.cat(list(roots), 1) / len(roots) ** 0.5
