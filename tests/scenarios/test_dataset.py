"""An experience's examples are a torch Dataset, and what is printed says what it is in a few lines."""

from __future__ import annotations

import torch
from torch.utils.data import DataLoader, Dataset

import scenarios


def test_examples_are_a_dataset_of_pairs_that_a_loader_batches_as_batch_does() -> None:
    examples = scenarios.make("split-digits").experiences[1].train
    assert isinstance(examples, Dataset)
    whole = examples.batch(slice(0, 6))
    for index in range(6):
        x, y = examples[index]
        assert torch.equal(x, whole.x[index]) and y == int(whole.y[index])
    x, y = next(iter(DataLoader(examples, batch_size=6)))
    assert torch.equal(x, whole.x) and torch.equal(y, whole.y)
    assert torch.equal(examples[-1][0], examples[len(examples) - 1][0])
    assert sum(1 for _ in examples) == len(examples)


def test_permuted_examples_are_seen_as_their_experience_sees_them() -> None:
    examples = scenarios.make("permuted-digits", tasks=2).experiences[1].train
    assert torch.equal(examples[3][0], examples.batch(slice(3, 4)).x[0])


def test_what_is_printed_says_what_it_is() -> None:
    stream = scenarios.make("split-digits", setting="class", validation_share=0.1)
    lines = str(stream).splitlines()
    assert lines[0] == "Scenario split-digits, setting class: 5 experiences of digits (embedded data), images (1, 8, 8), 10 outputs"
    assert len(lines) == 6 and "outputs 2 to 3" in lines[2] and "to select on" in lines[2]
    assert str(stream.experiences[1]) == lines[2].strip()
    assert str(stream.experiences[0].train).startswith("Examples: ")
    episodes = str(scenarios.make("digits"))
    assert "5-way 1-shot" in episodes and "5 to test on" in episodes
