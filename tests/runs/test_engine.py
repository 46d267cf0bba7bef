"""The engine carries out phases as declared: lengths, updates, hooks, schedules, optimisers that live on or start afresh."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import nn

from runs.engine import DivergenceError, Engine, Position, finite, phase_length
from runs.optimizers import check_layouts, make
from runs.showing.progress import Progress
from scenarios.experience import Experience
from strategies.base import NoOptions, Strategy
from strategies.naive import Naive
from strategies.phase import Optimizer, Phase, Step, TrainConfig, Update
from tests.strategies.driver import make_setup, run_stream, tiny_scenario


def engine_of(strategy: Strategy, train: TrainConfig, setting: str = "task") -> Engine:
    setup = make_setup(tiny_scenario(setting), train=train)  # type: ignore[arg-type]
    strategy.prepare(setup)
    return Engine(strategy, train, setup.randomness, setup.device, Progress(), lambda position, boundary: None)


def learn_all(engine: Engine) -> None:
    for experience in engine.strategy.setup.scenario.experiences:
        engine.learn(experience, Position(experience.index))


class Declared(Strategy):
    """Phases given from outside."""

    def __init__(self, phases: Callable[[Strategy, Experience], list[Phase]]) -> None:
        super().__init__(NoOptions())
        self.declared = phases

    def phases(self, experience: Experience) -> list[Phase]:
        return self.declared(self, experience)


@pytest.mark.parametrize("kind", ["sgd", "adam", "adamw"])
def test_it_gives_the_bits_of_the_simplest_loop(kind: Any) -> None:
    train = TrainConfig(epochs=2, batch_size=16, optimizer=kind, learning_rate=1e-3, weight_decay=1e-2)
    engine = engine_of(Naive(NoOptions()), train)
    learn_all(engine)
    reference = Naive(NoOptions())
    reference.prepare(make_setup(tiny_scenario("task"), train=train))
    run_stream(reference)
    for one, two in zip(engine.strategy.network.parameters(), reference.network.parameters()):
        assert torch.equal(one, two)


@pytest.mark.parametrize(
    ("options", "train", "expected"),
    [
        ({}, {"epochs": 3}, (3, 9)),
        ({}, {"epochs": 3, "iterations": 7}, (3, 7)),
        ({}, {"iterations": 2}, (1, 2)),
        ({"epochs": 2}, {"iterations": 50}, (2, 6)),
        ({"iterations": 4}, {"epochs": 9}, (2, 4)),
    ],
)
def test_a_phase_is_as_long_as_it_or_the_run_says(options: dict[str, Any], train: dict[str, Any], expected: tuple[int, int]) -> None:
    class Three:
        def __len__(self) -> int:
            return 3

    update = Update(loss=lambda batch: Step(torch.zeros(())), parameters=list)
    assert phase_length(Phase(name="p", batches=Three(), updates=(update,), **options), TrainConfig(**train)) == expected  # type: ignore[arg-type]


def test_an_observing_phase_makes_one_pass_and_no_step() -> None:
    seen: list[int] = []

    def phases(strategy: Strategy, experience: Experience) -> list[Phase]:
        return [Phase(name="observe", batches=strategy.shuffled(experience.train), observe=lambda batch: seen.append(len(batch.x)))]

    engine = engine_of(Declared(phases), TrainConfig(epochs=5, iterations=99, batch_size=16))
    before = [parameter.clone() for parameter in engine.strategy.network.parameters()]
    engine.learn(engine.strategy.setup.scenario.experiences[0], Position())
    assert sum(seen) == len(engine.strategy.setup.scenario.experiences[0].train)
    assert all(torch.equal(one, two) for one, two in zip(before, engine.strategy.network.parameters()))


def test_updates_and_hooks_come_in_order_each_with_its_own_optimiser() -> None:
    calls: list[str] = []
    first, second = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))

    def update(name: str, parameter: nn.Parameter, rate: float) -> Update:
        def loss(batch: Any) -> Step:
            calls.append(f"{name} loss")
            return Step((first + second).sum())

        return Update(
            loss=loss,
            parameters=lambda: [parameter],
            name=name,
            optimizer=Optimizer(kind="sgd", learning_rate=rate),
            after_backward=lambda: calls.append(f"{name} after backward"),
            after_step=lambda: calls.append(f"{name} after step"),
        )

    def phases(strategy: Strategy, experience: Experience) -> list[Phase]:
        updates = (update("one", first, 0.5), update("two", second, 0.25))
        hooks = {"begin": lambda: calls.append("begin"), "end": lambda: calls.append("end")}
        return [Phase(name="p", batches=strategy.shuffled(experience.train), updates=updates, iterations=1, **hooks)]

    engine = engine_of(Declared(phases), TrainConfig())
    engine.learn(engine.strategy.setup.scenario.experiences[0], Position())
    each = [f"{name} {what}" for name in ("one", "two") for what in ("loss", "after backward", "after step")]
    assert calls == ["begin", *each, "end"]
    assert (first.item(), second.item()) == (0.5, 0.75)


def test_a_cosine_schedule_starts_anew_in_each_phase_and_ends_near_zero() -> None:
    rates: list[float] = []

    class Watching(Naive):
        def phases(self, experience: Experience) -> list[Phase]:
            def after() -> None:
                rates.append(engine.optimizers["network"].param_groups[0]["lr"])

            update = Update(loss=self.loss, parameters=self.network.parameters, after_step=after)
            return [Phase(name="train", batches=self.shuffled(experience.train), updates=(update,), iterations=4)]

    engine = engine_of(Watching(NoOptions()), TrainConfig(learning_rate=0.1, schedule="cosine"))
    learn_all(engine)
    assert rates[:4] == pytest.approx([0.1, 0.1 * 0.853553, 0.05, 0.1 * 0.146447], rel=1e-4)
    assert rates[4:8] == rates[:4]


@pytest.mark.parametrize("reset", [False, True])
def test_momentum_lives_on_unless_it_is_reset(reset: bool) -> None:
    engine = engine_of(Naive(NoOptions()), TrainConfig(epochs=1, reset_optimizer=reset))
    experiences = engine.strategy.setup.scenario.experiences
    engine.learn(experiences[0], Position(0))
    kept = engine.optimizers["network"]
    engine.learn(experiences[1], Position(1))
    assert (engine.optimizers["network"] is kept) is not reset


def test_a_fresh_phase_leaves_the_kept_optimiser_alone_and_none_of_its_own() -> None:
    def phases(strategy: Strategy, experience: Experience) -> list[Phase]:
        update = Update(loss=strategy.loss, parameters=strategy.network.parameters)
        batches = strategy.shuffled(experience.train)
        return [Phase(name="kept", batches=batches, updates=(update,)), Phase(name="own", batches=batches, updates=(update,), fresh=True)]

    engine = engine_of(Declared(phases), TrainConfig(epochs=1))
    engine.learn(engine.strategy.setup.scenario.experiences[0], Position())
    assert list(engine.optimizers) == ["network"]
    assert not engine.own


def test_blocks_of_the_head_out_of_play_are_moved_by_neither_momentum_nor_decay() -> None:
    engine = engine_of(Naive(NoOptions()), TrainConfig(epochs=2, momentum=0.9, weight_decay=0.1))
    experiences = engine.strategy.setup.scenario.experiences
    blocks = engine.strategy.network.head.blocks
    last = blocks[2].weight.clone()
    engine.learn(experiences[0], Position(0))
    first = blocks[0].weight.clone()
    engine.learn(experiences[1], Position(1))
    assert torch.equal(blocks[0].weight, first)
    assert torch.equal(blocks[2].weight, last)


def test_a_loss_that_is_no_number_stops_the_run_and_says_where() -> None:
    class Broken(Naive):
        def loss(self, batch: Any) -> Step:
            step = super().loss(batch)
            return Step(step.loss * float("nan"))

    engine = engine_of(Broken(NoOptions()), TrainConfig(epochs=1))
    with pytest.raises(DivergenceError, match="experience 0, phase 'train', pass 1, at or before step 1"):
        engine.learn(engine.strategy.setup.scenario.experiences[0], Position())


def test_bf16_trains_under_autocast() -> None:
    types: list[torch.dtype] = []

    class Watching(Naive):
        def loss(self, batch: Any) -> Step:
            step = super().loss(batch)
            types.append(step.logits.dtype)  # type: ignore[union-attr]
            return step

    engine = engine_of(Watching(NoOptions()), TrainConfig(epochs=1, precision="bf16"))
    learn_all(engine)
    assert set(types) == {torch.bfloat16}


def test_a_gradient_laid_out_otherwise_than_its_parameter_is_caught() -> None:
    weight = nn.Parameter(torch.zeros(4, 3, 3, 3).to(memory_format=torch.channels_last))
    optimizer = make(Optimizer(kind="adam", learning_rate=0.1), [weight])
    weight.grad = torch.zeros(4, 3, 3, 3).to(memory_format=torch.channels_last)
    check_layouts(optimizer)
    weight.grad = torch.zeros(4, 3, 3, 3)
    with pytest.raises(AssertionError, match="laid out otherwise"):
        check_layouts(optimizer)


def test_a_step_that_makes_weights_infinite_stops_the_run_although_no_loss_comes_after_it() -> None:
    class Exploding(Naive):
        def phases(self, experience: Experience) -> list[Phase]:
            def explode() -> None:
                with torch.no_grad():
                    self.network.head.blocks[2].bias.fill_(float("inf"))

            update = Update(loss=self.loss, parameters=self.network.parameters, after_step=explode)
            return [Phase(name="train", batches=self.shuffled(experience.train), updates=(update,), iterations=1)]

    engine = engine_of(Exploding(NoOptions()), TrainConfig())
    with pytest.raises(DivergenceError, match="a weight is no longer a finite number: experience 0, phase 'train'"):
        engine.learn(engine.strategy.setup.scenario.experiences[0], Position())


def test_a_matrix_that_cannot_be_decomposed_is_a_divergence() -> None:
    def phases(strategy: Strategy, experience: Experience) -> list[Phase]:
        def end() -> None:
            torch.linalg.inv(torch.zeros(2, 2))

        return [Phase(name="curvature", batches=strategy.shuffled(experience.train), end=end)]

    engine = engine_of(Declared(phases), TrainConfig())
    with pytest.raises(DivergenceError, match="cannot be decomposed: experience 0, phase 'curvature'"):
        engine.learn(engine.strategy.setup.scenario.experiences[0], Position())


def test_finite_sees_every_tensor_of_a_state_and_sums_that_overflow_single_precision() -> None:
    assert finite({"a": [torch.ones(2), (torch.full((9,), 3e38), torch.tensor([3]))], "b": None, "c": float("inf")})
    for bad in (float("nan"), float("inf"), -float("inf")):
        assert not finite({"a": [torch.ones(2), {"b": torch.tensor([1.0, bad])}]})
    assert not finite([torch.tensor([float("inf"), -float("inf")])])
