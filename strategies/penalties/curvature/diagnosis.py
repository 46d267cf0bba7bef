"""How far the Kronecker approximations of curvature are from the exact Gauss-Newton block of a batch, layer by layer.

Everything is computed in float64 from the same derivatives, with norms in training mode: what differs is what each approximation drops.
K-FAC drops all pairs of examples; XK-FAC keeps the pairs that a batch norm behind the layer creates, but takes inputs for uncorrelated with
derivatives. Errors are relative, in Frobenius norm; 1.0 is as bad as to have no curvature at all.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from scenarios.errors import UserError
from strategies.networks.network import InPlay, Network, narrowed
from strategies.penalties.curvature.exact import Rows, directions, relative_error, send_back, stack
from strategies.penalties.curvature.factors import Form, LayerSums
from strategies.penalties.curvature.kronecker import Kronecker
from strategies.penalties.curvature.merge import batch_statistics, merged_layers
from strategies.penalties.curvature.taps import Tap, Taps

if TYPE_CHECKING:
    from scenarios.experience import Examples
    from scenarios.random import Randomness
    from strategies.base import Strategy

LARGEST = 2**27
"""Numbers that the root of one layer's block may take (1 GiB in float64)."""

EXAMPLES = 32
"""Examples in the batch of `curvature`."""


def diagnose(
    network: Network, batches: Sequence[Tensor], outputs: InPlay, *, tap: Tap = "post_bn", conv: Form = "virtual"
) -> list[dict[str, Any]]:
    """Compare K-FAC's and XK-FAC's blocks with the exact ones.

    Args:
        network: of units; a copy of it is looked at.
        batches: inputs [N, C, H, W], all of one size: blocks are means over batches, and so are the factors.
        outputs: the outputs in play.
        tap: where the derivative is taken.
        conv: the form of XK-FAC's pairs in convolutions.

    Returns:
        A row for each layer: `layer`, `tap`, `examples` (of a batch), `batches`, `coupled` (whether a norm in training mode lies behind),
        `exact_norm`, `kfac_error`, `xkfac_error` (as XK-FAC is used: pairs where it is coupled), `ungated_error` (pairs everywhere).
    """
    network = copy.deepcopy(network).double()
    collected: dict[str, list[Tensor]] = {}
    sums: dict[str, dict[str, LayerSums]] = {}
    coupled: dict[str, bool] = {}
    for batch in batches:
        for name, rows in _exact_rows(network, batch.double(), outputs, tap).items():
            collected.setdefault(name, []).append(rows.root())
            coupled[name] = rows.coupled
            form: Form = conv if rows.inputs.shape[2] > 1 else "virtual"
            kept = sums.setdefault(name, {"kfac": LayerSums("plain"), "extended": LayerSums(form)})
            for each in kept.values():
                each.add(rows.inputs, rows.derivatives, 1.0)
    table = []
    for name, roots in collected.items():
        root = stack(roots)
        kfac, extended = (relative_error(root, _curvature(sums[name][kind])) for kind in ("kfac", "extended"))
        table.append(
            {
                "layer": name,
                "tap": tap,
                "examples": len(batches[0]),
                "batches": len(batches),
                "coupled": coupled[name],
                "exact_norm": float((root @ root.mT).norm()),
                "kfac_error": kfac,
                "xkfac_error": extended if coupled[name] else kfac,
                "ungated_error": extended,
            }
        )
    return table


def curvature(strategy: Strategy, examples: Examples, randomness: Randomness) -> list[dict[str, Any]]:
    """Diagnose a strategy's network on one batch: what `--diagnose curvature` reports.

    Args:
        strategy: a learner whose network is made of units.
        examples: what the batch is drawn from, all of one experience.
        randomness: of the run.

    Returns:
        The rows of `diagnose`, with both taps for layers with a norm of their own.

    Raises:
        UserError: there are too few examples.
    """
    if len(examples) < 2:
        raise UserError("the curvature of a batch needs at least 2 examples; choose a scenario with more")
    order = torch.randperm(len(examples), generator=randomness.generator("curvature diagnosis"))[:EXAMPLES]
    batch = examples.batch(order.to(examples.rows.device))
    outputs = strategy.in_play(batch)
    after = diagnose(strategy.network, [batch.x], outputs)
    normed = {layer.name for layer in merged_layers(strategy.network) if layer.norm is not None}
    before = diagnose(strategy.network, [batch.x], outputs, tap="pre_bn") if normed else []
    return after + [row for row in before if row["layer"] in normed]


def _exact_rows(network: Network, x: Tensor, outputs: InPlay, tap: Tap) -> dict[str, Rows]:
    layers = merged_layers(network)
    with batch_statistics(network), Taps(layers, tap) as taps:
        logits = narrowed(network(x, outputs), outputs)
    largest = max(max(layer.layer.weight.numel(), taps.outputs[layer.name].numel()) for layer in layers if layer.name in taps.outputs)
    if logits.numel() * largest > LARGEST:
        raise UserError(
            f"exact curvature on {len(x)} examples of {logits.shape[1]} classes would take {logits.numel() * largest / LARGEST:.0f} GiB; "
            f"diagnose a smaller network (for instance --network mlp --set network.hidden=100,100)"
        )
    return send_back(taps, logits, directions(logits))


def _curvature(sums: LayerSums) -> Kronecker:
    return sums.curvature(mean_pairs=False)
