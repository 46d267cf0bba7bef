"""The path integral is minus the sum of the task's gradient times what the optimiser did."""

from __future__ import annotations

import pytest
import torch

from strategies.penalties.path_integral import curvature
from tests.strategies.penalties.watch import learn, small


@pytest.mark.parametrize("name", ["si", "alasso"])
@pytest.mark.parametrize("setting", ["domain", "task", "class"])
def test_it_is_the_sum_over_steps_of_the_unpenalised_gradient_times_the_move(name, setting):
    strategy = small(name, setting, strength=5.0)
    for experience in strategy.setup.scenario.experiences[:2]:
        watched = learn(strategy, experience)
        assert torch.allclose(strategy.penalty.path.total.flat, watched.path, rtol=1e-10, atol=1e-18)
        assert watched.path.abs().max() > 0


def test_for_small_steps_on_the_whole_set_its_sum_is_the_fall_of_the_loss():
    strategy = small("si")
    experience = strategy.setup.scenario.experiences[0]
    update = strategy.phases(experience)[0].updates[0]
    batch = experience.train.batch(slice(None))
    optimizer = torch.optim.SGD(strategy.network.parameters(), 1e-3)
    strategy.penalty.before_experience(strategy.network)
    first = float(update.loss(batch).loss.detach())
    for _ in range(200):
        optimizer.zero_grad()
        update.loss(batch).loss.backward()
        update.after_backward()
        optimizer.step()
        update.after_step()
    fall = first - float(update.loss(batch).loss.detach())
    assert abs(float(strategy.penalty.path.total.flat.sum()) - fall) < 0.01 * fall


def test_curvature_is_damped_and_0_where_nothing_moved():
    drop, moved = torch.tensor([1.0, -1.0, 0.0, 3.0]), torch.tensor([2.0, 1.0, 0.0, 0.0])
    assert curvature(drop, moved, 0.5).tolist() == pytest.approx([1 / 4.5, -1 / 1.5, 0, 6])
    assert curvature(drop, moved, 0.0).tolist() == [0.25, -1, 0, 0]
