"""Heads for frozen features, against references written out in float64."""

from __future__ import annotations

import math

import pytest
import torch

from metrics.features import linear_cka
from strategies.probes.heads import Episodes, adapted_accuracies, logistic_regression, prototype_accuracies


def random(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_cka_is_that_of_centred_gram_matrices():
    x, y = random(9, 4), random(9, 6, seed=1)
    centre = torch.eye(9, dtype=torch.float64) - 1 / 9
    first, second = centre @ (x @ x.T) @ centre, centre @ (y @ y.T) @ centre
    hsic = [(one * other).sum() for one, other in ((first, second), (first, first), (second, second))]
    assert linear_cka(x, y) == pytest.approx(float(hsic[0]) / math.sqrt(float(hsic[1] * hsic[2])))


def test_a_linear_probe_reads_off_what_is_linearly_separable_whatever_the_scale_and_whatever_is_dead():
    y = torch.arange(60) % 3
    x = torch.cat([5 * torch.nn.functional.one_hot(y, 3) + 0.1 * random(60, 3), torch.zeros(60, 1)], 1)
    for scale in (1e-6, 1.0, 1e4):
        assert (logistic_regression(scale * x[:30], y[:30], scale * x[30:], classes=3).argmax(1) == y[30:]).all()
    assert logistic_regression(torch.ones(6, 2), y[:6], torch.ones(3, 2), classes=3).isfinite().all()


def test_a_linear_probe_is_at_the_minimum_of_its_loss():
    x, y = random(40, 3), torch.arange(40) % 2
    z = (x - x.mean(0)) / x.std(0, correction=0)
    logits = logistic_regression(x, y, x, classes=2, iterations=500, weight_decay=0.1)
    # At the minimum of cross-entropy + l/2 |W|^2, l W = Z^T (targets - answers) / N, and the answers' mean is the targets'.
    wrong = torch.nn.functional.one_hot(y, 2) - logits.softmax(1)
    weight = z.T @ wrong / 40 / 0.1
    assert torch.allclose(z @ weight, logits - logits.mean(0), atol=1e-4) and torch.allclose(
        wrong.mean(0), torch.zeros(2).double(), atol=1e-5
    )


def episodes(count=200, classes=8, ways=4, shots=3, queries=5, each=20):
    generator = torch.Generator().manual_seed(3)
    own = torch.stack([torch.randperm(classes, generator=generator)[:ways] for _ in range(count)])
    drawn = torch.stack([torch.stack([torch.randperm(each, generator=generator) for _ in range(ways)]) for _ in range(count)])
    rows = own[..., None] * each + drawn
    labels = torch.arange(ways)[None, :, None].expand(count, -1, each)
    cuts = (
        [part[..., :shots].flatten(1) for part in (rows, labels)],
        [part[..., shots : shots + queries].flatten(1) for part in (rows, labels)],
    )
    return Episodes(cuts[0][0], cuts[1][0], cuts[0][1], cuts[1][1], ways)


@pytest.mark.parametrize("answered", [prototype_accuracies, lambda *a, **k: adapted_accuracies(*a, **k, steps=100, rate=3.0)])
def test_features_that_are_their_classes_prototypes_answer_every_episode_and_random_ones_guess(answered):
    drawn, classes = episodes(), torch.arange(160) // 20
    assert (answered(random(8, 6)[classes], drawn) == 1).all()
    guessed = answered(random(160, 6), drawn)
    assert len(guessed) == 200 and abs(float(guessed.mean()) - 0.25) < 0.02


def test_prototypes_and_the_adapted_head_are_those_written_out_episode_by_episode():
    drawn, x = episodes(count=5), random(160, 6) + 2 * random(8, 6, seed=1)[torch.arange(160) // 20]
    prototypes, adapted = prototype_accuracies(x, drawn), adapted_accuracies(x, drawn, steps=4, rate=0.5)
    unit = x / x.norm(dim=1).mean()
    for e, (support, query, support_y, query_y) in enumerate(zip(*drawn[:4])):
        means = torch.stack([x[support[support_y == c]].mean(0) for c in range(4)])
        nearest = (x[query][:, None] - means).square().sum(-1).argmin(1)
        assert float(prototypes[e]) == pytest.approx(float((nearest == query_y).double().mean()))
        weight, bias = torch.zeros(6, 4, dtype=torch.float64, requires_grad=True), torch.zeros(4, dtype=torch.float64, requires_grad=True)
        for _ in range(4):
            loss = torch.nn.functional.cross_entropy(unit[support] @ weight + bias, support_y)
            steps = torch.autograd.grad(loss, [weight, bias])
            weight, bias = ((part - 0.5 * step).detach().requires_grad_() for part, step in zip((weight, bias), steps))
        answers = (unit[query] @ weight + bias).argmax(1)
        assert float(adapted[e]) == pytest.approx(float((answers == query_y).double().mean()))
