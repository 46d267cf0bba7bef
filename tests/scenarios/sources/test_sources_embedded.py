"""Sets that need no files of others: scikit-learn's digits and the glyphs of matplotlib's fonts."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import scenarios
from scenarios.sources import glyphs, load
from scenarios.sources.base import Place, hold_out


@pytest.fixture(scope="module")
def rendered(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PALIMPSEST_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield load("glyphs", root=Path("nowhere"), download=False)


def test_the_digits_come_without_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))
    train, test = load("digits", root=tmp_path / "nowhere", download=False)
    assert len(train) + len(test) == 1797 and train.shape == (1, 8, 8) and train.verified
    assert train.images.max() == 255 and train.labels.unique().tolist() == list(range(10))


def test_what_is_held_out_is_a_share_of_every_class() -> None:
    labels = np.repeat(np.arange(4), [1, 2, 10, 55])
    train, test = hold_out(labels)
    assert np.array_equal(np.sort(np.concatenate([train, test])), np.arange(len(labels)))
    assert np.bincount(labels[test], minlength=4).tolist() == [0, 1, 2, 11]
    assert np.array_equal(hold_out(labels)[1], test)


def test_glyphs_are_hundreds_of_characters_of_many_scripts(rendered: Any) -> None:
    train, test = rendered
    assert 600 < len(train.class_names) == len(set(train.class_names)) and train.origin == "embedded" and train.verified
    sizes = Counter(train.groups)
    assert set(sizes) == {script.capitalize() for script in glyphs.SCRIPTS} and sizes["Digit"] == 10 and min(sizes.values()) >= 10
    assert set("0Aaß") | set("ΔΩЖшԱაກ") <= set(train.class_names)
    assert not set("ΑéА") & set(train.class_names), "a Greek or Cyrillic capital A is a Latin A, and accents make no class"


def test_every_glyph_has_sixteen_images_to_learn_and_four_to_test(rendered: Any) -> None:
    train, test = rendered
    assert train.shape == (1, 28, 28)
    assert train.labels.bincount().unique().tolist() == [16] and test.labels.bincount().unique().tolist() == [4]


def test_glyphs_are_bright_on_black_whole_and_never_blank(rendered: Any) -> None:
    images = torch.cat([part.images for part in rendered])[:, 0]
    assert (images.flatten(1).amax(1) > 60).all() and (images.flatten(1).float().mean(1) < 128).all()
    border = torch.cat([images[:, 0], images[:, -1], images[:, :, 0], images[:, :, -1]], 1)
    assert (border > 0).any(1).float().mean() < 0.01


def test_images_of_a_glyph_differ_and_are_drawn_in_the_same_way_again(rendered: Any) -> None:
    train, _ = rendered
    own = train.images[train.labels == train.class_names.index("Ж")].flatten(1)
    assert len(own.unique(dim=0)) == len(own)
    source = glyphs.Glyphs()
    place = Place(Path("nowhere"), None, False, lambda line: None)
    faces = [glyphs.Face.of(path) for path in source.locate(place)]
    able = [face for face in faces if "Ж" in face.characters]
    drawn = {image.tobytes() for image in glyphs._draw("Ж", able)}
    assert {image.numpy().tobytes() for image in train.images[train.labels == train.class_names.index("Ж")]} <= drawn


def test_a_glyph_is_often_nearest_to_the_mean_of_its_own_class(rendered: Any) -> None:
    train, test = rendered
    classes = torch.arange(0, len(train.class_names), 40)
    means = torch.stack([train.images[train.labels == c].float().mean(0).flatten() for c in classes])
    rows = torch.isin(test.labels, classes)
    nearest = classes[torch.cdist(test.images[rows].float().flatten(1), means).argmin(1)]
    assert (nearest == test.labels[rows]).float().mean() > 0.4


def test_glyphs_make_episodes(rendered: Any) -> None:
    episodes: Any = scenarios.make("glyphs", queries=3, test_queries=3)
    domain = episodes.experiences[0]
    sides = [set(part.table.names) for part in (domain.train, domain.validation, domain.test)]
    assert all(sides) and not sides[0] & sides[1] and not sides[0] & sides[2] and not sides[1] & sides[2]
    assert set().union(*sides) == set(rendered[0].class_names)
