"""Real sets, where the environment variable PALIMPSEST_DATA says that they lie: their published numbers."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from scenarios.errors import DataUnavailableError
from scenarios.images import ImageSet
from scenarios.sources import load

pytestmark = [pytest.mark.real_data, pytest.mark.skipif("PALIMPSEST_DATA" not in os.environ, reason="PALIMPSEST_DATA is not set")]


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))


def real(name: str) -> tuple[ImageSet, ImageSet]:
    try:
        return load(name, download=False)
    except DataUnavailableError as error:
        pytest.skip(str(error))


@pytest.mark.parametrize(
    "name, counts, shape, classes, mean",
    [
        ("mnist", (60000, 10000), (1, 28, 28), 10, 0.1307),
        ("fashion", (60000, 10000), (1, 28, 28), 10, 0.2860),
        ("cifar10", (50000, 10000), (3, 32, 32), 10, 0.4734),
        ("cifar100", (50000, 10000), (3, 32, 32), 100, 0.4782),
        ("usps", (7291, 2007), (1, 16, 16), 10, 0.2469),
        ("omniglot", (19280, 13180), (1, 28, 28), 1623, 0.078),
    ],
)
def test_a_real_set_has_its_published_numbers(
    name: str, counts: tuple[int, int], shape: tuple[int, int, int], classes: int, mean: float
) -> None:
    train, test = real(name)
    assert (len(train), len(test)) == counts and train.shape == test.shape == shape and len(train.class_names) == classes
    assert len(train.labels.unique()) == (964 if name == "omniglot" else classes)
    assert train.images[::7].float().mean().item() / 255 == pytest.approx(mean, abs=0.01)


def test_omniglot_has_20_drawings_of_each_character_and_30_and_20_alphabets() -> None:
    train, test = real("omniglot")
    assert train.groups is not None and len(set(train.groups)) == 50
    assert set(train.labels.bincount().tolist()) == {20} and set(test.labels.bincount()[964:].tolist()) == {20}
    assert len({train.groups[c] for c in train.labels.unique().tolist()}) == 30
