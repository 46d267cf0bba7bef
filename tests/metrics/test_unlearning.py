"""What is left of the source, against definitions written out."""

from __future__ import annotations

import pytest
import torch

from metrics.features import dead_unit_share, effective_rank, linear_cka
from metrics.unlearning import leakage, membership_auc, pl_accuracy, steps_to_reach


def test_the_best_rate_is_that_of_the_best_mean_not_of_the_best_subset():
    found = pl_accuracy(torch.tensor([[0.6, 0.6, 0.6], [1.0, 0.2, 0.2]]))
    assert (found.mean, found.sd, found.best) == (pytest.approx(0.6), pytest.approx(0), 0)
    assert pl_accuracy(torch.tensor([[0.3], [0.4]])).sd == 0


def test_leakage_is_0_at_the_floor_1_at_the_ceiling_and_nothing_where_there_is_nothing_to_leak():
    assert leakage(0.4, 0.4, 0.8) == 0 and leakage(0.8, 0.4, 0.8) == 1 and leakage(0.3, 0.4, 0.8) < 0
    assert leakage(0.5, 0.6, 0.6) is None


def test_relearn_time_is_the_first_look_or_never():
    assert steps_to_reach([0.1, 0.5, 0.9], [1, 2, 3], 0.5) == 2 and steps_to_reach([0.1], [1], 0.5) is None


def test_membership_is_the_share_of_pairs_in_the_right_order():
    generator = torch.Generator().manual_seed(0)
    members, others = (torch.randint(6, (n,), generator=generator).double() for n in (9, 14))
    pairs = [(1.0 if m < o else 0.5 if m == o else 0.0) for m in members for o in others]
    assert membership_auc(members, others) == pytest.approx(sum(pairs) / len(pairs))


def test_cka_is_blind_to_rotation_and_scale_and_agrees_with_its_kernel_form():
    generator = torch.Generator().manual_seed(1)
    x, y = torch.randn(20, 4, generator=generator).double(), torch.randn(20, 6, generator=generator).double()
    rotation = torch.linalg.qr(torch.randn(4, 4, generator=generator).double())[0]
    assert linear_cka(x, 3 * x @ rotation) == pytest.approx(1)
    centre = torch.eye(20).double() - 1 / 20
    k, m = centre @ x @ x.T @ centre, centre @ y @ y.T @ centre
    assert linear_cka(x, y) == pytest.approx(float((k * m).sum() / (k.norm() * m.norm())))


def test_dead_units_and_rank():
    features = torch.tensor([[0.0, 1.0, 2.0], [0.0, 2.0, 4.0], [0.0, 3.0, 6.0]])
    assert dead_unit_share(features) == pytest.approx(1 / 3)
    assert effective_rank(features) == pytest.approx(1, abs=1e-6) and effective_rank(torch.ones(3, 2)) == 0
