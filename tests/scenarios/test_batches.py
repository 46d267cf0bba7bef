"""Batches hold every example once, in a keyed order; augmentation is a whole-batch operation that equals the one by one."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from scenarios.batches import Shuffled, augmenter, random_crop, random_flip
from scenarios.experience import Examples, concatenate
from scenarios.images import ImageSet
from scenarios.random import Randomness
from scenarios.storage import Storage, View
from scenarios.streams.views import Permutation


def examples(count: int = 10, task: int = 0) -> Examples:
    images = torch.arange(count * 3 * 4 * 4, dtype=torch.int64).remainder(256).to(torch.uint8).reshape(count, 3, 4, 4)
    source = ImageSet("test", images, torch.arange(count), tuple("abcdefghij"), "generated", "0")
    storage = Storage(source, View(), torch.full((3, 1, 1), 1 / 255), torch.zeros(3, 1, 1))
    return Examples(storage, torch.arange(count), torch.arange(count), torch.full((count,), task), task)


def keyed(seed: int, epoch: int = 0):
    return lambda purpose: Randomness(seed).generator(purpose, epoch)


@pytest.mark.parametrize(
    ("size", "drop", "sizes"),
    [
        (4, False, [4, 4, 2]),
        (4, True, [4, 4]),
        (5, True, [5, 5]),
        (20, False, [10]),
        (3, False, [3, 3, 4]),
        (3, True, [3, 3, 3]),
        (1, False, [1] * 10),
    ],
)
def test_a_pass_holds_every_example_once(size: int, drop: bool, sizes: list[int]) -> None:
    source = Shuffled(examples(), size, drop_last=drop)
    batches = list(source.epoch(keyed(0)))
    assert [len(batch.x) for batch in batches] == sizes
    assert len(source) == len(sizes)
    seen = torch.cat([batch.y for batch in batches])
    assert len(seen.unique()) == len(seen) == sum(sizes)


def test_the_order_is_a_function_of_seed_and_pass() -> None:
    def order(seed: int, epoch: int) -> list[int]:
        return torch.cat([batch.y for batch in Shuffled(examples(), 4).epoch(keyed(seed, epoch))]).tolist()

    assert order(0, 0) == order(0, 0)
    assert len({tuple(order(seed, epoch)) for seed in (0, 1) for epoch in (0, 1)}) == 4


def test_augmentation_does_not_change_the_order() -> None:
    plain, augmented = (Shuffled(examples(), 4, kind) for kind in ("none", "crop-flip"))
    for one, two in zip(plain.epoch(keyed(0)), augmented.epoch(keyed(0))):
        assert torch.equal(one.y, two.y)


def test_crop_equals_shifting_each_image_by_itself() -> None:
    pixels = torch.randint(0, 256, (7, 3, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    cropped = random_crop(pixels, 2, torch.Generator().manual_seed(1))
    offsets = torch.randint(0, 5, (2, 7), generator=torch.Generator().manual_seed(1))
    for i in range(7):
        padded = torch.zeros(3, 12, 12, dtype=torch.uint8)
        padded[:, 2:10, 2:10] = pixels[i]
        top, left = offsets[:, i].tolist()
        assert torch.equal(cropped[i], padded[:, top : top + 8, left : left + 8])


def test_flip_mirrors_about_half_and_leaves_the_others() -> None:
    pixels = torch.randint(0, 256, (400, 1, 3, 5), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    flipped = random_flip(pixels, torch.Generator().manual_seed(1))
    mirrored = (flipped == pixels.flip(3)).flatten(1).all(1)
    kept = (flipped == pixels).flatten(1).all(1)
    assert bool((mirrored | kept).all())
    assert 150 < int(mirrored.sum()) < 250


def test_no_augmentation_is_no_function() -> None:
    assert augmenter("none", torch.Generator()) is None


def test_batches_are_normalised_and_know_their_experience() -> None:
    first = examples(task=0)
    mixed = concatenate([first, replace(first, tasks=torch.full_like(first.tasks, 2), task=2)])
    batch = mixed.batch(torch.tensor([0, 15]))
    assert batch.task is None
    assert batch.present == (0, 2)
    assert batch.tasks.tolist() == [0, 2]
    assert torch.allclose(batch.x[1], mixed.storage.images.images[5].float() / 255)
    assert concatenate([first, first]).task == 0


def test_augmentation_comes_before_an_experience_permutes_the_pixels() -> None:
    order = torch.randperm(16, generator=torch.Generator().manual_seed(0))
    plain = examples()
    permuted = replace(plain, storage=replace(plain.storage, view=Permutation(order[None])))
    for one, two in zip(Shuffled(plain, 5, "crop-flip").epoch(keyed(0)), Shuffled(permuted, 5, "crop-flip").epoch(keyed(0))):
        assert torch.equal(one.x.flatten(2)[:, :, order], two.x.flatten(2))
