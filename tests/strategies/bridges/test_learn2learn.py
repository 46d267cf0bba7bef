"""The bridge to learn2learn: its MAML has our MAML's outer gradient, and its learners run under our episodes."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

import runs
from scenarios.errors import UserError
from tests.strategies.meta.episodes import difference, episodes, learner, meta_gradient, padded

TRAIN = {"iterations": 4}
EPISODES = {"name": "digits", "ways": 3, "test_ways": 3, "shots": 2, "test_queries": 3, "test_episodes": 20}
PLAIN = {"hidden": (7, 6), "norm": "none"}


def test_without_learn2learn_one_line_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "learn2learn.algorithms", None)
    with pytest.raises(UserError, match="pip install --no-deps -r requirements-learn2learn.txt"):
        runs.simulate(scenario=EPISODES, strategy="learn2learn:MAML", train=TRAIN)


pytest.importorskip("learn2learn", reason="learn2learn is not installed (requirements-learn2learn.txt)")


@pytest.mark.parametrize("first_order", [False, True])
@pytest.mark.parametrize(("theirs", "ours"), [("MAML", "maml"), ("ANIL", "anil")])
def test_the_outer_gradient_is_ours(theirs, ours, first_order):
    options = {"net": PLAIN, "inner_steps": 3, "inner_rate": 0.3, "first_order": first_order}
    one, two, batch = learner(ours, **options), learner(f"learn2learn:{theirs}", **options), episodes()
    (loss, gradient), (other_loss, other) = meta_gradient(one, batch), meta_gradient(two, batch)
    assert gradient.keys() == other.keys() and loss == pytest.approx(other_loss, abs=1e-10)
    assert difference(gradient, other) < 1e-6
    assert torch.allclose(one.episode_logits(batch, steps=True), two.episode_logits(batch, steps=True), atol=1e-10)


def test_meta_sgd_s_outer_gradient_is_that_of_its_equation():
    one, batch = learner("learn2learn:MetaSGD", net=PLAIN, inner_steps=2, inner_rate=0.3), episodes(1)
    with torch.no_grad():
        for index, rates in enumerate(one.parts["rates"]):
            rates.mul_(1 + 0.1 * index)
    theta, rates = dict(one.network.named_parameters()), list(one.parts["rates"])
    params = dict(theta)
    for _ in range(2):
        logits = torch.func.functional_call(one.network, params, batch.support_x[0])
        grads = torch.autograd.grad(functional.cross_entropy(logits, batch.support_y[0]), list(params.values()), create_graph=True)
        params = {name: value - rate * grad for (name, value), rate, grad in zip(params.items(), rates, grads)}
    loss = functional.cross_entropy(torch.func.functional_call(one.network, params, batch.query_x[0]), batch.query_y[0])
    expected = torch.autograd.grad(loss, [*theta.values(), *rates])
    found = torch.autograd.grad(one.episode_loss(batch).loss, one.parameters())
    for mine, theirs in zip(expected, found):
        assert torch.allclose(mine, theirs, atol=1e-10)


@pytest.mark.parametrize("name", ["MAML", "MetaSGD", "ANIL"])
def test_answers_leave_the_learner_as_it_was_and_do_not_read_query_labels_or_padding(name):
    one, batch = learner(f"learn2learn:{name}", "conv4", inner_steps=2, inner_rate=0.3), episodes()
    before = {key: value.clone() for key, value in one.network.state_dict().items()}
    steps = one.episode_logits(batch, steps=True)
    assert steps.shape == (3, 3, 6, 3) and torch.equal(steps[-1], one.episode_logits(batch))
    assert torch.allclose(steps[0, 1], one.logits(batch.query_x[1]), atol=1e-12)
    assert torch.equal(steps, one.episode_logits(batch._replace(query_y=batch.query_y.roll(1, 1)), steps=True))
    behind = one.episode_logits(padded(batch), steps=True)
    assert torch.equal(behind[:, :, :6], steps) and not behind[:, :, 6:].any()
    assert all(torch.equal(value, before[key]) for key, value in one.network.state_dict().items())


@pytest.mark.parametrize("name", ["MAML", "MetaSGD", "ANIL"])
def test_a_run_resumes_bit_for_bit_and_acts(name, tmp_path):
    asked = {"scenario": EPISODES, "strategy": {"name": f"learn2learn:{name}", "inner_steps": 1, "meta_batch": 2}, "train": TRAIN}
    result = runs.simulate(**asked, out=tmp_path / "run")
    again = runs.load(tmp_path / "run")
    assert result.summary["few_shot_accuracy"]["mean"] > 0.4
    assert len(result.summary["few_shot_accuracy"]["per_step"]) == 2
    batch = result.scenario.experiences[0].test.batch(0, 3)
    assert torch.equal(result.strategy.episode_logits(batch), again.strategy.episode_logits(batch))
    if name == "MetaSGD":
        assert all(len(rates.unique()) > 1 for rates in again.strategy.parts["rates"])


@pytest.mark.parametrize(
    ("strategy", "network", "message"),
    [
        ("learn2learn:MALM", {}, "did you mean MAML"),
        ("learn2learn:MetaSGD", {"name": "mlp", "freeze": "backbone"}, "leave network.freeze out"),
    ],
)
def test_what_cannot_be_made_is_one_line(strategy, network, message):
    with pytest.raises(UserError, match=message):
        runs.simulate(scenario=EPISODES, strategy=strategy, network=network, train=TRAIN)


def test_a_frozen_body_adapts_the_head_alone():
    strategy = {"name": "learn2learn:MAML", "meta_batch": 2}
    result = runs.simulate(scenario=EPISODES, strategy=strategy, network={"name": "mlp", "freeze": "backbone"}, train=TRAIN)
    untrained = runs.simulate(scenario=EPISODES, strategy=strategy, network={"name": "mlp", "freeze": "backbone"}, train={"iterations": 1})
    for name, value in result.strategy.network.named_parameters():
        assert torch.equal(value, dict(untrained.strategy.network.named_parameters())[name]) == name.startswith("backbone"), name
