"""Invariants of the specification: the ball, the victim, the objectives' derivatives, labels, and the order of strength."""

from __future__ import annotations

import copy
from dataclasses import replace

import pytest
import torch

from scenarios.overlay import Overlay, fingerprint
from scenarios.random import Randomness
from strategies import make
from strategies.answering import copy_of, importance_of
from strategies.attacks.ball import Ball
from strategies.attacks.crafting import descend
from strategies.attacks.objectives import cosine, flipped, inner
from strategies.attacks.registry import attacks
from strategies.attacks.task_poison import TaskPoison, TaskPoisonConfig, Wanted
from strategies.attacks.view import AdversaryView
from strategies.phase import TrainConfig
from tests.strategies.driver import equal, make_setup, prepared, run_experience, tiny_scenario


def scene(setting="domain", dtype=torch.float32, network="mlp", options=None, strategy="naive", **given):
    """A victim that has learned its first experience, and what a white-box adversary sees before the second."""
    scenario = tiny_scenario(setting, experiences=2, classes=3, dtype=dtype, train=12)
    victim = prepared(strategy, make_setup(scenario, network, TrainConfig(epochs=2, batch_size=12), options=options or {"hidden": (12,)}))
    run_experience(victim, victim.setup.scenario.experiences[0])
    storage = victim.setup.scenario.experiences[1].train.storage
    covering = replace(storage, overlay=Overlay(len(storage.images), storage.images.shape, storage.device))
    stream = [replace(each, train=replace(each.train, storage=covering)) for each in victim.setup.scenario.experiences]
    covered = replace(victim.setup.scenario, experiences=tuple(stream))
    view = AdversaryView(covered, stream[1], stream[1].train, Randomness(0), copy_of(victim))
    adversary = TaskPoison(TaskPoisonConfig(**given))
    adversary.prepare(victim.setup.scenario)
    return victim, view, adversary


@pytest.mark.parametrize("norm", ["linf", "l2"])
@pytest.mark.parametrize("epsilon", [2 / 255, 8 / 255, 0.1, 0.3, 2.5])
@pytest.mark.parametrize("steps", [1, 5])
def test_altered_images_stay_in_the_ball_and_on_the_grid_after_storage(norm, epsilon, steps):
    _, view, adversary = scene(norm=norm, epsilon=epsilon, steps=steps, objective="cosine")
    clean = view.examples.raw_pixels()
    poisoned = adversary.poison(view)
    change = (poisoned.raw_pixels().double() - clean.double()) / 255
    size = change.abs().amax((1, 2, 3)) if norm == "linf" else change.flatten(1).norm(dim=1)
    assert float(size.max()) <= epsilon + 1e-6
    assert poisoned.raw_pixels().dtype == torch.uint8
    assert float(change.abs().max()) > 0 or (norm == "l2" and epsilon < 0.05)  # that short, no pixel moves by a whole level
    assert torch.equal(poisoned.targets, view.examples.targets) and len(poisoned) == len(view.examples)


def test_eight_levels_are_reached_where_eight_are_allowed():
    pixels = torch.full((1, 1, 4, 4), 100, dtype=torch.uint8)
    ball = Ball("linf", 8 / 255)
    delta = ball.project(torch.full((1, 1, 4, 4), 1.0), pixels / 255)
    assert (ball.altered(delta, pixels) == 108).all()


@pytest.mark.parametrize("fraction", [0.0, 0.25, 0.5])
def test_a_share_of_the_examples_is_altered_and_the_others_are_the_same_rows(fraction):
    _, view, adversary = scene(fraction=fraction, steps=2)
    poisoned = adversary.poison(view) if fraction else view.examples
    differ = poisoned.rows != view.examples.rows
    assert int(differ.sum()) == round(fraction * len(view.examples))
    same = torch.nonzero(~differ).flatten()
    assert torch.equal(poisoned.raw_pixels(same), view.examples.raw_pixels(same))


@pytest.mark.parametrize("schedule", ["offline", "online"])
@pytest.mark.parametrize("network", ["mlp", "conv"])
def test_crafting_leaves_the_victim_and_the_global_generator_untouched(schedule, network):
    options = {"hidden": (12,)} if network == "mlp" else {"channels": (4, 4), "norm": "batch"}
    victim, view, adversary = scene(network=network, options=options, schedule=schedule, steps=2)
    for parameter in victim.network.parameters():
        parameter.grad = torch.ones_like(parameter)
    state, modes = copy.deepcopy(victim.state_dict()), [module.training for module in victim.network.modules()]
    generator = torch.get_rng_state()
    if schedule == "offline":
        adversary.poison(view)
    else:
        batch = view.examples.batch(slice(0, 8))
        altered = adversary.perturb(batch, view)
        assert not torch.equal(altered.x, batch.x) and torch.equal(altered.y, batch.y)
        assert float((altered.x - batch.x).abs().max()) <= 255 * 0.1 / 64 + 1e-5
    assert equal(victim.state_dict(), state) and [module.training for module in victim.network.modules()] == modes
    assert all(torch.equal(parameter.grad, torch.ones_like(parameter)) for parameter in victim.network.parameters())
    assert torch.equal(torch.get_rng_state(), generator)


@pytest.mark.parametrize("objective", ["inner", "cosine", "flip", "unroll"])
@pytest.mark.parametrize("setting", ["domain", "task", "class"])
def test_the_double_backward_agrees_with_finite_differences(objective, setting):
    _, view, adversary = scene(setting, torch.float64, objective=objective)
    model = view.victim.double()
    network = model.network
    for module in list(network.backbone.modules()):
        for child, part in list(module.named_children()):
            if isinstance(part, torch.nn.ReLU):
                setattr(module, child, torch.nn.Tanh())
    wanted = adversary.objective(view, model, 0)
    pixels = view.examples.raw_pixels(slice(0, 4)).double() / 255
    targets = view.examples.targets[:4]
    change = torch.zeros_like(pixels, requires_grad=True)
    (slope,) = torch.autograd.grad(wanted(pixels + change, pixels, targets), change)
    generator = torch.Generator().manual_seed(1)
    for _ in range(3):
        direction = torch.randn(pixels.shape, generator=generator, dtype=torch.float64)
        step = 1e-5
        high, low = (float(wanted(pixels + sign * step * direction, pixels, targets)) for sign in (1, -1))
        assert (high - low) / (2 * step) == pytest.approx(float((slope * direction).sum()), rel=1e-4, abs=1e-9)


def test_the_change_of_the_targets_loss_is_minus_the_inner_product_to_first_order():
    _, view, _ = scene(dtype=torch.float64)
    model = view.victim.double()
    target, new = view.scenario.experiences[0].train, view.examples
    parameters = list(model.parameters())
    old = model.loss_gradients(target, view.scenario, 1, parameters)
    follow = model.loss_gradients(new, view.scenario, 1, parameters)
    start = [parameter.detach().clone() for parameter in parameters]
    before = float(model.loss(target, view.scenario, 1))
    errors = []
    for rate in (1e-2, 1e-3, 1e-4):
        with torch.no_grad():
            for parameter, value, gradient in zip(parameters, start, follow):
                parameter.copy_(value - rate * gradient)
        change = (float(model.loss(target, view.scenario, 1)) - before) / rate
        errors.append(abs(change + float(inner(old, follow))))
    assert errors[1] < 0.3 * errors[0] and errors[2] < 0.3 * errors[1]


def test_steps_lower_the_objective_on_a_smooth_problem():
    weight = torch.randn(5, 16, generator=torch.Generator().manual_seed(0), dtype=torch.float64)

    def objective(altered, clean, targets):
        return torch.tanh(altered.flatten(1) @ weight.T).square().mean()

    pixels = torch.full((3, 1, 4, 4), 0.5, dtype=torch.float64)
    targets = torch.zeros(3, dtype=torch.int64)
    delta = descend(objective, pixels, targets, Ball("linf", 0.1), steps=10, size=0.01)
    assert float(objective(pixels + delta, pixels, targets)) < float(objective(pixels, pixels, targets))


@pytest.mark.parametrize("objective", ["cosine", "flip"])
def test_cosines_are_bounded_and_do_not_change_when_the_new_loss_is_scaled(objective):
    _, view, adversary = scene(objective=objective, steps=3)
    wanted = adversary.objective(view, view.victim, 0)
    pixels = view.examples.raw_pixels(slice(0, 8)).float() / 255
    value = float(wanted(pixels, pixels, view.examples.targets[:8]))
    assert -1 <= value <= 1
    generator = torch.Generator().manual_seed(0)
    one, two = ([torch.randn(3, generator=generator), torch.randn(2, 2, generator=generator)] for _ in range(2))
    assert float(cosine(one, [8 * part for part in two])) == pytest.approx(float(cosine(one, two)), rel=1e-6)
    assert float(cosine(one, one)) == pytest.approx(1) and float(cosine(one, [0 * part for part in one])) == 0


def test_flipped_labels_are_never_right_and_uniform_over_the_others():
    targets = torch.arange(3, 8).repeat(4000)
    wrong = flipped(targets, range(3, 8), torch.Generator().manual_seed(0))
    assert not (wrong == targets).any() and int(wrong.min()) == 3 and int(wrong.max()) == 7
    counts = torch.bincount((targets - 3) * 5 + wrong - 3, minlength=25).view(5, 5)
    assert (counts[~torch.eye(5, dtype=torch.bool)].sub(1000).abs() < 150).all()


@pytest.mark.parametrize("name", ["task-poison", "noise", "availability", "corruption", "label-flip"])
def test_the_same_seed_alters_the_same_bits_and_another_seed_others(name):
    prints = []
    for seed in (0, 0, 1):
        _, view, _ = scene()
        view.randomness = Randomness(seed)
        component, _ = attacks.load(name)
        adversary = component(component.Config())
        adversary.prepare(view.scenario)
        poisoned = adversary.poison(view)
        prints.append(fingerprint(poisoned.raw_pixels(), poisoned.targets))
    assert prints[0] == prints[1]
    assert prints[0] != prints[2] or name == "availability"  # which draws nothing that matters


def test_a_universal_change_is_one_for_all_images():
    _, view, adversary = scene(universal=True, epsilon=0.05, steps=4)
    change = adversary.poison(view).raw_pixels().int() - view.examples.raw_pixels().int()
    inside = (view.examples.raw_pixels() > 13) & (view.examples.raw_pixels() < 242)
    for channel, row, column in inside.all(0).nonzero().tolist():
        assert len(change[:, channel, row, column].unique()) == 1
    wanted = adversary.objective(view, view.victim, 0)
    clean = view.examples.raw_pixels().float() / 255
    assert float(wanted(clean + change / 255, clean, view.examples.targets)) < float(wanted(clean, clean, view.examples.targets))


def test_heads_of_their_own_do_not_count_and_shared_ones_do():
    for setting, count in (("task", 2), ("domain", 4)):
        _, view, adversary = scene(setting)
        wanted = adversary.objective(view, view.victim, 0)
        assert isinstance(wanted, Wanted)
        assert len(wanted.parameters) == count


def test_parts_that_share_nothing_leave_the_adversary_nothing():
    scenario = tiny_scenario("task", experiences=2, classes=3, train=12)
    victim = make("hnet-cnet")
    victim.prepare(make_setup(scenario, "mlp", options={"hidden": (12,)}))
    second = victim.setup.scenario.experiences[1]
    view = AdversaryView(victim.setup.scenario, second, second.train, Randomness(0), copy_of(victim))
    adversary = TaskPoison(TaskPoisonConfig())
    adversary.prepare(victim.setup.scenario)
    assert adversary.poison(view) is view.examples


def test_known_importances_turn_the_attack_to_what_may_move():
    _, view, adversary = scene(strategy="ewc", importance=True, steps=3)
    victim, _, _ = scene(strategy="ewc")
    view.importance = [part.clone() for part in importance_of(victim)]
    knowing = adversary.poison(view).raw_pixels()
    view.importance = None
    assert not torch.equal(knowing, adversary.poison(view).raw_pixels())


def test_a_surrogate_is_the_adversarys_own_and_knows_the_target():
    victim, view, adversary = scene(access="surrogate", surrogate_steps=60, steps=2)
    fresh = copy_of(victim)
    for module in fresh.modules():
        if hasattr(module, "reset_parameters"):
            module.reset_parameters()
    view.victim, view.fresh = None, fresh
    poisoned = adversary.poison(view)
    assert not torch.equal(poisoned.raw_pixels(), view.examples.raw_pixels())
    target = view.scenario.experiences[0].test
    with torch.no_grad():
        right = (view.kept["surrogate"](target.batch(slice(None)).x, 0, range(0, 3)).argmax(1) == target.targets).float().mean()
    assert float(right) > 0.8
