"""Three engines, one result: in float64, first and second order, in every batch-norm mode, padded or not."""

from __future__ import annotations

import pytest
import torch

from scenarios.errors import UserError
from strategies.meta.episodic.engines import choose, tasks_at_once
from strategies.meta.maml import tasks_of
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient, padded

MODES = ["transductive", "support", "running", "per-example"]
SERVED = [
    ("maml", "mlp", "factored"), ("anil", "mlp", "factored"), ("anil", "conv", "factored"), ("l2f", "mlp", "factored"),
    ("maml", "mlp", "batched"), ("maml", "conv", "batched"), ("maml", "conv4", "batched"), ("anil", "conv", "batched"),
    ("l2f", "conv", "batched"), ("cxgrad", "conv", "batched"), ("tapl", "conv", "batched"), ("l2f+cxgrad+tapl", "conv", "batched"),
]  # fmt: skip


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("name", "network", "engine"), SERVED)
def test_engines_agree_with_the_loop(name: str, network: str, engine: str, first_order: bool) -> None:
    for mode in MODES if name in ("maml", "l2f") else MODES[:1]:
        for batch in (episodes(), padded(episodes())):
            found = []
            for which in ("loop", engine):
                one = learner(name, network, engine=which, bn_mode=mode, first_order=first_order, inner_steps=3, inner_rate=0.3)
                found.append((*meta_gradient(one, batch), one.episode_logits(batch, steps=True)))
            (loss, gradient, answers), (other_loss, other_gradient, other_answers) = found
            assert abs(loss - other_loss) < 1e-10
            assert difference(gradient, other_gradient) < 1e-10
            assert (answers - other_answers).abs().max() < 1e-10


@pytest.mark.parametrize("engine", ["loop", "batched", "factored"])
def test_learned_step_sizes_and_multi_step_loss_agree(engine: str) -> None:
    options = {"learn_rates": True, "multi_step_iterations": 10, "inner_steps": 3, "inner_rate": 0.3}
    first = meta_gradient(learner("maml", engine="loop", **options), episodes())[1]
    second = meta_gradient(learner("maml", engine=engine, **options), episodes())[1]
    assert float(first["parts.rates.0"].abs().min()) > 0
    assert difference(first, second) < 1e-10


@pytest.mark.parametrize("engine", ["batched", "factored"])
def test_chunks_give_the_whole_batch_gradient(engine: str) -> None:
    whole, chunked = learner("maml", engine=engine, inner_rate=0.3), learner("maml", engine=engine, inner_rate=0.3, memory_gb=0.01)
    batch = episodes(5)
    inner = chunked.inner(True)
    assert tasks_at_once(inner, engine, tasks_of(batch, 3), 4e-5) < 5
    object.__setattr__(chunked.config, "memory_gb", 4e-5)
    assert difference(meta_gradient(whole, batch)[1], meta_gradient(chunked, batch)[1]) < 1e-10
    assert (whole.episode_logits(batch) - chunked.episode_logits(batch)).abs().max() < 1e-10


def test_padding_changes_nothing() -> None:
    for mode in MODES:
        for network in ("mlp", "conv"):
            one = learner("maml", network, bn_mode=mode, inner_steps=2, inner_rate=0.3)
            plain, more = meta_gradient(one, episodes()), meta_gradient(one, padded(episodes()))
            assert abs(plain[0] - more[0]) < 1e-10 and difference(plain[1], more[1]) < 1e-10


@pytest.mark.parametrize("network", ["mlp", "conv"])
@pytest.mark.parametrize("engine", ["loop", "batched"])
def test_second_order_meta_gradients_are_those_of_finite_differences(network: str, engine: str) -> None:
    one, batch = learner(name="maml", network=network, engine=engine, inner_steps=2, inner_rate=0.1), episodes()
    gradient = meta_gradient(one, batch)[1]
    for name, parameter in one.network.named_parameters():
        direction = torch.randn(parameter.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64)
        values = []
        for sign in (1, -1):
            with torch.no_grad():
                parameter += sign * 1e-6 * direction
            values.append(meta_gradient(one, batch)[0])
            with torch.no_grad():
                parameter -= sign * 1e-6 * direction
        assert (values[0] - values[1]) / 2e-6 == pytest.approx(float((gradient[name] * direction).sum()), rel=1e-5, abs=1e-6)


def test_the_choice_is_named_and_impossible_ones_are_refused() -> None:
    one = learner("maml", "mlp", engine="auto")
    one.episode_logits(episodes())
    assert one.report()["test_engine"] == "factored"
    conv = learner("maml", "conv")
    assert choose(conv.inner(True), "loop", 6, 6, torch.device("cpu")) == "loop"
    assert choose(conv.inner(True), "auto", 60, 60, torch.device("cuda")) == "batched"
    assert choose(conv.inner(True), "auto", 5, 5, torch.device("cpu")) == "batched"
    assert choose(conv.inner(True), "auto", 25, 75, torch.device("cpu")) == "loop"
    with pytest.raises(UserError, match="choose batched or loop"):
        choose(conv.inner(True), "factored", 6, 6, torch.device("cpu"))
