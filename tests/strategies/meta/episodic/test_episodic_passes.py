"""Episodic normalisation and the four batch-norm modes, against PyTorch's own batch norm and brute force."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from strategies.meta.episodic.normalise import ByBatch
from strategies.meta.episodic.passes import Passes
from tests.strategies.meta.episodes import episodes, learner

DOUBLE = torch.float64


def _native(one: object) -> nn.Module:
    return one.network.train()  # type: ignore[attr-defined, no-any-return]


def test_a_group_is_normalised_as_batch_norm_in_training_does() -> None:
    x = torch.randn(8, 3, 5, 5, dtype=DOUBLE)
    weight, bias = torch.randn(3, dtype=DOUBLE), torch.randn(3, dtype=DOUBLE)
    mine = ByBatch(1e-5, groups=2)(0, x, weight, bias)
    for group in range(2):
        rows = slice(4 * group, 4 * group + 4)
        reference = nn.functional.batch_norm(x[rows], None, None, weight, bias, training=True)
        assert torch.allclose(mine[rows], reference, atol=1e-12)


def test_the_native_kernel_is_the_same_function() -> None:
    for shape in ((8, 3, 5, 5), (8, 3)):
        x, weight, bias = (torch.randn(size, dtype=DOUBLE, requires_grad=True) for size in (shape, (3,), (3,)))
        for groups in (1, 2, 4):
            found = []
            for native in (False, True):
                out = ByBatch(1e-5, groups, native=native)(0, x, weight, bias)
                first = torch.autograd.grad(out.square().sum(), [x, weight, bias], create_graph=True)
                second = torch.autograd.grad(sum(each.square().sum() for each in first), [x, weight, bias])
                found.append([out, *first, *second])
            assert all(torch.allclose(own, other, rtol=1e-8, atol=1e-8) for own, other in zip(*found))


def test_rows_of_weight_zero_do_not_count() -> None:
    x = torch.randn(6, 3, dtype=DOUBLE)
    weights = torch.tensor([[1.0, 1, 1, 1, 0, 0]], dtype=DOUBLE)
    some = ByBatch(1e-5, rows=weights)(0, x, torch.ones(3, dtype=DOUBLE), torch.zeros(3, dtype=DOUBLE))
    alone = ByBatch(1e-5)(0, x[:4], torch.ones(3, dtype=DOUBLE), torch.zeros(3, dtype=DOUBLE))
    assert torch.allclose(some[:4], alone, atol=1e-12)


def test_the_functional_network_is_the_network() -> None:
    leaky = {"filters": 4, "activation": "leaky_relu", "bias": False}
    for network, net in (("mlp", None), ("conv", None), ("conv4", None), ("conv4", leaky)):
        one = learner("maml", network, net=net)
        x = episodes().support_x[0]
        assert torch.allclose(one.logits(x), _native(one)(x), atol=1e-10)
        one = learner("maml", network, net=net, bn_mode="running")
        one.network.train()(x)
        assert torch.allclose(one.logits(x), one.network.eval()(x), atol=1e-10)


def _passes(mode: str, one: object, batch: object, **more: object) -> tuple[Passes, object]:
    passes = Passes(mode=mode, eps=1e-5, support_x=batch.support_x[0], query_x=batch.query_x[0], **more)  # type: ignore[arg-type, attr-defined]
    return passes, lambda x, normalise: one.net.features(one.theta, x, normalise)  # type: ignore[attr-defined]


def test_modes_normalise_queries_as_they_say() -> None:
    one, batch = learner("maml", "conv"), episodes(1)
    support, query = batch.support_x[0], batch.query_x[0]
    backbone = one.network.backbone.train()
    for norm in one.net.norms:
        norm.momentum = 1.0

    def answer(mode: str) -> Tensor:
        passes, forward = _passes(mode, one, batch)
        return passes.query(forward)  # type: ignore[arg-type]

    assert torch.allclose(answer("transductive"), backbone(query), atol=1e-10)
    singles = torch.stack([backbone(torch.cat([support, image[None]]))[-1] for image in query])
    assert torch.allclose(answer("per-example"), singles, atol=1e-10)
    backbone(support)
    for norm in one.net.norms:
        count = len(support) * (64 if norm is one.net.norms[0] else 16)
        norm.running_var *= (count - 1) / count
    assert torch.allclose(answer("support"), backbone.eval()(query), atol=1e-10)


def test_a_query_does_not_see_the_others_unless_transductive() -> None:
    batch = episodes(1)
    changed = batch._replace(query_x=torch.cat([batch.query_x[:, :1], batch.query_x[:, 1:] * 2 + 1], 1))
    for mode, alone in (("transductive", False), ("support", True), ("per-example", True), ("running", True)):
        one = learner("maml", "conv", bn_mode=mode, inner_steps=2, inner_rate=0.1)
        same = torch.allclose(one.episode_logits(batch)[:, 0], one.episode_logits(changed)[:, 0], atol=1e-12)
        assert same == alone, mode


def test_running_averages_move_in_training_only_and_only_in_their_mode() -> None:
    for mode in ("running", "transductive"):
        one, batch = learner("maml", "conv", bn_mode=mode), episodes()
        before = one.network.backbone[0].norm.running_mean.clone()
        one.episode_logits(batch)
        assert torch.equal(before, one.network.backbone[0].norm.running_mean)
        one.episode_loss(batch)
        assert torch.equal(before, one.network.backbone[0].norm.running_mean) == (mode != "running")
