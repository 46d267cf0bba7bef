"""ANIL: only the head adapts."""

from __future__ import annotations

import torch
from torch.nn import functional

from tests.strategies.meta.episodes import episodes, learner, meta_gradient


def test_anil_adapts_the_head_alone() -> None:
    one, batch = learner("anil", "conv", inner_steps=3, inner_rate=0.5), episodes(1)
    features = [one.features(x).detach() for x in (batch.support_x[0], batch.query_x[0])]
    head = torch.nn.Linear(features[0].shape[1], 3).double()
    head.load_state_dict(one.network.head.blocks[0].state_dict())
    for _ in range(3):
        grads = torch.autograd.grad(functional.cross_entropy(head(features[0]), batch.support_y[0]), list(head.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(head.parameters(), grads):
                parameter -= 0.5 * grad
    assert torch.allclose(one.episode_logits(batch)[0], head(features[1]), atol=1e-10)
    assert float(meta_gradient(one, batch)[1]["backbone.0.layer.weight"].abs().max()) > 0


def test_it_is_factored_on_any_network() -> None:
    for network in ("mlp", "conv"):
        one = learner("anil", network)
        one.episode_logits(episodes())
        assert one.report()["test_engine"] == "factored"
