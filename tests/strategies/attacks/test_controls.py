"""The other adversaries: each does what its name says."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from scenarios.corruptions import STRENGTHS
from scenarios.errors import UserError
from strategies.attacks.adversary import BoundedConfig
from strategies.attacks.availability import Availability
from strategies.attacks.corruption import Corruption, CorruptionConfig
from strategies.attacks.crafting import CraftingConfig
from strategies.attacks.label_flip import LabelFlip, LabelFlipConfig
from strategies.attacks.noise import Noise
from tests.strategies.attacks.test_task_poison import scene


def readied(adversary, view):
    adversary.prepare(view.scenario)
    return adversary.poison(view)


def test_noise_moves_every_pixel_by_the_whole_radius_unless_the_range_ends():
    _, view, _ = scene()
    change = readied(Noise(BoundedConfig(epsilon=0.1)), view).raw_pixels().int() - view.examples.raw_pixels().int()
    inside = (view.examples.raw_pixels() > 25) & (view.examples.raw_pixels() < 230)
    assert set(change[inside].tolist()) == {-25, 25}
    change = readied(Noise(BoundedConfig(epsilon=0.5, norm="l2")), view).raw_pixels().double() - view.examples.raw_pixels().double()
    lengths = change.flatten(1).norm(dim=1) / 255
    assert float(lengths.max()) <= 0.5 and float(lengths.mean()) > 0.4


def test_availability_raises_the_new_experiences_own_loss():
    _, view, _ = scene()
    poisoned = readied(Availability(CraftingConfig(epsilon=0.2, steps=5)), view)

    def loss(examples):
        batch = examples.batch(slice(None))
        return float(functional.cross_entropy(view.victim(batch.x, 1, range(0, 3)), batch.y).detach())

    assert loss(poisoned) > loss(view.examples)


def test_label_flip_adds_the_targets_images_wrongly_labelled_and_changes_no_other():
    _, view, _ = scene("class")
    target = view.scenario.experiences[0].train
    poisoned = readied(LabelFlip(LabelFlipConfig(fraction=0.25)), view)
    added = len(poisoned) - len(view.examples)
    assert added == round(0.25 * len(target)) and poisoned.task == 1
    assert torch.equal(poisoned.raw_pixels(slice(0, len(view.examples))), view.examples.raw_pixels())
    shown = poisoned.raw_pixels(slice(len(view.examples), None)).flatten(1)
    match = (shown[:, None] == target.raw_pixels().flatten(1)[None]).all(2)
    assert match.any(1).all()
    right = target.targets[match.int().argmax(1)]
    wrong = poisoned.targets[len(view.examples) :]
    assert not (wrong == right).any() and int(wrong.max()) < 3


@pytest.mark.parametrize("kind", STRENGTHS)
def test_corruptions_grow_with_their_severity(kind):
    _, view, _ = scene()
    sizes = []
    for severity in (1, 3, 5):
        poisoned = readied(Corruption(CorruptionConfig(kind=kind, severity=severity)), view)
        sizes.append(float((poisoned.raw_pixels().double() - view.examples.raw_pixels().double()).square().mean()))
    assert 0 < sizes[0] < sizes[1] < sizes[2]


def test_label_flip_has_no_place_in_setting_task():
    assert LabelFlip.settings == {"domain", "class"}
    with pytest.raises(UserError, match="universal"):
        CraftingConfig(universal=True, schedule="online")
