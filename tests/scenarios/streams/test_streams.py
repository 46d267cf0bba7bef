"""Streams cut what their protocol says: disjoint classes, bijective permutations, whole data, no leak from test to train."""

from __future__ import annotations

import pytest
import torch

import scenarios
from scenarios.errors import UserError
from scenarios.images import ImageSet
from scenarios.sources import load
from scenarios.streams.shaping import join, pad, reshape
from scenarios.streams.streams import split_names


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
def test_a_split_partitions_the_classes_and_the_examples(setting: str) -> None:
    stream = scenarios.make("split-digits", setting=setting)
    train, test = load("digits")
    assert len(stream) == 5
    for side, source in (("train", train), ("test", test)):
        rows = torch.cat([getattr(experience, side).rows for experience in stream.experiences])
        assert sorted(rows.tolist()) == list(range(len(source)))
    for experience in stream.experiences:
        labels = train.labels[experience.train.rows]
        classes = sorted(labels.unique().tolist())
        assert [train.class_names[c] for c in classes] == sorted(experience.classes)
        expected = labels - classes[0] + (0 if setting == "domain" else 2 * experience.index)
        assert torch.equal(experience.train.targets, expected)
    assert stream.num_outputs == (2 if setting == "domain" else 10)
    assert len(stream.blocks) == (1 if setting == "domain" else 5)
    assert stream.in_play(2) == {"task": range(4, 6), "domain": range(0, 2), "class": range(0, 6)}[setting]


def test_any_class_order_is_followed() -> None:
    stream = scenarios.make("split-digits", class_order="9,8,7,6,5,4,3,2,1,0")
    assert stream.experiences[0].classes == ("9", "8")
    assert stream.experiences[0].train.targets[:1].tolist() == [0]


def test_a_seeded_order_is_a_function_of_the_seed() -> None:
    def order(**options: object) -> list:
        return [e.classes for e in scenarios.make("split-digits", class_order="seeded", **options).experiences]

    assert order(seed=0) != order(seed=1)
    assert order(seed=0) == order(seed=0)
    assert scenarios.make("split-digits").experiences[0].classes == ("0", "1")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"class_order": "0,1,2,3,4,5,6,7,8,8"}, "repeats class 8"),
        ({"class_order": "0,1,2,3,4,5,6,7,8"}, "lacks class 9"),
        ({"class_order": "0,1,2,3,4,5,6,7,8,10"}, "unknown class 10"),
        ({"tasks": 11}, "more than the 10 classes"),
        ({"tasks": 3}, "choose scenario.tasks from 1, 2, 5, 10"),
        ({"tasks": 0}, "at least 1"),
        ({"validation_share": 1.5}, "at most 0.9"),
    ],
)
def test_a_stream_that_cannot_be_cut_is_refused(options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        scenarios.make("split-digits", **options)


def test_a_replacement_with_too_few_classes_is_refused() -> None:
    with pytest.raises(UserError, match="has 10 classes, but split-cifar10-100 needs 50"):
        scenarios.make("split-cifar10-100", data="digits")


def test_a_replacement_with_fewer_than_two_classes_an_experience_is_refused() -> None:
    with pytest.raises(UserError, match="too few classes \\(10\\) for 10 experiences"):
        scenarios.make("split-cifar100", data="digits")
    assert len(scenarios.make("split-cifar100", data="digits", tasks=5)) == 5


def test_validation_is_held_out_of_training_and_depends_on_the_seed_alone() -> None:
    one, again, other = (scenarios.make("split-digits", validation_share=0.25, seed=seed) for seed in (0, 0, 1))
    for experience, twin in zip(one.experiences, again.experiences):
        held, kept = set(experience.validation.rows.tolist()), set(experience.train.rows.tolist())
        assert not held & kept
        assert len(held) == round(0.25 * (len(held) + len(kept)))
        assert held == set(twin.validation.rows.tolist())
    assert set(one.experiences[0].validation.rows.tolist()) != set(other.experiences[0].validation.rows.tolist())


def test_permutations_are_bijections_and_images_keep_their_pixels() -> None:
    stream = scenarios.make("permuted-digits", tasks=3)
    plain, permuted = stream.experiences[0].train.batch(slice(0, 5)), stream.experiences[2].train.batch(slice(0, 5))
    assert stream.setting == "domain"
    assert not torch.equal(plain.x, permuted.x)
    assert torch.equal(plain.x.flatten(1).sort(1).values, permuted.x.flatten(1).sort(1).values)
    assert torch.equal(plain.x, scenarios.make("split-digits", tasks=1).experiences[0].train.batch(slice(0, 5)).x)


def test_mixed_batches_see_each_image_as_its_experience_does() -> None:
    from scenarios.experience import concatenate

    for name in ("permuted-digits", "rotated-digits"):
        stream = scenarios.make(name, tasks=3)
        parts = [experience.train.select(torch.arange(4)) for experience in stream.experiences]
        mixed = concatenate(parts).batch(torch.arange(12))
        alone = torch.cat([part.batch(torch.arange(4)).x for part in parts])
        assert torch.equal(mixed.x, alone)


def test_rotation_by_a_right_angle_is_the_transpose_of_the_mirror() -> None:
    stream = scenarios.make("rotated-digits", tasks=2, degrees=90)
    upright, turned = (experience.train.batch(slice(0, 3)).x for experience in stream.experiences)
    assert torch.allclose(turned, torch.rot90(upright, 1, (2, 3)), atol=1.5 / 255) or torch.allclose(
        turned, torch.rot90(upright, -1, (2, 3)), atol=1.5 / 255
    )


def test_a_sequence_brings_its_sets_to_one_shape() -> None:
    stream = scenarios.make("sequence-digits-generated", train_examples=50, test_examples=20)
    assert [experience.name for experience in stream.experiences] == ["digits", "generated"]
    assert stream.input_shape == (3, 32, 32)
    assert stream.data["origin"] == "generated"
    assert [len(block) for block in stream.blocks] == [10, 10]
    assert stream.experiences[1].train.batch(slice(0, 2)).x.shape == (2, 3, 32, 32)


def test_a_blurry_stream_keeps_all_examples_and_mixes_neighbours() -> None:
    stream = scenarios.make("split-digits", blurry=0.3, setting="class")
    rows = torch.cat([experience.train.rows for experience in stream.experiences])
    assert len(rows.unique()) == len(rows) == len(load("digits")[0])
    counts = stream.experiences[2].train.tasks.bincount(minlength=5)
    assert counts[0] == counts[4] == 0
    assert min(counts[1], counts[3]) > 0
    share = 1 - float(counts[2]) / float(counts.sum())
    assert 0.2 < share < 0.4


def test_setting_domain_needs_equally_many_classes() -> None:
    with pytest.raises(UserError, match="equally many classes"):
        scenarios.make("sequence-digits-generated100", setting="domain", train_examples=10, test_examples=10)


def test_split_names_takes_the_longest_name() -> None:
    assert split_names("mnist-emnist-letters") == ["mnist", "emnist-letters"]
    with pytest.raises(UserError, match="unknown data set 'mnits'"):
        split_names("mnits-usps")


def test_reshape_join_and_pad_derive_new_fingerprints() -> None:
    pixels = torch.randint(0, 256, (3, 1, 4, 4), dtype=torch.uint8)
    small = ImageSet("a", pixels, torch.tensor([0, 1, 1]), ("x", "y"), "real", "f1")
    colour = reshape(small, (3, 8, 8))
    assert colour.shape == (3, 8, 8)
    assert reshape(colour, (1, 8, 8)).shape == (1, 8, 8)
    assert pad(small, 2).images[:, :, 2:6, 2:6].equal(pixels)
    joined = join([small, small])
    assert joined.labels.tolist() == [0, 1, 1, 2, 3, 3]
    assert len({small.fingerprint, colour.fingerprint, pad(small, 2).fingerprint, joined.fingerprint}) == 4


def test_colour_images_are_normalised_to_zero_mean_and_unit_variance() -> None:
    stream = scenarios.make("split-generated", tasks=1)
    x = stream.experiences[0].train.batch(slice(0, len(stream.experiences[0].train))).x
    assert torch.allclose(x.mean((0, 2, 3)), torch.zeros(3), atol=1e-2)
    assert torch.allclose(x.std((0, 2, 3)), torch.ones(3), atol=1e-2)
