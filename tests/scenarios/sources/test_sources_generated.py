"""The sets that are made from a seed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from scenarios.sources import load
from scenarios.sources.drawing import SHAPES, TEXTURES, colours, evaluate
from scenarios.sources.generated import _draw, _hundred_classes, _names, _Painter, _ten_classes


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALIMPSEST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load("generated", download=False)


def test_ten_classes_of_equal_size_called_what_they_are(ten: Any) -> None:
    train, test = ten
    assert train.shape == test.shape == (3, 32, 32) and train.origin == "generated" and train.name == "generated"
    assert train.labels.bincount().tolist() == [500] * 10 and test.labels.bincount().tolist() == [200] * 10
    assert len(set(train.class_names)) == 10 and "cifar" not in " ".join(train.class_names).lower()


def test_no_image_occurs_twice(ten: Any) -> None:
    images = torch.cat([part.images for part in ten]).flatten(1)[:, ::7]
    assert len(images.unique(dim=0)) == len(images)


def test_drawing_again_gives_the_same_bits_whatever_the_number_of_threads(ten: Any) -> None:
    threads = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        again = _draw(_ten_classes(), 200, 10, "test")
    finally:
        torch.set_num_threads(threads)
    assert again.fingerprint == ten[1].fingerprint


def test_the_global_generator_is_left_alone() -> None:
    before = torch.get_rng_state()
    _draw(_ten_classes(), 2, 10, "train")
    assert torch.equal(before, torch.get_rng_state())


def test_a_class_is_not_told_by_its_mean_image_alone(ten: Any) -> None:
    train, test = ten
    means = torch.stack([train.images[train.labels == c].float().mean(0).flatten() for c in range(10)])
    nearest = torch.cdist(test.images.float().flatten(1), means).argmin(1)
    assert 0.1 < (nearest == test.labels).float().mean() < 0.4


def test_colour_does_not_tell_the_ten_classes_apart() -> None:
    kinds = _ten_classes()
    assert kinds[:, 0].unique().numel() == 10 and kinds[:, 1].unique().numel() == 10
    assert kinds[:, 2].unique().numel() < 10, "some classes share their hues"


def test_a_hundred_classes_in_twenty_groups_of_five() -> None:
    kinds = _hundred_classes()
    names, groups = _names(kinds)
    assert len(set(names)) == 100 and len(set(groups)) == 20 and {groups.count(group) for group in groups} == {5}
    part = _draw(kinds, 2, 100, "test")
    assert np.bincount(part.labels).tolist() == [2] * 100 and part.images.shape == (200, 3, 32, 32)


def test_chunks_do_not_repeat_each_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scenarios.sources.generated.CHUNK", 15)
    images = _draw(_ten_classes(), 5, 10, "train").images
    assert len(images) == 50 and len(np.unique(images.reshape(50, -1), axis=0)) == 50


def test_every_shape_has_an_inside_in_the_frame_and_an_outside() -> None:
    axis = torch.linspace(-1.5, 1.5, 61)
    y, x = (plane.reshape(1, -1) for plane in torch.meshgrid(axis, axis, indexing="ij"))
    for shape in SHAPES:
        distance = shape(x, y)
        inside = (distance < 0).float().mean()
        assert 0.05 < inside < 0.5 and torch.isfinite(distance).all()
        assert (distance[(x.abs() > 1.2) | (y.abs() > 1.2)] > 0).all()


def test_every_texture_stays_between_its_two_colours() -> None:
    x, y = torch.randn(2, 1, 4000, generator=torch.Generator().manual_seed(0)).unbind()
    for texture in TEXTURES:
        value = texture(x, y)
        assert value.shape == x.shape and value.min() >= 0 and value.max() <= 1


def test_each_image_is_drawn_by_its_own_function() -> None:
    planes = (lambda x, y: x, lambda x, y: x + 10 * y)
    x, y = torch.ones(3, 2), torch.full((3, 2), 2.0)
    assert evaluate(planes, torch.tensor([1, 0, 1]), x, y)[:, 0].tolist() == [21, 1, 21]


def test_hues_go_round_the_circle() -> None:
    found = colours(torch.tensor([0, 1 / 3, 2 / 3, 1, 1 / 6]), torch.ones(5), torch.ones(5))
    expected = torch.tensor([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [1, 0, 0], [1, 1, 0]])
    assert torch.allclose(found, expected, atol=1e-5)
    assert torch.allclose(colours(torch.tensor([0.4]), torch.zeros(1), torch.tensor([0.3])), torch.full((1, 3), 0.3))


def test_painting_puts_the_object_over_the_background() -> None:
    kinds = _ten_classes()[:4]
    with_object = _Painter(4, torch.Generator().manual_seed(1)).paint(*kinds.T)
    other_object = _Painter(4, torch.Generator().manual_seed(1)).paint(*kinds.flip(0).T)
    differs = (with_object != other_object).any(1).flatten(1).float().mean(1)
    assert ((differs > 0.02) & (differs < 0.9)).all(), "chance is the same, only the object differs"
