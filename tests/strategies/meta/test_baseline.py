"""The baselines' heads against torch's own SGD, one episode after another in float64; their pre-training, and its batches."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torch import nn
from torch.nn import functional

import scenarios
from scenarios.episodes.base_classes import BaseClasses
from scenarios.errors import UserError
from scenarios.experience import Batch
from scenarios.random import Randomness
from strategies import make
from tests.strategies.meta.episodes import episodes, learner, padded

BOTH = ("baseline", "baseline++")


class Cosines(nn.Module):
    """Weight normalisation as torch has it, over features of length 1."""

    def __init__(self, weight: torch.Tensor, scale: float) -> None:
        super().__init__()
        linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, dtype=weight.dtype)
        with torch.no_grad():
            linear.weight.copy_(weight)
        self.linear, self.scale = torch.nn.utils.parametrizations.weight_norm(linear), scale

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.scale * self.linear(functional.normalize(x, dim=1))


def fresh(name: str, novel: nn.Module) -> nn.Module:
    if name == "baseline++":
        return Cosines(novel.weight.detach(), 2.0)  # type: ignore[arg-type]
    head = nn.Linear(novel.weight.shape[1], novel.weight.shape[0], dtype=torch.float64)  # type: ignore[arg-type,misc]
    with torch.no_grad():
        head.weight.copy_(novel.weight), head.bias.copy_(novel.other)  # type: ignore[arg-type]
    return head


@pytest.mark.parametrize("name", BOTH)
def test_an_episodes_head_is_trained_as_torchs_sgd_trains_it(name: str) -> None:
    one = learner(name, "conv", test_steps=7, test_batch=4, test_rate=0.3, test_weight_decay=0.01)
    batch = episodes()
    found = one.episode_logits(batch, steps=True)
    support, query, _ = one.embed(batch, training=False)
    order = one.minibatches(support.shape[1])
    assert order.shape == (7, 4) and all(len(set(row)) == 4 for row in order.tolist())
    for e in range(len(support)):
        head = fresh(name, one.parts["novel"])
        sgd = torch.optim.SGD(head.parameters(), lr=0.3, momentum=0.9, dampening=0.9, weight_decay=0.01)
        assert torch.allclose(found[0, e], head(query[e].detach()), atol=1e-12)
        for step, chosen in enumerate(order):
            sgd.zero_grad()
            functional.cross_entropy(head(support[e, chosen].detach()), batch.support_y[e, chosen]).backward()
            sgd.step()
            assert torch.allclose(found[step + 1, e], head(query[e].detach()), atol=1e-10)
    assert torch.equal(found[-1], one.episode_logits(batch))


@pytest.mark.parametrize("name", BOTH)
def test_answers_look_at_no_query_label_and_at_no_padding(name: str) -> None:
    one, batch = learner(name, "conv", test_batch=100, test_steps=5), episodes()
    assert torch.equal(one.episode_logits(batch), one.episode_logits(batch._replace(query_y=batch.query_y.roll(1, 1))))
    assert torch.allclose(one.episode_logits(batch), one.episode_logits(padded(batch))[:, :6], atol=1e-9)
    fewer = padded(batch)
    gone = fewer.support_y == 2
    fewer = fewer._replace(support_y=fewer.support_y.masked_fill(gone, -100), support_mask=fewer.support_mask & ~gone)
    assert (one.episode_logits(fewer)[..., 2] < -1e8).all()


@pytest.mark.parametrize("name", BOTH)
def test_pre_training_is_cross_entropy_over_the_base_classes_and_moves_averages(name: str) -> None:
    one = learner(name, "conv")
    (phase,) = one.phases(SimpleNamespace(index=0, train=None))
    assert phase.name == "pre-train" and len(phase.batches) == 100
    x, y = episodes().support_x.flatten(0, 1), torch.arange(18) % 4
    before = one.network.backbone[0].norm.running_mean.clone()
    step = phase.updates[0].loss(Batch(x, y, torch.zeros_like(y), None))
    head = one.parts["base"][0]
    one.network.train()
    features = one.network.features(x)
    answers = features @ head.weight.T + head.other
    if name == "baseline++":
        answers = 2.0 * functional.normalize(features) @ (head.weight / head.weight.norm(dim=1, keepdim=True) * head.other[:, None]).T
    assert torch.allclose(step.loss, functional.cross_entropy(answers, y), rtol=1e-9)
    assert not torch.equal(before, one.network.backbone[0].norm.running_mean)
    step.loss.backward()
    assert all(each.grad is not None for each in one.parts["base"].parameters())
    assert all(each.grad is None for each in one.parts["novel"].parameters())
    assert one.report()["base_classes"] == 4


def test_the_scale_is_that_of_few_or_many_classes() -> None:
    one = learner("baseline++")
    assert [one.make_head(classes).scale for classes in (200, 201)] == [2.0, 10.0]
    assert learner("baseline++", scale=5.0).make_head(300).scale == 5.0


def test_every_labelled_image_of_every_domain_comes_once_a_round_with_its_class() -> None:
    scenario = scenarios.make("episodes-digits-digits", ways=3, label_ratio=0.1, queries=2, test_queries=2)
    streams = tuple(domain.train for domain in scenario.experiences)
    images = sum(int(stream.table.labelled.sum()) for stream in streams)
    source = BaseClasses(streams, images // 2, 2)
    batches = list(source.epoch(lambda purpose: Randomness(0).generator(purpose)))
    assert len(source) == len(batches) == 2 and [len(batch.x) for batch in batches] == [images // 2] * 2
    widths = [len(stream.table) for stream in streams]
    seen = torch.cat([batch.y for batch in batches]).bincount(minlength=sum(widths))
    labelled = torch.cat([torch.from_numpy(stream.table.labelled) for stream in streams])
    assert int((labelled - seen).sum()) == images % 2 and (seen <= labelled).all()
    for batch in batches:
        for x, y, domain in zip(batch.x, batch.y.tolist(), batch.tasks.tolist()):
            table, storage = streams[domain].table, streams[domain].storage
            label = y - sum(widths[:domain])
            rows = torch.from_numpy(table.rows[table.starts[label] : table.starts[label] + table.labelled[label]])
            own = storage.normalise(storage.images.images_on(storage.device).index_select(0, rows))
            assert (own == x).flatten(1).all(1).any()


def test_a_meta_batch_is_no_option_of_it() -> None:
    with pytest.raises(UserError, match="unknown option strategy.meta_batch"):
        make("baseline", meta_batch=4)
