from __future__ import annotations

import dataclasses

import pytest
import torch

from scenarios.images import ImageSet


@pytest.fixture
def images() -> ImageSet:
    pixels = torch.arange(5 * 3 * 2 * 4, dtype=torch.uint8).view(5, 3, 2, 4)
    return ImageSet("small", pixels, torch.tensor([0, 1, 1, 0, 1]), ("a", "b"), "embedded", "f" * 64)


def test_length_and_shape_are_those_of_the_images(images: ImageSet) -> None:
    assert len(images) == 5 and images.shape == (3, 2, 4)


def test_images_on_their_own_device_are_not_copied(images: ImageSet) -> None:
    assert images.images_on(torch.device("cpu")) is images.images


def test_a_copy_on_another_device_is_made_once(images: ImageSet) -> None:
    first = images.images_on(torch.device("meta"))
    assert first.device.type == "meta" and images.images_on(torch.device("meta")) is first


def test_select_keeps_the_order_of_the_indices_and_the_classes(images: ImageSet) -> None:
    chosen = images.select(torch.tensor([4, 0]), "new")
    assert torch.equal(chosen.images, images.images[[4, 0]]) and chosen.labels.tolist() == [1, 0]
    assert chosen.fingerprint == "new" and chosen.class_names == images.class_names and chosen.origin == "embedded"


def test_select_does_not_share_copies_on_devices(images: ImageSet) -> None:
    images.images_on(torch.device("meta"))
    assert images.select(torch.tensor([0]), "new").images_on(torch.device("meta")).shape[0] == 1


def test_a_set_cannot_be_changed(images: ImageSet) -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        images.name = "other"  # type: ignore[misc]
