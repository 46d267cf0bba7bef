"""Index modules: the rule, what they learn from, and that they learn it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from strategies.memory.hnet_cnet import MODULES, HnetCnetConfig
from strategies.memory.hnet_gan import NoisyBatch, WithNoise
from strategies.networks.generative import critic, generator, initialised
from strategies.phase import TrainConfig
from tests.strategies.driver import make_setup, prepared, run_stream, tiny_scenario

QUICK = {"index_width": 32, "latent": 8, "generator_iterations": 120, "index_iterations": 60, "index_batch_size": 24}


def module(kind, **options):
    setup = make_setup(tiny_scenario("class"))
    return MODULES[kind](setup, HnetCnetConfig(index=kind, **{**QUICK, **options}))


@pytest.mark.parametrize("kind", ["mlp", "conv"])
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 9, 11), (1, 28, 28)])
def test_generators_make_images_of_the_asked_shape_that_critics_judge_one_by_one(kind, shape):
    made = initialised(lambda: generator(kind, 5, 6, shape), 0)(torch.randn(4, 5))
    assert made.shape == (4, *shape) and made.abs().max() <= 1
    judge = initialised(lambda: critic(kind, 6, shape, 2), 0)
    torch.testing.assert_close(judge(made)[1:2], judge(made[1:2]))


@pytest.mark.parametrize("kind", ["gan", "softmax", "autoencoder"])
def test_pixels_come_back_into_minus_one_to_one(kind):
    index = module(kind)
    pixels = torch.tensor([0.0, 127.5, 255.0]).reshape(1, 1, 1, 3)
    torch.testing.assert_close(index.images(pixels * index.scale + index.shift), torch.tensor([-1.0, 0.0, 1.0]).reshape(1, 1, 1, 3))


@pytest.mark.parametrize("kind", ["gan", "softmax", "autoencoder"])
def test_one_task_always_has_the_index_zero(kind):
    assert module(kind).scores(torch.randn(5, 1, 8, 8), 1).argmax(1).eq(0).all()


def test_one_task_does_not_ask_the_classifier():
    index = module("gan")
    for part in index.networks["classifiers"].parameters():
        part.data.fill_(torch.nan)
    assert index.scores(torch.randn(5, 1, 8, 8), 1).eq(0).all()


def test_a_common_strictly_increasing_transform_changes_no_index_and_ties_go_to_the_lowest():
    scores = module("gan").scores(torch.randn(40, 1, 8, 8), 3).detach()
    for transform in (torch.sigmoid, torch.exp, lambda s: 3 * s - 7, torch.atan):
        assert torch.equal(transform(scores.double()).argmax(1), scores.argmax(1))
    assert torch.zeros(4, 3).argmax(1).eq(0).all()


def mixed(index, task=2):
    generators = torch.Generator().manual_seed(0)
    return NoisyBatch(torch.randn(5, 1, 8, 8, generator=generators), torch.randn(task + 1, 4, 8, generator=generators))


def test_the_mixture_is_what_each_generator_makes_and_the_newest_tasks_real_images():
    index = module("gan")
    batch = mixed(index)
    images, tasks = index.mixture(batch, 2)
    assert tasks.tolist() == [0] * 4 + [1] * 4 + [2] * 9
    assert torch.equal(images[-5:], index.images(batch.real))
    assert torch.equal(images[4:8], index.generated(1, batch.noise[1])) and not images.requires_grad


def test_shown_generated_images_alone_the_classifiers_see_no_real_one():
    index = MODULES["gan"](make_setup(tiny_scenario("class")), HnetCnetConfig(**{**QUICK, "index_images": "generated"}))
    batch = mixed(index)
    images, tasks = index.mixture(batch, 2)
    assert tasks.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(images[8:], index.generated(2, batch.noise[2]))
    without = batch._replace(real=torch.full_like(batch.real, torch.nan))
    assert torch.equal(index.classifier_loss(batch, 2).loss, index.classifier_loss(without, 2).loss)


def test_the_classifiers_loss_is_balanced_binary_cross_entropy():
    index = module("gan")
    batch = mixed(index)
    images, tasks = index.mixture(batch, 2)
    losses = []
    for task in range(3):
        score = index.networks["classifiers"][task](images)[:, 0]
        losses += [functional.softplus(-score[tasks == task]).mean() / 2, functional.softplus(score[tasks != task]).mean() / 2]
    torch.testing.assert_close(index.classifier_loss(batch, 2).loss, torch.stack(losses).sum() / 3)


def test_the_softmaxs_loss_is_the_mean_over_tasks_of_their_mean_cross_entropy():
    index = module("softmax")
    batch = mixed(index, 1)
    images, tasks = index.mixture(batch, 1)
    each = functional.cross_entropy(index.networks["classifiers"][0](images)[:, :2], tasks, reduction="none")
    torch.testing.assert_close(index.classifier_loss(batch, 1).loss, (each[tasks == 0].mean() + each[tasks == 1].mean()) / 2)


def test_noise_is_a_function_of_the_key_alone_and_differs_from_batch_to_batch():
    setup = make_setup(tiny_scenario("class"))
    index = MODULES["gan"](setup, HnetCnetConfig(**QUICK))
    source = index.phases(setup.scenario.experiences[1])[0].batches
    assert isinstance(source, WithNoise)

    def once():
        torch.manual_seed(torch.seed() % 1000)
        return [batch.noise for batch in source.epoch(lambda purpose: setup.randomness.generator(purpose, 1))]

    first, second = once(), once()
    assert all(map(torch.equal, first, second)) and not torch.equal(first[0], first[1])


@pytest.mark.parametrize("kind", ["gan", "softmax", "autoencoder"])
def test_it_learns_to_name_separable_tasks(kind):
    setup = make_setup(tiny_scenario("class"), train=TrainConfig(epochs=1, batch_size=16))
    rates = {"index_learning_rate": 3e-3, "generator_learning_rate": 2e-3}
    strategy = run_stream(prepared("hnet-cnet", setup, index=kind, **QUICK, **rates))
    named = [strategy.index(experience.test.batch(slice(None)).x).eq(experience.index) for experience in setup.scenario.experiences]
    assert torch.cat(named).double().mean() > 0.8


def test_bytes_are_those_of_what_is_kept():
    index = module("gan")
    kept = index.bytes(2)
    one = sum(value.nbytes for value in index.networks["generators"][0].state_dict().values())
    assert kept["generators"] == 2 * one and set(kept) == {"generators", "classifiers"}
