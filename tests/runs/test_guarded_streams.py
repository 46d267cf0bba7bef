"""What is chosen is chosen on validation data: the test stream fails whoever reads it while a run still learns."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch

from runs.engine import Engine, Position
from runs.evaluate import evaluate
from runs.plan import make_plan
from runs.selection import Selection
from runs.showing.progress import Progress
from strategies.base import NoOptions
from strategies.naive import Naive
from strategies.phase import Phase, TrainConfig, Update
from tests.strategies.driver import equal, make_setup, prepared, run_stream, tiny_scenario


class Guarded:
    """A stream of episodes that nobody may read."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(f"the test stream was read ({name})")


def test_the_training_curve_and_the_ensemble_look_at_validation_classes() -> None:
    asked = {
        "scenario": {"name": "digits", "queries": 3, "test_episodes": 6},
        "strategy": {"name": "protonet", "meta_batch": 2},
        "network": {"name": "mlp", "hidden": "8"},
        "train": {"iterations": 2},
    }
    plan = make_plan(asked, Progress())
    scenario: Any = plan.scenario
    domain = replace(scenario.experiences[0], test=Guarded())
    guarded = replace(scenario, experiences=(domain,))
    rows = Selection(plan.strategy, every=1, members=1, batch_size=100).look(guarded, 0, 1, over=True)
    assert {row["metric"] for row in rows} == {"validation_accuracy", "training_accuracy"}
    with pytest.raises(AssertionError, match="test stream"):
        guarded.experiences[0].test.batch(0, 1)


def test_in_setting_class_outputs_still_to_come_never_win() -> None:
    strategy = run_stream(prepared("naive", make_setup(tiny_scenario("class"))), None)
    scenario = strategy.setup.scenario
    before = evaluate(strategy, scenario, 2, batch_size=100).row
    with torch.no_grad():
        strategy.network.head.blocks[2].bias.fill_(1e3)
    after = evaluate(strategy, scenario, 2, batch_size=100).row
    assert after[:2] == before[:2] and max(before[:2]) > 0.3
    assert max(evaluate(strategy, scenario, 3, batch_size=100).row[:2]) == 0


@pytest.mark.parametrize("network, options", [("mlp", {"hidden": (6,), "norm": "batch"}), ("conv", {"channels": (4, 6)})])
def test_the_engine_gives_the_bits_of_the_simplest_loop_on_networks_with_norms(network: str, options: dict[str, Any]) -> None:
    train = TrainConfig(epochs=2, batch_size=16)
    shape = (1, 8, 8)
    strategies = []
    for _ in range(2):
        strategy = Naive(NoOptions())
        strategy.prepare(make_setup(tiny_scenario("task", shape=shape), network, train, options=options))
        strategies.append(strategy)
    ours, reference = strategies
    run_stream(reference)
    engine = Engine(ours, train, ours.setup.randomness, ours.setup.device, Progress(), lambda position, boundary: None)
    for experience in ours.setup.scenario.experiences:
        engine.learn(experience, Position(experience.index))
        evaluate(ours, ours.setup.scenario, experience.index + 1, batch_size=100)  # leaves the network in evaluation mode
    assert equal(ours.network.state_dict(), reference.network.state_dict())
    assert float(next(v for k, v in ours.network.state_dict().items() if k.endswith("running_mean")).abs().max()) > 0


def test_a_proximal_step_has_the_scheduled_rate() -> None:
    rates: list[float] = []

    class Shrinking(Naive):
        def phases(self, experience: Any) -> list[Phase]:
            update = Update(loss=self.loss, parameters=self.network.parameters, proximal=rates.append)
            return [Phase(name="train", batches=self.shuffled(experience.train), updates=(update,), iterations=4)]

    train = TrainConfig(learning_rate=0.1, schedule="cosine")
    strategy = Shrinking(NoOptions())
    strategy.prepare(make_setup(tiny_scenario(), train=train))
    engine = Engine(strategy, train, strategy.setup.randomness, strategy.setup.device, Progress(), lambda position, boundary: None)
    engine.learn(strategy.setup.scenario.experiences[0], Position())
    assert rates == pytest.approx([0.1, 0.1 * 0.853553, 0.05, 0.1 * 0.146447], rel=1e-4)
