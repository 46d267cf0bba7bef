"""Kinds of streams, each counted by brute force: what comes, how often, when, under which label."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import runs
import scenarios
from scenarios.corruptions import corrupted
from scenarios.errors import UserError
from scenarios.sources import add, load
from scenarios.sources.registry import sources


@pytest.fixture(autouse=True)
def own_sets() -> Iterator[None]:
    before = dict(sources.rows)
    generator = np.random.default_rng(0)
    labels = np.arange(600) % 12
    add("dozen", x=generator.integers(0, 256, (600, 6, 6)), y=labels)
    yield
    sources.rows.clear()
    sources.rows.update(before)


def make(name: str, **options: Any) -> Any:
    return scenarios.make(name, **options)


def rows(stream: Any, side: str = "train") -> list[list[int]]:
    return [getattr(each, side).rows.tolist() for each in stream.experiences]


def by_class(examples: Any) -> Counter[str]:
    images = examples.storage.images
    return Counter(images.class_names[c] for c in images.labels[examples.rows].tolist())


def named(examples: Any, experience: Any) -> list[str]:
    return [experience.classes[target - experience.outputs.start] for target in examples.targets.tolist()]


@pytest.mark.parametrize("setting", ["domain", "class", "task"])
def test_new_instances_share_each_class_out_among_the_experiences(setting: str) -> None:
    stream = make("instances-dozen", tasks=3, setting=setting)
    for side in ("train", "test"):
        assert sorted(sum(rows(stream, side), [])) == list(range(480 if side == "train" else 120))
        for experience in stream.experiences:
            counts = by_class(getattr(experience, side))
            assert len(counts) == 12 and max(counts.values()) - min(counts.values()) <= 1
            assert named(getattr(experience, side), experience) == [
                getattr(experience, side).storage.images.class_names[c]
                for c in getattr(experience, side).storage.images.labels[getattr(experience, side).rows].tolist()
            ]
        sizes = list(map(len, rows(stream, side)))
        assert max(sizes) - min(sizes) <= 4, "what cannot be divided evenly is spread over the experiences"
    assert stream.num_outputs == (12 if setting == "domain" else 36)


@pytest.mark.parametrize("setting", ["class", "domain"])
def test_slots_come_as_often_for_every_class_and_no_example_twice(setting: str) -> None:
    stream = make("repetition-dozen", tasks=10, slots=5, setting=setting)
    met: list[str] = []
    appearances: Counter[str] = Counter()
    for i, experience in enumerate(stream.experiences):
        counts = by_class(experience.train)
        assert len(counts) == 5
        appearances.update(counts.keys())
        met += [name for name in counts if name not in met]
        assert named(experience.train, experience) == [name for name in _names(experience.train)]
        assert named(experience.test, experience) == _names(experience.test) and set(_names(experience.test)) == set(counts)
        assert len(experience.outputs) == (12 if setting == "domain" else len(met)) and experience.outputs.start == 0
        assert set(experience.classes[: len(met)]) == set(met)
        assert stream.in_play(i) == experience.outputs
    assert set(appearances.values()) == {4, 5} and sum(appearances.values()) == 50
    everything = sum(rows(stream), [])
    assert sorted(everything) == list(range(480))
    firsts = [len(each.outputs) for each in make("repetition-dozen", tasks=10, slots=5).experiences]
    assert [(block.start, block.stop) for block in make("repetition-dozen", tasks=10, slots=5).blocks][-1][1] == 12 == firsts[-1]


def _names(examples: Any) -> list[str]:
    images = examples.storage.images
    return [images.class_names[c] for c in images.labels[examples.rows].tolist()]


def test_sampling_draws_when_a_class_comes_and_comes_again() -> None:
    first, repeat, size = 0.3, 0.4, 24
    begins, chances = [], []
    for seed in range(30):
        options = {"generator": "sampling", "experience_size": size, "first_probability": first, "repeat_probability": repeat}
        stream = make("repetition-dozen", tasks=8, seed=seed, **options)
        present = [set(by_class(each.train)) for each in stream.experiences]
        assert all(len(each.train) == size for each in stream.experiences)
        for experience in stream.experiences:
            counts = by_class(experience.train).values()
            assert max(counts) - min(counts) <= 1, "the classes of an experience share it evenly"
        for name in set.union(*present):
            begin = next(i for i, there in enumerate(present) if name in there)
            begins.append(begin)
            chances += [name in there for there in present[begin + 1 :]]
    weights = [first * (1 - first) ** i for i in range(8)]
    expected = sum(i * weight for i, weight in enumerate(weights)) / sum(weights)
    assert abs(sum(begins) / len(begins) - expected) < 0.35
    assert abs(sum(chances) / len(chances) - repeat) < 0.05


def test_each_superclass_gives_one_of_its_classes_to_every_experience() -> None:
    for order in ("natural", "seeded"):
        stream = make("superclass-cifar100", data="generated", class_order=order, train_examples=100, test_examples=50)
        images = stream.experiences[0].train.storage.images
        taken: list[int] = []
        for experience in stream.experiences:
            classes = images.labels[experience.train.rows]
            groups = [images.groups[c] for c in classes.tolist()]
            assert named(experience.train, experience) == groups and len(set(groups)) == 20
            taken += sorted(set(classes.tolist()))
        assert len(stream) == 5 and stream.num_outputs == 20 and len(taken) == len(set(taken)) == 100


def test_a_few_shot_stream_has_a_base_and_sessions_of_few_examples_and_whole_tests() -> None:
    stream = make("fscil-dozen", base_classes=6, ways=2, shots=3, class_order="seeded")
    assert [len(each.outputs) for each in stream.experiences] == [6, 2, 2, 2] and stream.setting == "class"
    assert list(by_class(stream.experiences[0].train).values()) == [40] * 6
    for experience in stream.experiences[1:]:
        assert list(by_class(experience.train).values()) == [3, 3] and list(by_class(experience.test).values()) == [10, 10]
    cifar = make("fscil-cifar100", data="generated", train_examples=100, test_examples=100)
    assert [len(each.outputs) for each in cifar.experiences] == [60] + 8 * [5]
    assert all(set(by_class(each.train).values()) == {5} for each in cifar.experiences[1:])
    other = make("fscil-dozen", base_classes=6, ways=2, shots=3, class_order="natural", seed=1)
    again = make("fscil-dozen", base_classes=6, ways=2, shots=3, class_order="natural", seed=2)
    assert rows(other)[0] == rows(again)[0] and rows(other)[1] != rows(again)[1], "shots are drawn by the seed"


@pytest.mark.parametrize("order", ["ordered", "shuffled"])
def test_a_long_tail_has_the_ratio_and_the_exponential_between(order: str) -> None:
    stream = make("split-dozen", tasks=3, long_tail=8, long_tail_order=order, class_order="seeded")
    counts = sum((by_class(each.train) for each in stream.experiences), Counter())
    met = [name for each in stream.experiences for name in each.classes]
    expected = [round(40 * 8 ** (-k / 11)) for k in range(12)]
    assert [counts[name] for name in met] == expected if order == "ordered" else sorted(counts.values(), reverse=True) == expected
    assert order == "ordered" or [counts[name] for name in met] != expected
    assert sum(len(each.test) for each in stream.experiences) == 120, "tests are balanced as they were"


@pytest.mark.parametrize("name", ["instances-dozen", "permuted-dozen", "repetition-dozen"])
def test_a_long_tail_is_also_that_of_streams_that_choose_their_examples(name: str) -> None:
    stream = make(name, tasks=3, long_tail=8, **({"slots": 4} if "rep" in name else {}))
    kept = {row for own in rows(stream) for row in own}
    images = stream.experiences[0].train.storage.images
    sizes = sorted(Counter(images.labels[sorted(kept)].tolist()).values(), reverse=True)
    assert sizes == [round(40 * 8 ** (-k / 11)) for k in range(12)]


@pytest.mark.parametrize(("kind", "share"), [("symmetric", 0.25), ("pairs", 0.25), ("symmetric", 1.0)])
def test_label_noise_touches_its_share_of_each_class_and_no_test(kind: str, share: float) -> None:
    options: dict[str, Any] = {"tasks": 3, "setting": "class", "seed": 4, "validation_share": 0.1}
    clean, noisy = make("split-dozen", **options), make("split-dozen", label_noise=share, label_noise_kind=kind, **options)
    for one, other in zip(clean.experiences, noisy.experiences):
        assert torch.equal(one.train.rows, other.train.rows)
        for side in ("validation", "test"):
            assert torch.equal(getattr(one, side).targets, getattr(other, side).targets)
        wrong = one.train.targets != other.train.targets
        for target in one.outputs:
            own = one.train.targets == target
            assert int((wrong & own).sum()) == round(share * int(own.sum()))
            became = set(other.train.targets[wrong & own].tolist())
            after = one.outputs.start + (target - one.outputs.start + 1) % 4
            assert became == {after} if kind == "pairs" else became <= set(one.outputs) - {target} and len(became) > 1


def test_a_gaussian_schedule_lets_each_example_arrive_once_at_its_tasks_time() -> None:
    stream = make("split-dozen", tasks=6, gaussian=0.7, setting="class")
    assert sorted(sum(rows(stream), [])) == list(range(480))
    where = torch.zeros(6, 6)
    for i, experience in enumerate(stream.experiences):
        where[:, i] = torch.bincount(experience.train.tasks, minlength=6)
    normal = torch.distributions.Normal(0.0, 0.7)
    for task in range(6):
        edges = normal.cdf(torch.arange(7) - task - 0.5)
        shares = (edges[1:] - edges[:-1]) / (edges[-1] - edges[0])
        assert torch.allclose(where[task] / 80, shares, atol=0.16)
    sharp = make("split-dozen", tasks=6, gaussian=0.01, setting="class")
    assert all(set(each.train.tasks.tolist()) == {each.index} for each in sharp.experiences)


def test_an_online_stream_is_met_once_in_order_of_arrival_with_all_outputs_in_play() -> None:
    stream = make("split-dozen", tasks=3, setting="class", online=True)
    assert stream.online and stream.in_play(0) == range(12)
    assert sorted(sum(rows(stream), [])) == list(range(480))
    labels = stream.experiences[0].train.targets
    assert len(set(labels[:20].tolist())) > 2, "classes arrive mixed"
    seen: list[int] = []

    class Watcher(_naive()):
        def loss(self, batch: Any) -> Any:
            seen.extend(batch.y.tolist())
            return super().loss(batch)

    from strategies.registry import strategies

    before = dict(strategies.rows), dict(strategies._loaded)
    try:
        strategies.register("watcher", "notes what it sees")(Watcher)
        result = runs.simulate(scenario={"name": "split-dozen", "tasks": 3, "setting": "class", "online": True}, strategy="watcher")
    finally:
        strategies.rows, strategies._loaded = before
    assert seen == sum((each.train.targets.tolist() for each in stream.experiences), [])
    assert result.strategy.setup.train.batch_size == 10 and result.strategy.setup.train.epochs == 1


def _naive() -> type:
    from strategies.naive import Naive

    return Naive


@pytest.mark.parametrize("strategy", ["naive", "der++", "mir"])
def test_learners_without_boundaries_learn_online(strategy: str) -> None:
    scenario = {"name": "split-digits", "setting": "class", "online": True, "gaussian": 0.3}
    result = runs.simulate(scenario=scenario, strategy=strategy, network={"name": "mlp", "hidden": (32,)})
    assert result.summary["data"]["online"] is True and result.matrix.shape == (5, 5)


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({"strategy": "ewc"}, r"'ewc' must be told where an experience ends.* need no word of it: naive, .*der"),
        ({"train": {"epochs": 2}}, "scenario.online is one pass"),
        ({"train": {"schedule": "cosine"}}, "tells where it ends"),
        ({"train": {"reset_optimizer": True}}, "tells where it ends"),
        ({"scenario": {"name": "split-digits", "online": True}}, "a task label would; choose --setting class or domain"),
    ],
)
def test_what_would_tell_the_boundaries_of_an_online_stream_is_refused(request_: dict, message: str) -> None:
    scenario = {"name": "split-digits", "setting": "class", "online": True}
    with pytest.raises(UserError, match=message) as refused:
        runs.simulate(**{"scenario": scenario, "strategy": "naive", **request_})
    assert "\n" not in str(refused.value)


def test_corrupted_experiences_show_each_image_once_under_their_corruption() -> None:
    stream = make("corrupted-dozen", kinds=("contrast", "impulse-noise"), severity="2,5")
    assert [each.name for each in stream.experiences] == ["clean", "contrast 2", "contrast 5", "impulse-noise 2", "impulse-noise 5"]
    train, test = load("dozen")
    images = stream.experiences[0].train.storage.images
    assert [len(each.train) for each in stream.experiences] == [96] * 5
    assert [len(each.test) for each in stream.experiences] == [120] * 5
    contrast = stream.experiences[2]
    originals = corrupted(train.images, "contrast", 5, torch.Generator())
    found = [int((originals == pixels).flatten(1).all(1).nonzero()[0]) for pixels in contrast.train.raw_pixels()]
    assert len(set(found)) == 96 and train.labels[found].tolist() == images.labels[contrast.train.rows].tolist()
    assert torch.equal(contrast.test.raw_pixels(), corrupted(test.images, "contrast", 5, torch.Generator()))
    noisy = stream.experiences[4].test.raw_pixels()
    assert 0.2 < float(((noisy == 0) | (noisy == 255)).float().mean())
    again, other = (make("corrupted-dozen", kinds=("impulse-noise",), seed=seed) for seed in (0, 1))
    same = make("corrupted-dozen", kinds=("impulse-noise",), seed=0)
    pixels = [each.experiences[1].test.raw_pixels() for each in (again, same, other)]
    assert torch.equal(pixels[0], pixels[1]) and not torch.equal(pixels[0], pixels[2])
    prints = [each.experiences[1].test.storage.images.fingerprint for each in (again, same, other)]
    assert prints[0] == prints[1] != prints[2] and again.data == other.data == make("split-dozen", tasks=3).data


def test_corrupted_experiences_may_share_their_images_and_alter_no_more_than_is_looked_at() -> None:
    stream = make("corrupted-dozen", kinds=("blur",), shared=True, train_examples=24, test_examples=10)
    assert [len(each.train) for each in stream.experiences] == [24, 24] and len(stream.experiences[0].train.storage.images) == 48
    assert all(set(by_class(each.train).values()) == {2} for each in stream.experiences)
    assert len(make("corrupted-dozen", kinds=("blur",), shared=True).experiences[1].train) == 480


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("instances-dozen", {"tasks": 11}, "has 10 test examples for 11 experiences; choose at most 10 scenario.tasks"),
        ("repetition-dozen", {"setting": "task"}, "no task to be labelled"),
        ("repetition-dozen", {"slots": 13}, "more than the 12 classes"),
        ("repetition-dozen", {"slots": 1, "tasks": 5}, "choose at least 3 scenario.slots"),
        ("repetition-dozen", {"slots": 12, "tasks": 50}, "has 40 examples for 50 slots"),
        ("repetition-dozen", {"experience_size": 5}, "is of scenario.generator=sampling"),
        ("repetition-dozen", {"generator": "sampling", "slots": 5}, "is of scenario.generator=slots"),
        ("repetition-dozen", {"generator": "sampling", "validation_share": 0.1}, "leave scenario.validation_share out"),
        ("repetition-dozen", {"generator": "sampling", "experience_size": 1, "repeat_probability": 1.0}, "choose at least that"),
        ("superclass-dozen", {}, "'dozen' has no superclasses"),
        ("fscil-dozen", {"base_classes": 12}, "choose at most 11"),
        ("fscil-dozen", {"base_classes": 6, "ways": 4}, "choose scenario.ways from 1, 2, 3, 6"),
        ("fscil-dozen", {"shots": 41}, "scenario.shots=41, and class '6' has 40 training examples"),
        ("corrupted-dozen", {"severity": "6"}, "scenario.severity must be at most 5"),
        ("corrupted-dozen", {"kinds": "fog"}, "scenario.kinds must be one of"),
        ("split-dozen", {"long_tail": 0.5}, "at least 1"),
        ("split-dozen", {"tasks": 3, "long_tail": 1000}, "choose at most 80"),
        ("split-dozen", {"long_tail_order": "ordered"}, "set scenario.long_tail as well"),
        ("split-dozen", {"label_noise_kind": "pairs"}, "set scenario.label_noise as well"),
        ("split-dozen", {"tasks": 12, "label_noise": 0.2}, "needs experiences of 2 or more classes"),
        ("split-dozen", {"tasks": 3, "gaussian": 0.3, "blurry": 0.3}, "two ways to blur boundaries"),
        ("split-dozen", {"tasks": 1, "gaussian": 0.3}, "scenario.gaussian mixes an experience with its neighbours"),
    ],
)
def test_streams_that_cannot_be_made_are_refused_in_one_line(name: str, options: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as refused:
        make(name, **options)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("instances-dozen", {"tasks": 3}),
        ("repetition-dozen", {"tasks": 6}),
        ("repetition-dozen", {"tasks": 6, "generator": "sampling"}),
        ("split-dozen", {"tasks": 3, "gaussian": 0.5, "setting": "class", "online": True, "long_tail": 5, "label_noise": 0.2}),
        ("corrupted-dozen", {"kinds": ("blur",)}),
    ],
)
def test_streams_are_functions_of_the_seed(name: str, options: dict) -> None:
    one, again, other = (make(name, seed=seed, **options) for seed in (0, 0, 1))

    def found(stream: Any) -> list[Any]:
        parts = [each.train for each in stream.experiences]
        return [(part.batch(slice(None)).x.sum().item(), part.rows.tolist(), part.targets.tolist()) for part in parts]

    assert found(one) == found(again) != found(other)


def test_hnet_cnet_refuses_classes_that_come_back() -> None:
    with pytest.raises(UserError, match="here classes come back"):
        runs.simulate(scenario="repetition-digits", strategy="hnet-cnet", network={"name": "mlp", "hidden": (32,)})


@pytest.mark.parametrize(
    ("scenario", "strategy"),
    [
        ({"name": "split-digits", "setting": "class", "online": True, "gaussian": 0.4, "label_noise": 0.2, "long_tail": 5}, "der++"),
        ({"name": "corrupted-digits", "kinds": ("gaussian-noise",), "train_examples": 200, "test_examples": 50}, "replay"),
        ({"name": "repetition-digits", "tasks": 4, "generator": "sampling"}, "replay"),
    ],
)
def test_a_run_that_is_interrupted_goes_on_with_the_same_bits(scenario: dict, strategy: str, tmp_path: Path) -> None:
    from tests.runs.test_resume import interrupted

    asked = {"scenario": scenario, "strategy": {"name": strategy}, "network": {"name": "mlp", "hidden": (16,)}, "seed": 2}
    if not scenario.get("online"):
        asked["train"] = {"epochs": 2}
    whole = runs.simulate(**asked)
    interrupted(asked, tmp_path / "run", 12)
    again = runs.simulate(**asked, out=tmp_path / "run", resume=True)
    assert torch.equal(whole.matrix.nan_to_num(-1), again.matrix.nan_to_num(-1))
