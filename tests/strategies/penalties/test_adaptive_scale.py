"""Adaptive scales are what their formulas say."""

from __future__ import annotations

import torch

from strategies.penalties.adaptive_scale import KEPT, SMALL, AdaptiveScale


def scalar(value: float) -> torch.Tensor:
    return torch.tensor(value, dtype=torch.float64)


def test_log_divides_by_running_means_of_the_losses():
    scale = AdaptiveScale("log", scalar(0.5))
    assert torch.allclose(scale.task(scalar(2.0)), scalar(1 / (2 + SMALL)))
    assert torch.allclose(scale.penalty(scalar(0.0)), scalar(1 / (0.5 + SMALL)))
    assert torch.allclose(scale.task(scalar(1.0)), scalar(1 / (KEPT * 2 + (1 - KEPT) * 1 + SMALL)))
    assert torch.allclose(scale.penalty(scalar(0.3)), scalar(1 / (KEPT * 0.5 + (1 - KEPT) * 0.8 + SMALL)))


def test_none_is_one():
    scale = AdaptiveScale("none", scalar(0.5))
    assert scale.task(scalar(2.0)) == 1.0 and scale.penalty(scalar(3.0)) == 1.0


def test_ratio_brings_the_penalty_to_the_loss_and_is_bounded():
    scale = AdaptiveScale("ratio")
    assert scale.task(scalar(2.0)) == 1.0
    assert torch.allclose(scale.penalty(scalar(0.1)), scalar(2 / (0.1 + SMALL)))
    again = AdaptiveScale("ratio")
    again.task(scalar(50.0))
    assert float(again.penalty(scalar(0.0))) == 1 / SMALL


def test_under_log_a_common_factor_of_each_loss_leaves_the_direction_alone():
    task, source = torch.randn(5).double(), torch.randn(5).double()

    def direction(task_factor, source_factor):
        scale = AdaptiveScale("log", scalar(0.4 * source_factor))
        step = scale.task(scalar(2.0 * task_factor)) * task_factor * task
        step = step + scale.penalty(scalar(0.2 * source_factor)) * source_factor * source
        return step / step.norm()

    assert torch.allclose(direction(1e6, 1e6), direction(1e7, 1e8), atol=1e-8)


def test_running_means_are_saved():
    scale = AdaptiveScale("log", scalar(0.5))
    scale.task(scalar(2.0))
    scale.penalty(scalar(0.1))
    other = AdaptiveScale("log")
    other.load_state_dict(scale.state_dict(), torch.device("cpu"))
    assert torch.equal(other.task(scalar(1.0)), scale.task(scalar(1.0)))
    assert torch.equal(other.penalty(scalar(1.0)), scale.penalty(scalar(1.0)))
