"""Episodes: that they are pure functions of their number, and made of what they claim."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from scenarios.episodes.class_table import class_table
from scenarios.episodes.episodes import PADDED, EpisodeBatch, EpisodeBatches, EpisodeSpec, EpisodeStream
from scenarios.episodes.turns import turned
from scenarios.errors import UserError
from scenarios.images import ImageSet
from scenarios.random import Randomness
from scenarios.storage import Storage, View

CLASSES, IMAGES = 12, 40


def numbered(classes: int = CLASSES, images: int = IMAGES, channels: int = 1) -> ImageSet:
    """Images whose pixels spell their own row; rows of a class are scattered."""
    count = classes * images
    rows = torch.arange(count)
    pixels = torch.stack([rows % 256, rows // 256, rows % 7, 1 + rows % 11], 1).to(torch.uint8).view(count, 1, 2, 2)
    names = tuple(f"class {c}" for c in range(classes))
    return ImageSet("numbered", pixels.repeat(1, channels, 1, 1), rows % classes, names, "generated", "0")


def stream(spec: EpisodeSpec | None = None, *, key: int = 42, images: ImageSet | None = None) -> EpisodeStream:
    spec = spec or EpisodeSpec()
    images = images or numbered()
    one = torch.ones(images.shape[0], 1, 1)
    storage = Storage(images, View(), one, 0 * one)
    table = class_table(images, range(len(images.class_names)), label_ratio=spec.label_ratio, randomness=Randomness(0))
    return EpisodeStream(storage, table, spec, key)


def rows_of(images: torch.Tensor) -> np.ndarray:
    flat = images.flatten(2)
    return (flat[..., 0] + 256 * flat[..., 1]).long().numpy()


def same(first: Any, second: Any) -> bool:
    return first is second if first is None else torch.equal(first, second)


SPECS = st.builds(
    EpisodeSpec,
    ways=st.integers(2, 6),
    shots=st.integers(1, 4),
    queries=st.integers(1, 8),
    unlabelled=st.integers(1, 4),
    distractors=st.integers(0, 3),
    imbalance=st.sampled_from(["none", "fixed", "dirichlet"]),
    min_shots=st.sampled_from([None, 1]),
    label_ratio=st.sampled_from([1.0, 0.5]),
) | st.builds(
    EpisodeSpec,
    ways=st.integers(4, 6),
    min_ways=st.integers(2, 4),
    shots=st.integers(2, 5),
    min_shots=st.sampled_from([None, 1, 2]),
    queries=st.integers(1, 8),
    imbalance=st.sampled_from(["none", "fixed", "dirichlet"]),
)


@given(spec=SPECS, first=st.integers(0, 1 << 62), count=st.integers(1, 9))
@settings(max_examples=40, deadline=None)
def test_an_episode_is_the_same_in_any_batch(spec: EpisodeSpec, first: int, count: int) -> None:
    source = stream(spec)
    batch = source.batch(first, count)
    for i in range(count):
        alone = source.batch(first + i, 1)
        for name in set(EpisodeBatch._fields) - {"ways"}:
            together, single = getattr(batch, name), getattr(alone, name)
            assert same(None if together is None else together[i : i + 1], single), name


@given(spec=SPECS, first=st.integers(0, 1 << 62))
@settings(max_examples=40, deadline=None)
def test_an_episode_is_made_of_what_its_labels_say(spec: EpisodeSpec, first: int) -> None:
    source = stream(spec)
    draw, batch = source.draw(first, 4), source.batch(first, 4)
    labels = source.storage.images.labels.numpy()
    support, query = rows_of(batch.support_x), rows_of(batch.query_x)
    unlabelled = None if batch.unlabelled_x is None else rows_of(batch.unlabelled_x)
    for e in range(4):
        classes = draw.classes[e]
        assert len(set(classes.tolist())) == spec.ways + spec.distractors
        used = []
        for rows, y in ((support[e], batch.support_y[e].numpy()), (query[e], batch.query_y[e].numpy())):
            real = y != PADDED
            assert np.array_equal(labels[rows[real]], classes[y[real]])
            used += rows[real].tolist()
        ways = int(batch.present()[e].sum())
        assert (spec.min_ways or spec.ways) <= ways <= spec.ways
        assert int((batch.query_y[e] != PADDED).sum()) == ways * spec.queries
        if unlabelled is not None:
            assert batch.unlabelled_y is not None
            y = batch.unlabelled_y[e].numpy()
            assert np.array_equal(labels[unlabelled[e]], classes.repeat(spec.unlabelled))
            assert np.array_equal(y, np.where(np.arange(len(classes)) < spec.ways, np.arange(len(classes)), -1).repeat(spec.unlabelled))
            used += unlabelled[e].tolist()
        assert len(used) == len(set(used))


def test_a_batch_has_the_shapes_and_values_of_its_images() -> None:
    images = numbered(channels=3)
    source = stream(EpisodeSpec(ways=4, shots=2, queries=3, unlabelled=2, distractors=1), images=images)
    scale, shift = torch.tensor([1.0, 2.0, 3.0])[:, None, None], torch.tensor([0.0, 1.0, -1.0])[:, None, None]
    source = replace(source, storage=replace(source.storage, scale=scale, shift=shift))
    draw, batch = source.draw(5, 6), source.batch(5, 6)
    assert batch.support_x.shape == (6, 8, 3, 2, 2) and batch.query_x.shape == (6, 12, 3, 2, 2) and batch.ways == 4
    assert batch.unlabelled_x is not None and batch.unlabelled_x.shape == (6, 10, 3, 2, 2)
    assert batch.support_mask is None and batch.query_mask is None
    for rows, x in ((draw.support, batch.support_x), (draw.query, batch.query_x), (draw.unlabelled, batch.unlabelled_x)):
        assert x.dtype == torch.float32 and torch.equal(x, images.images[torch.from_numpy(rows)].float() * scale + shift)
    laid = replace(source, storage=replace(source.storage, channels_last=True)).batch(5, 6)
    assert all(same(getattr(laid, name), getattr(batch, name)) for name in ("support_x", "query_x", "unlabelled_x"))


def test_padding_is_zero_unlabelled_and_behind_the_real_images() -> None:
    batch = stream(EpisodeSpec(ways=6, min_ways=2, shots=4, min_shots=1, queries=3)).batch(0, 64)
    for x, y, mask in ((batch.support_x, batch.support_y, batch.support_mask), (batch.query_x, batch.query_y, batch.query_mask)):
        assert mask is not None and not mask.all()
        assert torch.equal(mask, y != PADDED)
        assert not x[~mask].any() and x[mask].flatten(1).any(1).all()
        assert torch.equal(mask.sort(dim=1, descending=True).values, mask)
    assert torch.equal(batch.present(), torch.arange(6) < batch.present().sum(1, keepdim=True))


def test_variable_shots_alone_pad_only_the_support_set() -> None:
    batch = stream(EpisodeSpec(shots=4, min_shots=1)).batch(0, 8)
    assert batch.support_mask is not None and batch.query_mask is None


def test_classes_images_and_labels_are_drawn_evenly() -> None:
    source = stream(EpisodeSpec(ways=4, shots=2, queries=3))
    draw = source.draw(0, 6000)
    for label in range(4):
        assert stats.chisquare(np.bincount(draw.classes[:, label], minlength=CLASSES)).pvalue > 1e-3
    for rows in (draw.support, draw.query):
        assert stats.chisquare(np.bincount(rows.ravel(), minlength=CLASSES * IMAGES)).pvalue > 1e-3
    labels_of_first = np.bincount(np.nonzero(draw.classes == 0)[1], minlength=4)
    assert stats.chisquare(labels_of_first).pvalue > 1e-3


def test_labelled_and_unlabelled_images_never_change_sides() -> None:
    spec = EpisodeSpec(ways=5, shots=2, queries=4, unlabelled=5, distractors=3, label_ratio=0.4)
    draw = stream(spec).draw(0, 2000)
    assert draw.unlabelled is not None
    labelled, unlabelled = np.unique(np.concatenate([draw.support, draw.query], 1)), np.unique(draw.unlabelled)
    assert not np.intersect1d(labelled, unlabelled).size
    assert (len(labelled), len(unlabelled)) == (CLASSES * IMAGES * 4 // 10, CLASSES * IMAGES * 6 // 10)


def test_quarter_turns_are_classes_of_their_own() -> None:
    plain = replace(numbered(), groups=tuple("ab" * (CLASSES // 2)))
    images = turned(plain)
    assert images.groups == tuple(group for group in plain.groups or () for _ in range(4)) and images.fingerprint != plain.fingerprint
    source = stream(EpisodeSpec(ways=30, shots=1, queries=2), images=images)
    draw, batch = source.draw(0, 10), source.batch(0, 10)
    assert len(source.table) == 4 * CLASSES
    for e in range(10):
        for row, x, y in zip(draw.query[e].tolist(), batch.query_x[e], batch.query_y[e].tolist()):
            turn, row = divmod(row, len(plain))
            assert torch.equal(x, torch.rot90(plain.images[row], turn, (1, 2)).float())
            assert source.table.names[draw.classes[e, y]] == f"class {plain.labels[row]}" + (f" turned {90 * turn}" if turn else "")


def test_streams_of_other_keys_are_other_streams() -> None:
    assert not np.array_equal(stream(key=1).draw(0, 4).support, stream(key=2).draw(0, 4).support)
    assert np.array_equal(stream(key=1).draw(0, 4).support, stream(key=1).draw(0, 4).support)


def test_a_pass_can_be_repeated_and_the_next_is_another() -> None:
    batches = EpisodeBatches(stream(), 3, 4)
    randomness = Randomness(0)

    def run(number: int) -> list[torch.Tensor]:
        return [batch.support_x for batch in batches.epoch(lambda purpose: randomness.generator("phase", number, purpose))]

    first, again, second = run(0), run(0), run(1)
    assert len(first) == len(batches) == 4 and first[0].shape[0] == 3
    assert all(torch.equal(x, y) for x, y in zip(first, again))
    assert not any(torch.equal(x, y) for x, y in zip(first, second))
    assert len({tuple(x.flatten().tolist()) for x in torch.cat(first)}) == 12


@pytest.mark.parametrize(
    ("options", "word"),
    [
        ({"ways": 13}, "12 classes"),
        ({"ways": 10, "unlabelled": 1, "distractors": 3}, "12 classes"),
        ({"shots": 30}, "45 images"),
        ({"shots": 5, "queries": 15, "unlabelled": 21}, "41 images"),
        ({"queries": 5, "unlabelled": 30, "label_ratio": 0.5}, "label_ratio"),
        ({"min_ways": 6}, "min_ways"),
        ({"min_shots": 2}, "min_shots"),
        ({"distractors": 1}, "unlabelled"),
        ({"min_ways": 2, "unlabelled": 1}, "min_ways"),
    ],
)
def test_what_cannot_be_drawn_is_refused_in_one_line(options: dict[str, Any], word: str) -> None:
    with pytest.raises(UserError, match=word) as caught:
        stream(EpisodeSpec(**options))
    assert "\n" not in str(caught.value)


def test_the_largest_episode_that_fits_can_be_drawn() -> None:
    draw = stream(EpisodeSpec(ways=12, shots=5, queries=35)).draw(0, 3)
    assert all(len(np.unique(np.concatenate(rows))) == CLASSES * IMAGES for rows in zip(draw.support, draw.query))
    stream(EpisodeSpec(ways=12, shots=5, queries=35, imbalance="dirichlet")).batch(0, 3)
