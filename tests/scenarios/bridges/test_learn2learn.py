"""Tasksets of learn2learn become episodes of the same images and classes, and our classes become meta-datasets."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import TensorDataset

import scenarios
from scenarios.episodes.few_shot import EpisodicConfig
from scenarios.errors import UserError

pytest.importorskip("learn2learn", reason="learn2learn is not installed (requirements-learn2learn.txt)")

from learn2learn.data import FilteredMetaDataset, MetaDataset, Taskset, UnionMetaDataset
from learn2learn.data import transforms as tasks
from learn2learn.vision.transforms import RandomClassRotation

from scenarios.bridges.learn2learn import from_tasksets, to_metadataset

CONFIG = EpisodicConfig(ways=2, shots=1, queries=2, test_queries=2, normalise="unit")


def pairs(classes: int = 9, each: int = 6) -> TensorDataset:
    """Images that tell their class: pixel [0, 0] is label / 255; the others are an image's own."""
    labels = torch.arange(classes).repeat(each)
    images = torch.randint(256, (classes * each, 1, 4, 4), generator=torch.Generator().manual_seed(0)) / 255
    images[:, 0, 0, 0] = labels / 255
    return TensorDataset(images, labels)


def tasksets(n: int = 2, further=()):
    whole = MetaDataset(pairs())
    found = []
    for labels in ([0, 2, 4, 6], [1, 3], [5, 7, 8]):
        part = FilteredMetaDataset(whole, labels)
        steps = [tasks.FusedNWaysKShots(part, n=n, k=3), tasks.LoadData(part), tasks.RemapLabels(part), *further]
        found.append(Taskset(part, task_transforms=steps))
    return found


def test_episodes_have_the_tasksets_classes_and_pixels():
    scenario = from_tasksets(*tasksets(), config=CONFIG)
    (domain,) = scenario.experiences
    for side, classes in (("train", {0, 2, 4, 6}), ("validation", {1, 3}), ("test", {5, 7, 8})):
        batch = getattr(domain, side).batch(0, 40)
        marks = (255 * batch.query_x[:, :, 0, 0, 0]).round().long()
        assert set(marks.unique().tolist()) == classes
        for marked, labels in zip(marks, batch.query_y):
            assert len(set(zip(marked.tolist(), labels.tolist()))) == 2
    known = {tuple((255 * image).round().flatten().tolist()) for image, _ in pairs()}
    assert all(tuple((255 * image).round().flatten().tolist()) in known for image in batch.query_x.flatten(0, 1))


def test_ways_are_those_of_the_tasksets_where_nothing_is_said():
    train = from_tasksets(*(MetaDataset(pairs(each=20)) for _ in range(3))).experiences[0].train
    assert train.spec.ways == 5
    data = MetaDataset(pairs(each=20))
    parts = [Taskset(data, task_transforms=[tasks.NWays(data, n)]) for n in (4, 3, 3)]
    domain = from_tasksets(*parts).experiences[0]
    assert (domain.train.spec.ways, domain.test.spec.ways) == (4, 3)


def test_quarter_turns_are_classes_of_their_own():
    rotation = RandomClassRotation(None, [0.0, 90.0, 180.0, 270.0])
    domain = from_tasksets(*tasksets(further=[rotation]), config=CONFIG).experiences[0]
    assert len(domain.train.table) == 16 and len(domain.test.table) == 12


def test_their_rotation_turns_all_classes_of_an_episode_alike_as_our_documentation_says():
    data = MetaDataset(TensorDataset(torch.tensor([[1.0, 0], [0, 0]]).expand(40, 1, 2, 2), torch.arange(20).repeat(2)))
    rotation = RandomClassRotation(data, [0.0, 90.0, 180.0, 270.0])
    images, _ = Taskset(data, task_transforms=[tasks.FusedNWaysKShots(data, n=20, k=1), tasks.LoadData(data), rotation]).sample()
    assert len(images.flatten(1).unique(dim=0)) == 1


def test_a_union_and_bare_pairs_are_taken_as_well():
    union = UnionMetaDataset([MetaDataset(pairs(3)), MetaDataset(pairs(2))])
    domain = from_tasksets(union, pairs(3), pairs(4), config=CONFIG).experiences[0]
    assert [len(stream.table) for stream in (domain.train, domain.validation, domain.test)] == [5, 3, 4]


def test_our_classes_go_there_and_come_back():
    ours = scenarios.make("digits", normalise="unit", ways=3, queries=2, test_queries=2)
    sides = [to_metadataset(stream) for stream in (ours.experiences[0].train, ours.experiences[0].validation, ours.experiences[0].test)]
    image, label = sides[0][sides[0].labels_to_indices[2][0]]
    assert label == 2 and image.shape == (1, 8, 8)
    sample, labels = Taskset(sides[0], task_transforms=[tasks.FusedNWaysKShots(sides[0], n=2, k=3), tasks.LoadData(sides[0])]).sample()
    assert sample.shape == (6, 1, 8, 8) and len(labels.unique()) == 2
    config = EpisodicConfig(ways=3, queries=2, test_queries=2, normalise="unit")
    again = from_tasksets(*sides, config=config).experiences[0].train
    first, second = ours.experiences[0].train, again
    assert first.table.sizes.tolist() == second.table.sizes.tolist()
    batch = first.storage.normalise(first.storage.images.images[first.table.rows])
    assert torch.allclose(batch, second.storage.normalise(second.storage.images.images[second.table.rows]), atol=1 / 500)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: from_tasksets(*tasksets(further=[lambda task: task]), config=CONFIG), "the task transform function has no counterpart"),
        (lambda: from_tasksets(*tasksets(further=[RandomClassRotation(None, [0.0, 45.0])]), config=CONFIG), "only by quarter turns"),
        (lambda: from_tasksets(*(TensorDataset(torch.randn(9, 1, 4, 4), torch.arange(9) % 3) for _ in range(3))), "without normalisation"),
        (lambda: scenarios.make("learn2learn:omnigolt"), "did you mean omniglot"),
        (lambda: scenarios.make("learn2learn:omniglot", data="digits"), "brings its own data"),
    ],
)
def test_what_cannot_be_taken_over_is_one_line(make, message):
    with pytest.raises(UserError, match=message):
        make()


def test_a_benchmark_is_taken_by_its_name(tmp_path):
    from PIL import Image

    for side, shade in (("train", 10), ("val", 20), ("test", 30)):
        for c in range(5):
            folder = tmp_path / "cifarfs" / "processed" / side / f"class{c}"
            folder.mkdir(parents=True)
            for i in range(3):
                Image.new("RGB", (32, 32), (shade, c, i)).save(folder / f"{i}.png")
    scenario = scenarios.make("learn2learn:cifarfs", data_root=tmp_path, queries=2, test_queries=2, normalise="unit")
    assert scenario.input_shape == (3, 32, 32) and scenario.recommended["network"] == "conv4"
    batch = scenario.experiences[0].test.batch(0, 2)
    assert (255 * batch.query_x[..., 0, 0]).round().long()[..., 0].unique().tolist() == [30]
    assert (255 * batch.query_x[..., 0, 0]).round().long()[..., 1].unique().tolist() == [0, 1, 2, 3, 4]
