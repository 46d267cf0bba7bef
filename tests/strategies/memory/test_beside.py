"""Replay beside a method: each alone is a limit, bit for bit, and what means nothing is refused in one line."""

from __future__ import annotations

import pytest
import torch

from scenarios.errors import UserError
from strategies import make
from strategies.memory.beside import METHODS
from strategies.phase import TrainConfig
from tests.strategies.driver import accuracy, equal, make_setup, prepared, run_experience, run_stream, tiny_scenario
from tests.strategies.memory.states import copied

QUICK = {"kfac": {"factor_batches": 1}, "xkfac": {"factor_batches": 1}}


def setup_for(setting="class", **train):
    return make_setup(tiny_scenario(setting), train=TrainConfig(**{"epochs": 2, "batch_size": 16, "momentum": 0.0, **train}))


@pytest.mark.parametrize("method", METHODS)
def test_without_memory_it_is_the_method_bit_for_bit(method):
    setup, options = setup_for(), QUICK.get(method, {})
    both, alone = run_stream(prepared(f"{method}+replay", setup, memory=0, **options)), run_stream(prepared(method, setup, **options))
    assert equal(both.network.state_dict(), alone.network.state_dict())


@pytest.mark.parametrize("setting", ["task", "domain", "class"])
@pytest.mark.parametrize("method", ["ewc", "si", "mas", "alasso", "lwf"])
def test_at_strength_0_it_is_replay_and_with_both_it_is_neither(method, setting):
    setup = setup_for(setting)
    replay = run_stream(prepared("replay", setup, memory=20))
    off, on = (run_stream(prepared(f"{method}+replay", setup, memory=20, strength=strength)) for strength in (0, 5.0))
    alone = run_stream(prepared(method, setup, strength=5.0))
    assert equal(off.network.state_dict(), replay.network.state_dict()) and equal(off.memory.rows, replay.memory.rows)
    assert not equal(on.network.state_dict(), replay.network.state_dict())
    assert not equal(on.network.state_dict(), alone.network.state_dict())
    assert on.report()["replay_memory"]["examples"] == 20 and (method == "lwf" or "strength" in on.report())


def test_it_keeps_what_the_penalty_alone_forgets():
    setup = setup_for(epochs=6)
    both, alone = run_stream(prepared("ewc+replay", setup, memory=24)), run_stream(prepared("ewc", setup))
    first = setup.scenario.experiences[0]
    assert accuracy(both, first) > 0.7 > accuracy(alone, first)


@pytest.mark.parametrize("method", ["ewc", "si", "lwf"])
def test_resumed_between_passes_it_goes_on_bit_for_bit(method):
    setup, name = setup_for(epochs=3), f"{method}+replay"
    first, second = setup.scenario.experiences[:2]
    whole, saved = prepared(name, setup, memory=20), {}
    run_experience(whole, first)
    run_experience(whole, second, at_boundary=lambda phase, epoch: saved.update({(phase, epoch): copied(whole.state_dict())}))
    resumed = prepared(name, setup, memory=20)
    resumed.load_state_dict(saved[0, 1])
    run_experience(resumed, second, start=(0, 1))
    assert equal(whole.state_dict(), resumed.state_dict())


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("naive+replay", "naive with replay is strategy replay"),
        ("joint+replay", "replay goes beside ewc, online-ewc, si, mas, alasso, kfac, xkfac, lwf, not beside 'joint'"),
        ("maml+replay", "not beside 'maml'"),
        ("ewc+si", "replaces no step of the inner loop"),
    ],
)
def test_what_means_nothing_is_refused_in_one_line(name, message):
    with pytest.raises(UserError, match=message) as refused:
        make(name)
    assert "\n" not in str(refused.value)


def test_options_of_both_are_there_and_others_are_not():
    strategy = make("ewc+replay", memory=7, strength=2.0, buffer="balanced", fisher="empirical")
    assert (strategy.config.memory, strategy.config.strength, strategy.config.buffer) == (7, 2.0, "balanced")
    assert type(strategy) is type(make("ewc+replay")) and type(strategy) is not type(make("si+replay"))
    with pytest.raises(UserError, match="unknown option strategy.xi"):
        make("ewc+replay", xi=1.0)
    assert torch.is_tensor(run_stream(prepared("ewc+replay", setup_for())).penalty.value())
