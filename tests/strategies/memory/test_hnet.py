"""Index modules: the rule, what they learn from, and that they learn it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from scenarios.errors import UserError
from strategies.memory.hnet_cnet import MODULES
from strategies.memory.hnet_gan import NoisyBatch, WithNoise
from strategies.memory.hnet_options import HnetCnetConfig, IndexOptions, in_force, resolve
from strategies.networks.generative import RunningMean, critic, generator, initialised
from strategies.networks.packed import Packed
from strategies.phase import TrainConfig
from tests.strategies.driver import equal, make_setup, prepared, run_experience, run_stream, tiny_scenario

QUICK = {"index_width": 32, "latent": 8, "generator_iterations": 120, "index_iterations": 60, "index_batch_size": 24}


def module(kind, **options):
    setup = make_setup(tiny_scenario("class"))
    return MODULES[kind](setup, IndexOptions(**{**QUICK, "index_pool": 1, **options}))


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
    real, noise = torch.randn(5, 1, 8, 8, generator=generators), torch.randn(task + 1, 4, 8, generator=generators)
    return NoisyBatch(real, noise, torch.zeros(0, 1, 8, 8))


def test_the_mixture_is_what_each_generator_makes_and_if_asked_for_the_newest_tasks_real_images():
    index = module("gan", index_images="both")
    batch = mixed(index)
    images, tasks = index.mixture(batch, 2)
    assert tasks.tolist() == [0] * 4 + [1] * 4 + [2] * 9
    assert torch.equal(images[-5:], index.images(batch.real))
    assert torch.equal(images[4:8], index.generated(1, batch.noise[1])) and not images.requires_grad


def test_unless_asked_for_the_classifiers_see_no_real_image():
    index = module("gan")
    batch = mixed(index)
    images, tasks = index.mixture(batch, 2)
    assert tasks.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    assert torch.equal(images[8:], index.generated(2, batch.noise[2]))
    without = batch._replace(real=torch.full_like(batch.real, torch.nan))
    assert torch.equal(index.classifier_loss(batch, 2).loss, index.classifier_loss(without, 2).loss)


def test_noise_is_on_the_pixels_of_every_image_that_classifiers_learn_from_and_of_none_that_they_name():
    index, other = (module("gan", index_images="both", index_noise=noise) for noise in (0.25, 0.0))
    batch = mixed(index)._replace(pixels=torch.randn(17, 1, 8, 8))
    plain, tasks = other.mixture(mixed(other), 2)
    torch.testing.assert_close(index.mixture(batch, 2)[0], plain + 0.25 * batch.pixels)
    x = torch.randn(4, 1, 8, 8)
    assert len(tasks) == 17 and torch.equal(index.scores(x, 3), other.scores(x, 3))


@pytest.mark.parametrize("images, portions", [("generated", 3), ("both", 4)])
def test_a_classifiers_batch_is_shared_out_among_what_it_shows_and_has_noise_for_each_pixel(images, portions):
    setup = make_setup(tiny_scenario("class"))
    index = MODULES["gan"](setup, IndexOptions(**QUICK, index_pool=2, index_images=images))
    (batch,) = list(index.phases(setup.scenario.experiences[2])[1].batches.epoch(lambda purpose: setup.randomness.generator(purpose)))[:1]
    each = 24 // portions
    assert batch.noise.shape == (3, each, 8) and batch.pixels.shape == (portions * each, 1, 4, 4) and len(batch.real) == each
    assert len(index.mixture(batch, 2)[0]) == portions * each


def test_the_h_net_looks_at_averages_of_neighbouring_pixels():
    index = MODULES["gan"](make_setup(tiny_scenario("class", shape=(1, 9, 8))), IndexOptions(**QUICK, index_pool=2))
    pixels = torch.randint(0, 256, (3, 1, 9, 8)).float()
    seen = index.images(pixels * index.scale + index.shift)
    assert seen.shape == (3, 1, 5, 4) == (3, *index.shape)
    torch.testing.assert_close(seen[:, :, 1, 2], pixels[:, :, 2:4, 4:6].mean((2, 3)) / 127.5 - 1)
    torch.testing.assert_close(seen[:, :, 4, 2], pixels[:, :, 8, 4:6].mean(2) / 127.5 - 1)
    assert index.generated(0, torch.randn(2, 8)).shape == (2, 1, 5, 4)


def test_the_kept_generator_is_a_plain_mean_at_first_then_an_exponential_one_and_with_decay_0_the_last_step():
    values = torch.tensor([3.0, 5.0, 1.0, 8.0, 2.0, 9.0], dtype=torch.float64)
    for decay, expected in ((0.75, [3, 4, 3, 4.25, 3.6875, 5.015625]), (0.0, values.tolist())):
        kept = torch.nn.BatchNorm1d(1).double()
        learner = RunningMean(torch.nn.BatchNorm1d(1).double(), decay)
        learner.begin(kept)
        for value, mean in zip(values, expected):
            learner.module.weight.data.fill_(value)
            learner.module.running_mean.fill_(-value)
            learner.add_to(kept)
            assert kept.weight.item() == pytest.approx(mean) and kept.running_mean.item() == pytest.approx(-mean)
        assert int(learner.steps) == 6
        learner.begin(kept)
        assert int(learner.steps) == 0 and torch.equal(learner.module.weight, kept.weight)


def test_each_task_begins_with_its_own_new_critic_encoder_and_generator():
    setup = make_setup(tiny_scenario("class"))
    index = MODULES["gan"](setup, IndexOptions(**QUICK, index_pool=1))
    for name in ("critic", "encoder", "learner"):
        for part in index.networks[name].parameters():
            part.data.fill_(7)
    seen = []
    for task in (0, 1):
        index.phases(setup.scenario.experiences[task])[0].begin()
        seen.append({name: index.networks[name].state_dict() for name in ("critic", "encoder")})
        seen[-1] = {name: {key: value.clone() for key, value in state.items()} for name, state in seen[-1].items()}
        assert equal(index.networks["learner"].module.state_dict(), index.networks["mean"].state_dict())
        own = Packed(index.networks["mean"], "int8").state_dict()
        assert equal(own, index.networks["generators"][task].state_dict())
    for name in ("critic", "encoder"):
        assert not any(value.eq(7).all() for state in seen for key, value in state[name].items() if "weight" in key)
        assert not torch.equal(seen[0][name]["1.weight"], seen[1][name]["1.weight"])


def test_what_a_finished_generator_makes_of_noise_does_not_depend_on_other_noise():
    index = module("gan")
    index.networks["generators"][0].train()
    noise = torch.randn(5, 8)
    torch.testing.assert_close(index.generated(0, noise)[:1], index.generated(0, noise[:1]))


def test_the_generators_loss_is_the_gans_and_the_encoders_term():
    index = module("gan", generator_reconstruction=0.3)
    plain = module("gan", generator_reconstruction=0)
    batch = mixed(index)
    for each in (index, plain):
        each.networks["learner"].module.eval()
    images = index.images(batch.real[:4])
    batch = batch._replace(real=batch.real[:4])
    mean, log_variance = index.networks["encoder"](images).chunk(2, 1)
    posterior = torch.distributions.Normal(mean, (log_variance / 2).exp())
    divergence = torch.distributions.kl_divergence(posterior, torch.distributions.Normal(0.0, 1.0)).sum(1)
    rebuilt = index.networks["learner"].module(mean + posterior.stddev * batch.noise[2])
    error = (rebuilt - images).square().sum((1, 2, 3))
    without = plain.generator_loss(batch).loss
    torch.testing.assert_close(index.generator_loss(batch).loss, without + 0.3 * (error + divergence).mean())
    assert "encoder" not in plain.networks and not index.bytes(3).keys() - {"generators", "classifiers"}


def test_what_an_index_goes_by_is_what_it_reads_with_defaults_that_suit_setting_and_images():
    kind, options = resolve(HnetCnetConfig(index="autoencoder", latent=5), "class", (1, 28, 28))
    wanted = {"latent": 5, "generator_iterations": 1000, "index_pool": 1, "index_batch_size": 64, "index_learning_rate": 1e-3}
    assert in_force(kind, options) == {**wanted, "index_storage": "int8"}
    pools = [resolve(HnetCnetConfig(), "class", (1, size, 28))[1].index_pool for size in (8, 15, 16, 28)]
    assert pools == [1, 1, 2, 2]
    assert [resolve(HnetCnetConfig(), setting, (1, 28, 28))[0] for setting in ("task", "domain", "class")] == ["oracle", "gan", "gan"]


@pytest.mark.parametrize(
    "options, line",
    [
        ({"index": "autoencoder", "index_width": 8}, "index_width is not read with strategy.index=autoencoder.* from gan, softmax$"),
        ({"index": "autoencoder", "index_images": "both"}, "index_images is not read"),
        ({"index": "oracle", "latent": 8}, "latent is not read with strategy.index=oracle.* from gan, softmax, autoencoder$"),
        ({"index_pool": 9}, "index_pool=9 leaves too little of images of 8 pixels"),
        ({"index_pool": 4, "index_network": "conv"}, "lower it"),
    ],
)
def test_options_that_the_chosen_index_does_not_read_are_refused(options, line):
    with pytest.raises(UserError, match=line):
        resolve(HnetCnetConfig(**options), "class", (1, 8, 8))


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
    index = MODULES["gan"](setup, IndexOptions(**QUICK))
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
    options = {**QUICK, "index_learning_rate": 3e-3}
    if kind == "autoencoder":
        options = {name: value for name, value in options.items() if name not in ("index_width", "index_iterations")}
    strategy = run_stream(prepared("hnet-cnet", setup, index=kind, **options))
    named = [strategy.index(experience.test.batch(slice(None)).x).eq(experience.index) for experience in setup.scenario.experiences]
    assert torch.cat(named).double().mean() > 0.8


@pytest.mark.parametrize("images, least, most", [("generated", 0.7, 1.0), ("both", 0.0, 0.5)])
def test_perfect_generators_that_all_leave_one_mark_mislead_only_classifiers_that_are_shown_real_images(images, least, most):
    setup = make_setup(tiny_scenario("class", shape=(1, 4, 4), train=100, noise=60.0))
    rates = {"index_learning_rate": 3e-3, "index_iterations": 300, "index_noise": 0.0, "index_confidence": 0.0}
    strategy = prepared("hnet-cnet", setup, index_images=images, **{**QUICK, "generator_iterations": 1, **rates})
    marked = []
    for experience in setup.scenario.experiences:
        kept = strategy.hnet.images(experience.train.batch(slice(None)).x).clone()
        kept[:, :, 0, 0] = 1.0
        marked.append(kept)
    strategy.hnet.generated = lambda task, noise: marked[task][(noise[:, 0].abs() * 1e4).long() % len(marked[task])]
    run_stream(strategy)
    named = [strategy.index(experience.test.batch(slice(None)).x).eq(experience.index) for experience in setup.scenario.experiences]
    worst = min(float(each.double().mean()) for each in named)
    assert least <= worst <= most


def test_bytes_are_those_of_what_is_kept():
    index = module("gan")
    kept = index.bytes(2)
    one = sum(value.nbytes for value in index.networks["generators"][0].state_dict().values())
    assert kept["generators"] == 2 * one and set(kept) == {"generators", "classifiers"}
    weights, norms, biases = 32 * (8 + 2) + 32 * (32 + 2) + 64 * (32 + 2), 2 * (4 * 2 * 32 + 8), 2 * 64
    assert one == weights + norms + biases
    assert kept["classifiers"] == 2 * (32 * (64 + 2) + 32 * (32 + 2) + (32 + 2) + 2 * (32 + 32 + 1))
    plain = module("gan", index_storage="float32").bytes(2)
    halved = module("gan", index_storage="float16").bytes(2)
    assert 3 * sum(kept.values()) < sum(plain.values()) < 2 * sum(halved.values()) < 2.02 * sum(plain.values())


@pytest.mark.parametrize("kind", ["gan", "softmax", "autoencoder"])
def test_finished_networks_are_kept_rounded_and_learning_goes_on_from_there(kind):
    setup = make_setup(tiny_scenario("class"), train=TrainConfig(epochs=1, batch_size=16))
    options = {name: value for name, value in QUICK.items() if kind != "autoencoder" or name not in ("index_width", "index_iterations")}
    exact, rounded = (prepared("hnet-cnet", setup, index=kind, index_storage=storage, **options) for storage in ("float32", "int8"))
    for strategy in (exact, rounded):
        run_experience(strategy, setup.scenario.experiences[0])
    first = "autoencoders" if kind == "autoencoder" else "generators"
    learned = exact.hnet.networks["learner" if kind == "autoencoder" else "mean"]
    assert equal(exact.hnet.networks[first][0].restored(), dict(learned.state_dict()))
    assert equal(rounded.hnet.networks[first][0].state_dict(), Packed(learned, "int8").state_dict())
    before = {name: value.clone() for name, value in rounded.hnet.networks[first][0].state_dict().items()}
    run_experience(rounded, setup.scenario.experiences[1])
    assert equal(before, dict(rounded.hnet.networks[first][0].state_dict()))
    saved = rounded.state_dict()["hnet"]
    assert {saved[name].dtype for name in saved if name.startswith(first) and name.endswith("weight")} == {torch.int8, torch.float16} - (
        {torch.float16} if kind == "autoencoder" else set()
    )
