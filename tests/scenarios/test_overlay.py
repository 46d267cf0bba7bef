"""Altered images beside a storage: any picture, exactly, and nothing else changes."""

from __future__ import annotations

from dataclasses import replace

import torch

from scenarios.experience import concatenate
from scenarios.overlay import Overlay
from scenarios.streams.views import Rotation
from tests.strategies.driver import tiny_scenario


def covered(view=None):
    examples = tiny_scenario("domain").experiences[1].train
    storage = examples.storage
    overlay = Overlay(len(storage.images), storage.images.shape, storage.device)
    return replace(examples, storage=replace(storage, overlay=overlay, view=view or storage.view))


def test_an_altered_example_shows_exactly_what_it_was_given_and_the_others_what_they_were():
    examples = covered(Rotation(torch.tensor([0.0, 30.0, 60.0])))
    before = examples.raw_pixels()
    wanted = torch.randint(0, 256, (3, 1, 8, 8), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    places = torch.tensor([5, 0, 17])
    altered = examples.altered(places, wanted)
    expected = before.index_copy(0, places, wanted)
    assert torch.equal(altered.raw_pixels(), expected)
    assert torch.equal(examples.raw_pixels(), before)
    again = altered.altered(places[:1], before[places[:1]])
    assert torch.equal(again.raw_pixels(places), torch.cat([before[places[:1]], wanted[1:]]))


def test_altered_examples_keep_their_images_in_selections_joins_and_batches():
    examples = covered()
    wanted = torch.full((1, 1, 8, 8), 255, dtype=torch.uint8)
    altered = examples.altered(torch.tensor([2]), wanted)
    joined = concatenate([examples, altered.select(torch.tensor([2, 3]))])
    batch = joined.batch(torch.tensor([2, len(examples), len(examples) + 1]))
    assert torch.equal(batch.x[1], altered.storage.normalise(wanted)[0])
    assert torch.equal(batch.x[[0, 2]], examples.batch(torch.tensor([2, 3])).x)


def test_what_a_defence_does_to_pixels_comes_after_the_alteration():
    examples = covered()
    altered = examples.altered(torch.tensor([0]), torch.full((1, 1, 8, 8), 200, dtype=torch.uint8))
    defended = replace(altered, storage=replace(altered.storage, preprocess=lambda pixels: pixels // 100 * 100))
    assert torch.equal(defended.batch(slice(0, 1)).x, altered.storage.normalise(torch.full((1, 1, 8, 8), 200, dtype=torch.uint8)))
    assert not torch.equal(defended.batch(slice(1, 2)).x, altered.batch(slice(1, 2)).x)
