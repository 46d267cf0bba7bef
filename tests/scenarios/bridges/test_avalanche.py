"""Streams go to Avalanche and come back with the same pixels, targets and experiences."""

from __future__ import annotations

import pytest
import torch

import scenarios
from scenarios.errors import UserError

pytest.importorskip("avalanche", reason="the extra 'avalanche' is not installed")

from scenarios.bridges.avalanche import from_benchmark, to_benchmark


def test_a_stream_arrives_with_its_pixels_targets_and_task_labels():
    stream = scenarios.make("split-digits", setting="task")
    benchmark = to_benchmark(stream)
    assert len(benchmark.train_stream) == len(benchmark.test_stream) == 5
    for ours, theirs in zip(stream.experiences, benchmark.train_stream):
        batch = ours.train.batch(ours.train.rows.argsort()[:5])
        assert len(set(batch.y.tolist())) == 2  # in the data set's order, not class by class
        for index in range(5):
            x, y, task = theirs.dataset[index]
            assert torch.equal(x, batch.x[index]) and y == int(batch.y[index]) and task == ours.index


def test_a_benchmark_comes_back_as_the_stream_that_it_was():
    stream = scenarios.make("split-digits", setting="class", normalise="unit")
    again = from_benchmark(to_benchmark(stream))
    assert len(again) == 5 and again.setting == "task"
    for ours, theirs in zip(stream.experiences, again.experiences):
        one, two = ours.train.batch(ours.train.rows.argsort()), theirs.train.batch(theirs.train.rows.argsort())
        assert ours.outputs == theirs.outputs and torch.equal(one.y, two.y)
        assert torch.allclose(one.x, two.x, atol=1 / 500)


def test_experiences_of_the_same_classes_are_domains():
    stream = scenarios.make("permuted-digits", tasks=2, normalise="unit")
    again = from_benchmark(to_benchmark(stream))
    assert again.setting == "domain" and again.num_outputs == 10 and len(again) == 2
    assert torch.allclose(again.experiences[1].test.batch(slice(0, 4)).x, stream.experiences[1].test.batch(slice(0, 4)).x, atol=1 / 500)


def test_normalised_images_and_unknown_benchmarks_are_refused():
    with pytest.raises(UserError, match="without normalisation"):
        from_benchmark(to_benchmark(scenarios.make("split-digits", normalise="standard")))
    with pytest.raises(UserError, match="did you mean SplitMNIST"):
        scenarios.make("avalanche:SplitMNST")
    with pytest.raises(UserError, match="brings its own data"):
        scenarios.make("avalanche:SplitMNIST", data="digits")
