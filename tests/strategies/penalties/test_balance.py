"""A penalty that is nothing beside the task's loss, or everything, is told: in the terminal and in the summary."""

from __future__ import annotations

import pytest
import torch

import runs
from runs.showing.progress import Progress
from strategies.penalties.balance import EVERY, Balance
from strategies.phase import TrainConfig
from tests.strategies.driver import make_setup, prepared, run_experience, run_stream, tiny_scenario


class Heard(Progress):
    """Keeps what was said."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def say(self, line: str) -> None:
        self.lines.append(line)


def simulated(**strategy):
    heard = Heard()
    result = runs.simulate(
        scenario={"name": "permuted-digits", "tasks": 2},
        strategy=strategy,
        network={"name": "mlp", "hidden": "16"},
        train={"iterations": 40, "optimizer": "adam", "learning_rate": 1e-3},
        progress=heard,
    )
    return result.summary, [line for line in heard.lines if line.startswith("warning")]


def test_a_penalty_that_hardly_acts_is_told_in_terminal_and_summary():
    summary, lines = simulated(name="ewc", strength=1e-9)
    assert len(lines) == 1 and "below a thousandth" in lines[0] and "raise strategy.strength" in lines[0]
    assert summary["warnings"] == ["experience 1: " + lines[0].removeprefix("warning: ")]
    assert [row["experience"] for row in summary["penalty_to_loss"]] == [1]


def test_a_penalty_that_is_all_there_is_is_told_too():
    summary, lines = simulated(name="si", strength=1e12)
    assert len(lines) == 1 and "above 1000 times" in lines[0] and "lower strategy.strength" in lines[0]
    assert summary["warnings"]


@pytest.mark.parametrize("options", [{"name": "ewc"}, {"name": "mas", "strength": 0}, {"name": "naive"}])
def test_what_is_of_one_order_or_switched_off_or_no_penalty_is_not_told(options):
    summary, lines = simulated(**options)
    assert not lines and "warnings" not in summary


def test_the_share_is_the_penaltys_value_by_the_loss_at_every_tenth_step():
    setup = make_setup(tiny_scenario("domain"), train=TrainConfig(epochs=8, batch_size=16))
    strategy = prepared("mas", setup, strength=0.01)
    optimizers = run_experience(strategy, setup.scenario.experiences[0])
    assert not strategy.balance.history
    shares, loss = [], strategy.loss

    def watched(batch):
        step = loss(batch)
        gradients = torch.autograd.grad(step.loss, list(strategy.network.parameters()), retain_graph=True)
        gradient = torch.cat([each.flatten() for each in gradients])
        penalty = strategy.penalty
        own = 2 * penalty.factor * penalty.importance.flat * (penalty.flat.read() - penalty.centre.flat)
        shares.append((float(penalty.value() / step.loss.detach()), float(own.norm() / gradient.norm())))
        return step

    strategy.loss = watched
    run_experience(strategy, setup.scenario.experiences[1], optimizers)
    (row,) = strategy.balance.history
    looked, pushes = zip(*shares[EVERY - 1 :: EVERY])
    assert len(looked) > 1 and row["experience"] == 1
    assert (row["least"], row["greatest"]) == (pytest.approx(min(looked), rel=1e-4), pytest.approx(max(looked), rel=1e-4))
    assert row["greatest_of_gradients"] == pytest.approx(max(pushes), rel=1e-3)


def test_a_balance_taken_up_in_the_middle_of_an_experience_is_the_whole_ones():
    whole, first = Balance(), Balance()
    shares = [(0.5, 2.0), (3.0, 1.0), (1e-3, 4.0), (8.0, 2.0)]
    for penalty, loss in shares[:2]:
        first.look(torch.tensor(penalty), torch.tensor(loss), torch.tensor(penalty))
    second = Balance()
    second.load_state_dict(first.state_dict())
    for balance, part in ((second, shares[2:]), (whole, shares)):
        for penalty, loss in part:
            balance.look(torch.tensor(penalty), torch.tensor(loss), torch.tensor(penalty))
        balance.close(3)
    expected = {"experience": 3, "least": pytest.approx(2.5e-4), "greatest": 4.0, "greatest_of_gradients": 8.0}
    assert second.history == whole.history == [expected]


@pytest.mark.parametrize(
    "least, greatest, push, told",
    [(1e-5, 9e-4, 0.05, "hardly"), (1e-5, 9e-4, 0.9, None), (1e-5, 2e-3, 0.05, None), (900.0, 5e3, 9.0, None), (1100.0, 5e3, 9.0, "all")],
)
def test_only_what_holds_through_the_whole_experience_is_told(least, greatest, push, told):
    balance = Balance()
    balance.history.append({"experience": 1, "least": least, "greatest": greatest, "greatest_of_gradients": push})
    line = balance.remark(1, "do this", "do that")
    assert (line is None) if told is None else (told in line and line.endswith({"hardly": "do this", "all": "do that"}[told]))
    assert balance.remark(0, "do this", "do that") is None


@pytest.mark.parametrize("merge_stats", ["running", "batch"])
def test_what_kfac_adds_is_its_weighted_quadratic(merge_stats):
    setup = make_setup(tiny_scenario("domain", experiences=2), train=TrainConfig(epochs=8, batch_size=12), options={"norm": "batch"})
    strategy = run_stream(prepared("kfac", setup, scale="none", merge_stats=merge_stats))
    assert 0 <= strategy.balance.history[0]["least"] <= strategy.balance.history[0]["greatest"]
    assert strategy.balance.history[0]["experience"] == 1
