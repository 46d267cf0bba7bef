"""What all learners of episodes share."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scenarios.errors import UserError
from strategies.meta.learner import BATCHES_A_PASS, query_targets, support_targets
from strategies.phase import TrainConfig
from tests.strategies.meta.episodes import episodes, learner, padded

ALL = [
    "maml", "anil", "l2f", "cxgrad", "tapl", "metasgd", "protonet", "protonet-soft", "protonet-cluster", "protonet-masked",
    "label-propagation", "ridge", "matchingnet", "reptile", "relationnet", "tpn",
]  # fmt: skip


@pytest.mark.parametrize("name", ALL)
def test_learners_keep_the_protocol(name: str) -> None:
    one, batch = learner(name, "conv"), episodes(unlabelled=2, distractors=1)
    step = one.episode_loss(batch)
    assert step.loss.shape == () and step.logits is not None and step.targets is not None
    assert step.logits.shape == (18, 3) and torch.equal(step.targets, batch.query_y.flatten())
    assert one.episode_logits(batch).shape == (3, 6, 3)
    assert not one.episode_logits(batch).requires_grad
    (phase,) = one.phases(type("Experience", (), {"train": None})())
    assert len(phase.batches) == BATCHES_A_PASS and phase.updates[0].loss == one.episode_loss
    assert one.report()["bn_mode"] == one.config.bn_mode


@pytest.mark.parametrize("name", ALL)
def test_learners_use_no_query_label_and_no_label_of_the_unlabelled(name: str) -> None:
    one, batch = learner(name, "conv"), episodes(unlabelled=2, distractors=1)
    assert batch.unlabelled_y is not None
    other = batch._replace(query_y=batch.query_y.roll(1, 1), unlabelled_y=batch.unlabelled_y.roll(1, 1))
    assert torch.equal(one.episode_logits(batch), one.episode_logits(other))


@pytest.mark.parametrize("name", ALL)
def test_learners_take_padded_episodes(name: str) -> None:
    # Which images a step of Reptile draws depends on how many rows there are; where it takes all of them nothing does.
    one = learner(name, "conv", **({"inner_batch": 100} if name == "reptile" else {}))
    plain, more = one.episode_logits(episodes()), one.episode_logits(padded(episodes()))
    assert torch.allclose(plain, more[:, :6], atol=1e-9)
    losses = [float(one.episode_loss(batch).loss.detach()) for batch in (episodes(), padded(episodes()))]
    assert abs(losses[0] - losses[1]) < 1e-9


@pytest.mark.parametrize("name", ALL)
def test_states_are_taken_up_bit_for_bit(name: str) -> None:
    one, other = learner(name, "conv"), learner(name, "conv", seed=4)
    batch = episodes(unlabelled=2)
    one.episode_loss(batch).loss.backward()
    other.load_state_dict(one.state_dict())
    assert torch.equal(one.episode_logits(batch), other.episode_logits(batch))


def test_iterations_are_counted_after_each_step() -> None:
    one = learner("maml")
    (phase,) = one.phases(type("Experience", (), {"train": None})())
    phase.updates[0].after_step()
    assert one.state_dict()["iteration"] == 1


def test_targets_weigh_real_images_alike() -> None:
    batch = padded(episodes())
    assert torch.allclose(support_targets(batch, 3).sum((1, 2)), torch.ones(3).double())
    assert (support_targets(batch, 3)[:, -2:] == 0).all()
    assert query_targets(batch, batch.query_x).amax() == 1 / 6


def test_grey_images_have_omniglots_protocol_and_colour_images_miniimagenets() -> None:
    grey, colour = learner("maml").report(), learner("maml", "conv", shape=(3, 8, 8)).report()
    assert (grey["inner_steps"], grey["inner_rate"], grey["meta_batch"]) == (1, 0.4, 32)
    assert (colour["inner_steps"], colour["inner_rate"], colour["meta_batch"]) == (5, 0.01, 4)
    quick = learner("maml")
    quick.setup.scenario.data["origin"] = "embedded"
    assert quick.report()["meta_batch"] == 4


def test_bf16_is_refused() -> None:
    one = learner("maml")
    with pytest.raises(UserError, match="float32 alone"):
        one.prepare(replace(one.setup, train=TrainConfig(precision="bf16")))
