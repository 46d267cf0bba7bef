"""Defences: their algebra against brute force, and that each acts where it should."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from torch.nn import functional

from scenarios.errors import UserError
from strategies.answering import copy_of, importance_of
from strategies.base import Strategy
from strategies.defences.agem import Agem
from strategies.defences.defence import Defence
from strategies.defences.epic import isolated
from strategies.defences.filtering import without_lowest
from strategies.defences.gradient_filter import GradientFilter, GradientFilterConfig
from strategies.defences.gradient_shaping import GradientShaping, GradientShapingConfig
from strategies.defences.importance_clip import ImportanceClip, ImportanceClipConfig
from strategies.defences.memory import MemoryConfig
from strategies.defences.noise import Noise, NoiseConfig
from strategies.defences.outlier import Outlier, OutlierConfig, spread, strangers
from strategies.defences.per_example import cosines, losses
from strategies.defences.preprocessing import Quantise, QuantiseConfig, Smooth, SmoothConfig
from strategies.defences.registry import defences
from strategies.defences.replay_guard import ReplayGuard, ReplayGuardConfig
from strategies.defences.reweight import Reweight
from strategies.defences.rollback import Rollback, RollbackConfig
from strategies.phase import TrainConfig
from strategies.projection import project
from tests.strategies.driver import equal, make_setup, prepared, run_experience, tiny_scenario


def learner(strategy="naive", setting="domain", dtype=torch.float64):
    """A learner of one experience that is about to learn the second, with a gradient of its first batch."""
    scenario = tiny_scenario(setting, experiences=2, classes=3, dtype=dtype, train=12)
    victim = prepared(strategy, make_setup(scenario, "mlp", TrainConfig(epochs=2, batch_size=12), options={"hidden": (12,)}))
    first, second = victim.setup.scenario.experiences
    run_experience(victim, first)
    return victim, first, second


def with_gradient(victim, batch):
    parameters = list(victim.network.parameters())
    victim.network.zero_grad(set_to_none=True)
    Strategy.loss(victim, batch).loss.backward()
    return parameters


def remembered(defence, victim, first):
    defence.prepare(victim)
    defence.end(first)
    return defence


def generator():
    return torch.Generator().manual_seed(0)


def trusted_reference(victim, defence, parameters):
    loss = copy_of(victim).loss
    model = copy_of(victim)
    assert loss is not None
    return torch.autograd.grad(model.loss(defence.memory, victim.setup.scenario, 1), list(model.parameters()), allow_unused=True)


@pytest.mark.parametrize("setting", ["domain", "task", "class"])
def test_the_memory_keeps_so_many_of_each_class_and_its_gradient_is_that_of_its_loss(setting):
    victim, first, second = learner(setting=setting)
    defence = remembered(ReplayGuard(ReplayGuardConfig(per_class=4)), victim, first)
    assert torch.bincount(defence.memory.targets, minlength=3)[:3].tolist() == [4, 4, 4]
    parameters = with_gradient(victim, second.train.batch(slice(0, 8)))
    before = [None if p.grad is None else p.grad.clone() for p in parameters]
    reference = trusted_reference(victim, defence, parameters) if setting != "class" else None
    defence.constrain(second.train.batch(slice(0, 8)), parameters, generator())
    if reference is not None:
        for p, old, extra in zip(parameters, before, reference):
            total = (0 if old is None else old) + (0 if extra is None else extra)
            assert (p.grad is None and old is None and extra is None) or torch.allclose(p.grad, total)
    again = ReplayGuard(ReplayGuardConfig(per_class=4))
    again.prepare(victim)
    again.load_state_dict(defence.state_dict())
    assert equal(again.state_dict(), defence.state_dict())


def test_agem_leaves_agreeing_gradients_and_takes_out_what_points_against():
    torch.manual_seed(0)
    g, m = [torch.randn(4), torch.randn(2, 3)], [torch.randn(4), torch.randn(2, 3)]
    dot = sum(float((a * b).sum()) for a, b in zip(g, m))
    against = m if dot < 0 else [-part for part in m]
    projected = project(g, against)
    assert sum(float((a * b).sum()) for a, b in zip(projected, against)) == pytest.approx(0, abs=1e-5)
    agreeing = [-part for part in against]
    assert all(torch.equal(a, b) for a, b in zip(project(g, agreeing), g))
    victim, first, second = learner()
    defence = remembered(Agem(MemoryConfig(per_class=4)), victim, first)
    batch = first.train.batch(slice(0, 8))._replace(y=(first.train.targets[:8] + 1) % 3)
    parameters = with_gradient(victim, batch)
    defence.constrain(batch, parameters, generator())
    trusted = defence.trusted_gradients(parameters, generator())
    assert sum(float((p.grad * t).sum()) for p, t in zip(parameters, trusted)) > -1e-10


def test_reweight_weighs_by_each_examples_inner_product_with_the_trusted_gradient():
    victim, first, second = learner()
    defence = remembered(Reweight(MemoryConfig(per_class=4)), victim, first)
    batch = second.train.batch(slice(0, 10))
    parameters = with_gradient(victim, batch)
    trusted = defence.trusted_gradients(parameters, generator())
    products = []
    for i in range(10):
        logits = victim.network(batch.x[i : i + 1])
        own = torch.autograd.grad(functional.cross_entropy(logits, batch.y[i : i + 1]), parameters)
        products.append(sum(float((a * b).sum()) for a, b in zip(own, trusted)))
    useful = torch.tensor(products, dtype=torch.float64).clamp_min(0)
    weights = defence.weights(losses(victim, batch), parameters, trusted)
    assert torch.allclose(weights, useful / useful.sum())
    each = functional.cross_entropy(victim.network(batch.x), batch.y, reduction="none")
    expected = torch.autograd.grad((weights * each).sum(), parameters)
    defence.constrain(batch, parameters, generator())
    for p, wanted in zip(parameters, expected):
        assert torch.allclose(p.grad, wanted, atol=1e-10)


def test_reweight_works_beside_batch_norm():
    scenario = tiny_scenario("domain", experiences=2, classes=3, train=12)
    options = {"channels": (4, 4), "norm": "batch"}
    victim = prepared("naive", make_setup(scenario, "conv", TrainConfig(epochs=1, batch_size=12), options=options))
    first, second = victim.setup.scenario.experiences
    run_experience(victim, first)
    defence = remembered(Reweight(MemoryConfig(per_class=4)), victim, first)
    victim.train_mode()
    batch = second.train.batch(slice(0, 8))
    parameters = with_gradient(victim, batch)
    statistics = [b.clone() for b in victim.network.buffers() if b.is_floating_point()]
    defence.constrain(batch, parameters, generator())
    assert all(torch.equal(b, old) for b, old in zip((b for b in victim.network.buffers() if b.is_floating_point()), statistics))
    assert all(torch.isfinite(p.grad).all() for p in parameters if p.grad is not None)


def test_cosines_of_examples_are_those_of_their_own_gradients():
    victim, first, second = learner()
    model = copy_of(victim)
    named = dict(model.named_parameters())
    loss = model.loss(first.train, victim.setup.scenario, 1)
    direction = dict(zip(named, torch.autograd.grad(loss, list(named.values()))))
    found = cosines(model, second.train, 1, range(0, 3), direction)
    flat = torch.cat([part.flatten() for part in direction.values()])
    for i in (0, 7):
        batch = second.train.batch(slice(i, i + 1))
        own = torch.autograd.grad(functional.cross_entropy(model(batch.x, 1, range(0, 3)), batch.y), list(named.values()))
        assert float(found[i]) == pytest.approx(float(torch.cosine_similarity(torch.cat([g.flatten() for g in own]), flat, 0)), rel=1e-6)


def test_the_gradient_filter_drops_what_is_wrongly_labelled():
    victim, first, _ = learner(dtype=torch.float32)
    defence = remembered(GradientFilter(GradientFilterConfig(per_class=6, share=0.25, warmup=0)), victim, first)
    wrong = first.train.targets.clone()
    wrong[:9] = (wrong[:9] + 1) % 3
    arrived = replace(first, train=replace(first.train, targets=wrong))
    kept = defence.filter(arrived, defence.detect(arrived))
    assert len(kept) == round(0.75 * len(wrong)) and not set(range(9)) & set(kept.tolist())


def test_gradient_shaping_clips_each_example():
    victim, _, second = learner()
    batch = second.train.batch(slice(0, 6))
    defence = GradientShaping(GradientShapingConfig(clip=0.05, sigma=0))
    defence.prepare(victim)
    parameters = with_gradient(victim, batch)
    expected = [torch.zeros_like(p) for p in parameters]
    for i in range(6):
        own = torch.autograd.grad(functional.cross_entropy(victim.network(batch.x[i : i + 1]), batch.y[i : i + 1]), parameters)
        length = torch.cat([g.flatten() for g in own]).norm()
        for total, g in zip(expected, own):
            total += g * min(1.0, 0.05 / float(length)) / 6
    defence.constrain(batch, parameters, generator())
    for p, wanted in zip(parameters, expected):
        assert torch.allclose(p.grad, wanted, atol=1e-12)


def test_the_noise_on_a_mean_gradient_is_that_on_a_sum_over_the_examples():
    victim, _, second = learner()
    batch = second.train.batch(slice(0, 6))
    found = []
    for sigma in (0.0, 3.0):
        defence = GradientShaping(GradientShapingConfig(clip=0.5, sigma=sigma))
        defence.prepare(victim)
        parameters = with_gradient(victim, batch)
        defence.constrain(batch, parameters, generator())
        found.append(torch.cat([p.grad.flatten() for p in parameters]))
    assert float((found[1] - found[0]).std()) == pytest.approx(3.0 * 0.5 / 6, rel=0.1)


def test_training_noise_has_its_size_in_pixels():
    victim, _, second = learner()
    defence = Noise(NoiseConfig(sigma=0.25))
    defence.prepare(victim)
    batch = second.train.batch(slice(None))
    change = (defence.transform(batch, generator()).x - batch.x) / (255 * second.train.storage.scale)
    assert float(change.std()) == pytest.approx(0.25, rel=0.05)
    pixels = torch.full((200, 1, 8, 8), 0.5)
    assert float((defence.seen(pixels, generator()) - pixels).std()) == pytest.approx(0.25, rel=0.05)


def test_filters_drop_the_most_suspicious_and_keep_the_order():
    scores = torch.tensor([0.1, 0.9, 0.3, 0.8, 0.2])
    assert without_lowest(scores, 0.4).tolist() == [0, 2, 4] and without_lowest(scores, 0.0).tolist() == [0, 1, 2, 3, 4]
    victim, _, second = learner()
    for config, kept in ((OutlierConfig(), [0, 2, 4]), (OutlierConfig(kind="spectral", share=0.4), [0, 2, 4])):
        defence = Outlier(config)
        defence.prepare(victim)
        assert defence.filter(second, scores).tolist() == kept


def test_quantising_leaves_so_many_levels_and_is_idempotent():
    pixels = torch.arange(256, dtype=torch.uint8).view(1, 1, 16, 16)
    for bits in (1, 2, 3):
        seen = Quantise(QuantiseConfig(bits=bits)).preprocess(pixels)
        assert len(seen.unique()) == 2**bits and int(seen.min()) == 0 and int(seen.max()) == 255
        assert torch.equal(Quantise(QuantiseConfig(bits=bits)).preprocess(seen), seen)
    assert torch.equal(Quantise(QuantiseConfig(bits=8)).preprocess(pixels), pixels)


def test_smoothing_leaves_even_images_and_takes_single_pixels_out():
    even = torch.full((1, 1, 8, 8), 90, dtype=torch.uint8)
    spot = even.clone()
    spot[0, 0, 3, 3] = 255
    for kind in ("median", "gaussian"):
        defence = Smooth(SmoothConfig(kind=kind))
        assert torch.equal(defence.preprocess(even), even)
        assert int(defence.preprocess(spot)[0, 0, 3, 3]) < 200


def test_isolated_examples_are_alone_in_gradient_space():
    error = torch.tensor([[1.0, -1.0]] * 9 + [[-1.0, 1.0]])
    features = torch.cat([torch.ones(9, 3) + 0.01 * torch.arange(9)[:, None], 5 * torch.ones(1, 3)])
    assert isolated(error, features, 0.2).nonzero().flatten().tolist() == [9]
    # Two that stand together, however far from the rest, are not alone.
    error, features = torch.cat([error, error[9:]]), torch.cat([features, features[9:] + 0.01])
    assert not isolated(error, features, 0.2).any()


def test_strangers_and_spread_find_the_odd_one():
    features = torch.cat([torch.randn(20, 4, generator=generator()), 20 + torch.randn(20, 4, generator=generator())])
    targets = torch.tensor([0] * 20 + [1] * 20)
    targets[3] = 1
    assert int(strangers(features, targets, 5).argmax()) == 3 and float(strangers(features, targets, 5)[3]) == 1
    assert int(spread(features, targets).argmax()) == 3


@pytest.mark.parametrize("partial", [True, False])
def test_rollback_takes_back_what_harms_and_keeps_what_does_not(partial):
    victim, first, second = learner(dtype=torch.float32)
    defence = Rollback(RollbackConfig(per_class=6, partial=partial, tolerance=0.05))
    defence.prepare(victim)
    defence.begin(first)
    defence.end(first)
    start = [p.detach().clone() for p in victim.network.parameters()]
    defence.begin(second)
    with torch.no_grad():
        for p in victim.network.parameters():
            p.add_(10 * torch.randn(p.shape, generator=generator()))
    defence.end(second)
    decision = defence.report()["rollback"]["1"]
    assert decision["kept"] < 1 and decision["trusted_after"] < decision["trusted_before"]
    if not partial:
        assert all(torch.equal(p, q) for p, q in zip(victim.network.parameters(), start))
    defence.begin(second)
    defence.end(second)
    assert defence.report()["rollback"]["1"]["kept"] == 1


def test_importances_are_clipped_between_multiples_of_their_mean():
    victim, first, second = learner("ewc", dtype=torch.float32)
    defence = ImportanceClip(ImportanceClipConfig(floor=0.5, ceiling=2.0))
    defence.prepare(victim)
    mean = float(torch.cat([part.flatten() for part in importance_of(victim)]).mean())
    defence.end(first)
    clipped = torch.cat([part.flatten() for part in importance_of(victim)])
    assert float(clipped.min()) == pytest.approx(0.5 * mean) and float(clipped.max()) == pytest.approx(2 * mean)
    with pytest.raises(UserError, match="importance-clip"):
        ImportanceClip(ImportanceClipConfig()).prepare(learner()[0])


@pytest.mark.parametrize("name", [row for row in defences.rows])
def test_every_defence_is_a_defence_with_documented_options(name):
    component, _ = defences.load(name)
    assert issubclass(component, Defence)
    component(component.Config())
