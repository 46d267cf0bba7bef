"""Features [N, F]: kept as they are, standardised by what may be looked at, refused where images are needed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import runs
import scenarios
from scenarios.errors import UserError
from scenarios.sources import add, load
from scenarios.sources.registry import sources


@pytest.fixture(autouse=True)
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))
    before = dict(sources.rows)
    yield
    sources.rows.clear()
    sources.rows.update(before)


def made(classes: int = 6, per_class: int = 20, features: int = 5, kind: str = "float32") -> dict[str, np.ndarray]:
    generator = np.random.default_rng(3)
    arrays = {}
    for side, count in (("train", per_class), ("test", 4)):
        labels = np.arange(classes * count) % classes
        means = np.random.default_rng(1).normal(size=(classes, features)) * 3
        scales = 10.0 ** np.arange(features) / 10
        arrays |= {f"x_{side}": ((means[labels] + generator.normal(size=(len(labels), features))) * scales).astype(kind)}
        arrays[f"y_{side}"] = labels
    return arrays


def own(path: Path, **options: Any) -> str:
    np.savez(path, **made(**options))
    return f"npz:{path}"


@pytest.mark.parametrize("kind", ["float32", "float16", "float64"])
def test_features_are_kept_bit_for_bit_also_in_the_cache(tmp_path: Path, kind: str) -> None:
    said: list[str] = []
    data, arrays = own(tmp_path / "own.npz", kind=kind), made(kind=kind)
    for _ in range(2):
        train, test = load(data, report=said.append)
        wanted = np.float16 if kind == "float16" else np.float32
        for side, images in (("train", train), ("test", test)):
            assert images.images.numpy().dtype == wanted and images.are_features
            assert np.array_equal(images.images.numpy()[:, :, 0, 0], arrays[f"x_{side}"].astype(wanted))
            assert images.labels.tolist() == arrays[f"y_{side}"].tolist()
    assert train.bytes_each == 5 * np.dtype(wanted).itemsize
    notes = {"float32": [], "float16": ["5 features of x_train are kept in 16 bits, as they are"]}
    assert [line for line in said if "kept" in line] == 2 * notes.get(kind, ["5 features of x_train are kept in 32 bits, rounded to that"])


def test_a_stream_of_features_shows_them_as_they_are(tmp_path: Path) -> None:
    stream: Any = scenarios.make("split-mnist", data=own(tmp_path / "own.npz"), tasks=3)
    arrays = made()
    for experience in stream.experiences:
        batch = experience.train.batch(slice(None))
        rows = np.flatnonzero(np.isin(arrays["y_train"], [2 * experience.index, 2 * experience.index + 1]))
        assert np.array_equal(np.sort(batch.x[:, :, 0, 0].numpy(), 0), np.sort(arrays["x_train"][rows], 0))
    assert stream.data["kind"] == "features" and "5 features" in repr(stream)
    assert stream.recommended["network"] == "mlp"


@pytest.mark.parametrize("kind", ["first", "standard"])
def test_statistics_are_of_the_first_experience_or_of_training_and_never_of_the_test(tmp_path: Path, kind: str) -> None:
    said: list[str] = []
    data, arrays = own(tmp_path / "own.npz"), made()
    stream: Any = scenarios.make("split-mnist", data=data, tasks=3, normalise=kind, report=said.append)
    measured = arrays["x_train"][np.isin(arrays["y_train"], [0, 1]) if kind == "first" else slice(None)].astype(np.float64)
    expected = (arrays["x_test"] - measured.mean(0)) / measured.std(0)
    for experience in stream.experiences:
        batch = experience.test.batch(slice(None))
        rows = experience.test.rows.numpy()
        assert np.allclose(batch.x[:, :, 0, 0], expected[rows], atol=1e-4)
    count = 40 if kind == "first" else 120
    assert any(f"{'first' if kind == 'first' else 'all'} experience" in line and f" {count} training examples" in line for line in said)


def test_statistics_of_the_first_experience_are_of_its_own_instances() -> None:
    add("mine", **made())
    said: list[str] = []
    stream: Any = scenarios.make("instances-mine", tasks=4, normalise="first", report=said.append)
    x = stream.experiences[0].train.batch(slice(None)).x[:, :, 0, 0]
    assert (
        len(x) == 30
        and torch.allclose(x.mean(0), torch.zeros(5), atol=1e-4)
        and torch.allclose(x.std(0, correction=0), torch.ones(5), atol=1e-4)
    )
    assert any(" 30 training examples" in line for line in said)


def test_a_feature_that_never_changes_becomes_zero() -> None:
    arrays = made()
    for side in ("train", "test"):
        arrays[f"x_{side}"][:, 2] = 1e4
    add("flat", **arrays)
    stream: Any = scenarios.make("split-flat", tasks=3, normalise="first")
    x = stream.experiences[0].train.batch(slice(None)).x[:, :, 0, 0]
    assert float(x[:, 2].abs().max()) == 0 and torch.allclose(x[:, :2].std(0, correction=0), torch.ones(2), atol=1e-4)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"x_test": np.zeros((24, 4), "float32")}, "x_train has 5 features, x_test 4"),
        ({"x_test": np.zeros((24, 5, 5), "float32")}, "give features .N, F. in all arrays"),
        ({"x_train": np.ones((120, 25), "int64")}, r"give x_train.reshape\(-1, HEIGHT, WIDTH\) or x_train.astype\('float32'\)"),
        ({"x_train": np.full((120, 5), np.nan)}, "features that are not finite numbers"),
        ({"x_train": np.full((120, 5), 1e300)}, "features that are not finite numbers"),
        ({"x_train": np.ones((120, 0))}, "and so no features"),
        ({"y_train": np.zeros(7, int)}, "does not fit 120 images"),
    ],
)
def test_arrays_that_are_no_features_are_refused_in_one_line(changes: dict, message: str) -> None:
    add("odd", **{**made(), **changes})
    with pytest.raises(UserError, match=message) as refused:
        load("odd")
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "arrays", "message"),
    [
        ("mnist", {"x": np.zeros((4, 2))}, "there is a data set 'mnist' already"),
        ("My Set", {"x": np.zeros((4, 2))}, "has small letters, digits and hyphens"),
        ("mine", {"x_trian": np.zeros((4, 2))}, "has no array 'x_trian'; did you mean x_train"),
        ("mine", {"x": [[1.0], [1.0, 2.0]]}, "x is no array"),
    ],
)
def test_arrays_from_python_are_named_or_refused(name: str, arrays: dict, message: str) -> None:
    with pytest.raises(UserError, match=message):
        add(name, **arrays)


@pytest.mark.parametrize("request_", [{"probe": "few-shot"}, {"scenario": "cifar-fs", "strategy": "protonet", "test_scenario": "glyphs"}])
def test_images_are_not_brought_to_features(request_: dict) -> None:
    add("mine", **made(classes=12, per_class=30))
    scenario = {
        "name": request_.get("scenario", "split-mine"),
        **({"test_queries": 3, "ways": 2} if "test_scenario" in request_ else {"tasks": 2}),
    }
    with pytest.raises(UserError, match="images of 'glyphs' cannot be brought to 5 features"):
        runs.simulate(**{"strategy": "naive", "train": {"epochs": 1}, **request_, "scenario": scenario, "data": "mine"})


def test_arrays_given_anew_replace_those_before_and_tensors_will_do() -> None:
    for fill in (1.0, 2.0):
        add("mine", x=torch.full((10, 3), fill), y=[0, 1] * 5)
        assert float(load("mine")[0].images.unique()) == fill


def test_episodes_of_features_hold_the_rows_of_their_classes() -> None:
    arrays = made(classes=12)
    add("mine", **arrays)
    scenario: Any = scenarios.make("cifar-fs", data="mine", ways=3, shots=2, queries=2, test_queries=2)
    batch = scenario.experiences[0].train.batch(0, 4)
    everything = np.concatenate([arrays["x_train"], arrays["x_test"]])
    labels = np.concatenate([arrays["y_train"], arrays["y_test"]])
    for episode in range(4):
        found = [labels[np.flatnonzero((everything == x).all(1))[0]] for x in batch.support_x[episode, :, :, 0, 0].numpy()]
        by_label = {int(y): {c for c, own in zip(found, batch.support_y[episode]) if own == y} for y in batch.support_y[episode]}
        assert len(by_label) == 3 and all(len(classes) == 1 for classes in by_label.values())
    assert scenario.data["kind"] == "features"


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"train": {"augmentation": "flip"}}, "train.augmentation crops and flips images"),
        ({"network": "conv"}, "network 'conv' is one of convolutions"),
        ({"network": "resnet32"}, "network 'resnet32' is one of convolutions"),
        ({"attack": "task-poison"}, "attack 'task-poison' alters pixels"),
        ({"defence": "smooth"}, "defence 'smooth' alters pixels"),
        ({"strategy": "hnet-cnet", "scenario": {"name": "split-mine", "setting": "class"}}, "H-net learns what images look like"),
        ({"scenario": {"name": "split-mine", "size": "8"}}, "leave scenario.size out"),
        ({"scenario": {"name": "split-mine", "normalise": "unit"}}, "divides pixels by 255"),
        ({"scenario": "permuted-mine"}, "permutes pixels"),
        ({"scenario": "rotated-mine"}, "rotates images"),
        ({"scenario": "sequence-mine-digits"}, "cannot be brought to another shape"),
    ],
)
def test_what_needs_images_refuses_features_in_one_line(request_: dict, message: str) -> None:
    add("mine", **made(classes=10))
    with pytest.raises(UserError, match=message) as refused:
        runs.simulate(**{"scenario": "split-mine", "strategy": "naive", **request_})
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("strategy", ["replay", "ewc", "kfac", "rescl", "hnet-cnet", "joint"])
def test_strategies_learn_features(strategy: str) -> None:
    add("mine", **made())
    scenario = {"name": "split-mine", "tasks": 3, "normalise": "first"}
    train = {"epochs": 15, "batch_size": 8, "learning_rate": 0.01}
    result = runs.simulate(scenario=scenario, strategy=strategy, network={"name": "mlp", "hidden": (16,)}, train=train)
    assert result.summary["average_accuracy"] > 0.75 and result.summary["data"]["shape"] == [5, 1, 1]


def test_features_meta_learn() -> None:
    add("mine", **made(classes=12, per_class=30))
    scenario = {"name": "cifar-fs", "ways": 3, "test_queries": 3, "test_episodes": 20, "normalise": "standard"}
    result = runs.simulate(scenario=scenario, data="mine", strategy="protonet", train={"iterations": 20})
    assert result.summary["few_shot_accuracy"]["mean"] > 0.6
