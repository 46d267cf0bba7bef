import torch
from hypothesis import given
from hypothesis import strategies as st

from metrics import accuracy


@st.composite
def answers(draw):
    num, width = draw(st.integers(1, 12)), draw(st.integers(2, 6))
    generator = torch.Generator().manual_seed(draw(st.integers(0, 10**6)))
    logits = torch.randn(num, width, generator=generator, dtype=torch.float64)
    targets = torch.randint(width, (num,), generator=generator)
    mask = torch.rand(num, width, generator=generator) < 0.6
    mask[torch.arange(num), targets] = True
    return logits, targets, mask


def best(logits, allowed):
    return max(allowed, key=lambda output: float(logits[output]))


@given(answers())
def test_a_prediction_is_the_best_output_in_play_of_its_own_sample(case):
    logits, targets, mask = case
    expected = [best(row, [k for k in range(len(row)) if mask[n, k]]) for n, row in enumerate(logits)]
    assert accuracy.predictions(logits, mask).tolist() == expected
    right = sum(int(answer == target) for answer, target in zip(expected, targets.tolist()))
    assert int(accuracy.correct(logits, targets, mask)) == right
    assert float(accuracy.accuracy(logits, targets, mask)) == right / len(targets)


@given(answers(), st.data())
def test_a_range_is_the_mask_of_its_outputs(case, data):
    logits, targets, _ = case
    start = data.draw(st.integers(0, logits.shape[1] - 1))
    stop = data.draw(st.integers(start + 1, logits.shape[1]))
    mask = torch.zeros(logits.shape[1], dtype=torch.bool)
    mask[start:stop] = True
    assert torch.equal(accuracy.predictions(logits, range(start, stop)), accuracy.predictions(logits, mask))
    assert torch.equal(accuracy.predictions(logits, range(logits.shape[1])), accuracy.predictions(logits))


@given(answers())
def test_one_pass_under_several_masks_equals_a_pass_for_each(case):
    logits, targets, mask = case
    each = accuracy.correct_each(logits, targets, mask)
    assert each.tolist() == [int(accuracy.correct(logits, targets, row)) for row in mask]


@given(answers())
def test_task_incremental_accuracy_is_never_below_class_incremental_accuracy(case):
    logits, targets, mask = case
    assert accuracy.correct(logits, targets, mask) >= accuracy.correct(logits, targets)


@given(answers())
def test_the_confusion_matrix_counts_every_pair_and_its_trace_is_the_number_correct(case):
    logits, targets, _ = case
    width = logits.shape[1]
    confusion = accuracy.confusion_matrix(accuracy.predictions(logits), targets, width)
    brute = [[0] * width for _ in range(width)]
    for target, answer in zip(targets.tolist(), logits.argmax(1).tolist()):
        brute[target][answer] += 1
    assert confusion.tolist() == brute
    assert confusion.trace() == accuracy.correct(logits, targets)
    counts = confusion.sum(1)
    weighted = (accuracy.per_class_accuracy(confusion).nan_to_num() * counts).sum() / counts.sum()
    assert torch.isclose(weighted, accuracy.accuracy(logits, targets))


def test_an_output_out_of_play_never_answers_however_large_its_logit():
    logits = torch.tensor([[torch.inf, -1e30, -2e30]])
    assert accuracy.predictions(logits, torch.tensor([False, True, True])).tolist() == [1]
    assert accuracy.predictions(logits, range(1, 3)).tolist() == [1]


def test_the_logits_are_left_as_they_were():
    logits = torch.ones(2, 3)
    accuracy.correct(logits, torch.tensor([0, 1]), torch.tensor([True, False, True]))
    assert torch.equal(logits, torch.ones(2, 3))
