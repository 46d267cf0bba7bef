"""The shortest loop that carries out a strategy's phases, and tiny scenarios: what the strategies' tests run on.

It has neither progress nor checkpoints, and is written apart from the engine so that the two can be compared.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from scenarios.experience import Examples, Experience, Scenario, Setting
from scenarios.images import ImageSet
from scenarios.random import Randomness
from scenarios.storage import Storage, View
from strategies import make
from strategies.base import Setup, Strategy
from strategies.networks import build
from strategies.networks.registry import networks
from strategies.phase import Phase, TrainConfig, Update

Optimizers = dict[str, tuple[torch.optim.Optimizer, list[Any]]]


@dataclass(frozen=True, eq=False)
class TypedStorage(Storage):
    """A storage whose batches have another floating-point type than float32."""

    dtype: torch.dtype = torch.float64

    def normalise(self, pixels: Tensor) -> Tensor:
        return pixels.to(self.dtype).mul_(self.scale.to(self.dtype)).add_(self.shift.to(self.dtype))


def tiny_scenario(
    setting: Setting = "task",
    experiences: int = 3,
    classes: int = 2,
    shape: tuple[int, int, int] = (1, 8, 8),
    train: int = 24,
    test: int = 16,
    noise: float = 40.0,
    dtype: torch.dtype = torch.float32,
    seed: int = 0,
) -> Scenario:
    """Separable classes: a random prototype each, and noise. `train` and `test` count the images of a class."""
    generator = torch.Generator().manual_seed(seed)
    prototypes = torch.randint(40, 216, (experiences * classes, *shape), generator=generator)

    def storage(per_class: int, name: str) -> tuple[Storage, Tensor]:
        labels = torch.arange(experiences * classes).repeat_interleave(per_class)
        pixels = prototypes[labels] + noise * torch.randn(len(labels), *shape, generator=generator)
        names = tuple(f"class {label}" for label in range(experiences * classes))
        images = ImageSet(f"tiny-{name}", pixels.clamp(0, 255).to(torch.uint8), labels, names, "generated", f"{seed}-{name}")
        scale, shift = torch.full((shape[0], 1, 1), 1 / 64), torch.full((shape[0], 1, 1), -2.0)
        if dtype == torch.float32:
            return Storage(images, View(), scale, shift), labels
        return TypedStorage(images, View(), scale, shift, dtype=dtype), labels

    sides = {side: storage(per_class, side) for side, per_class in (("train", train), ("test", test))}

    def examples(side: str, index: int) -> Examples:
        kept, labels = sides[side]
        rows = torch.nonzero(labels // classes == index).flatten()
        targets = labels[rows] - (index * classes if setting == "domain" else 0)
        return Examples(kept, rows, targets, torch.full_like(rows, index), index)

    stream = []
    for index in range(experiences):
        outputs = range(classes) if setting == "domain" else range(index * classes, (index + 1) * classes)
        learned = examples("train", index)
        nothing = learned.select(torch.zeros(0, dtype=torch.int64))
        names = tuple(f"class {index * classes + label}" for label in range(classes))
        stream.append(Experience(index, f"experience {index}", outputs, names, learned, nothing, examples("test", index)))
    data = {"name": "tiny", "origin": "generated", "fingerprint": str(seed), "verified": True}
    return Scenario("tiny", setting, tuple(stream), data, shape)


def make_setup(
    scenario: Scenario, network: str = "mlp", train: TrainConfig | None = None, seed: int = 0, options: dict[str, Any] | None = None
) -> Setup:
    """Prepare a scenario for a strategy; the network takes the type of the scenario's batches."""
    component, _ = networks.load(network)
    randomness = Randomness(seed)
    storage = scenario.experiences[0].train.storage
    dtype = storage.dtype if isinstance(storage, TypedStorage) else torch.float32

    def build_network() -> Any:
        config = component.Config(**(options or {}))
        made = build(network, config, scenario.input_shape, scenario.blocks, randomness.key("initialisation"))
        layout = torch.channels_last if component.channels_last else torch.contiguous_format
        return made.to(dtype=dtype, memory_format=layout)

    moved = scenario.to(torch.device("cpu"), component.channels_last)
    train = train or TrainConfig(epochs=2, batch_size=16)
    return Setup(scenario=moved, train=train, build_network=build_network, randomness=randomness, device=torch.device("cpu"))


def prepared(name: str, setup: Setup, **options: Any) -> Strategy:
    """Make a strategy and prepare it."""
    strategy = make(name, **options)
    strategy.prepare(setup)
    return strategy


def run_experience(
    strategy: Strategy,
    experience: Experience,
    optimizers: Optimizers | None = None,
    start: tuple[int, int] = (0, 0),
    at_boundary: Callable[[int, int], None] | None = None,
) -> Optimizers:
    """Learn one experience of `strategy.setup.scenario`.

    `start` is the phase and the epoch to go on from, `at_boundary` is called with the phase and the number of epochs done, after each; the
    optimisers that a phase leaves behind are returned, to be handed on.
    """
    setup = strategy.setup
    kept: Optimizers = {} if optimizers is None or (setup.train.reset_optimizer and start == (0, 0)) else optimizers
    for number, phase in enumerate(strategy.phases(experience)):
        if number < start[0]:
            continue
        resumed = start[1] if number == start[0] else 0
        if phase.begin is not None and resumed == 0:
            phase.begin()
        mine = {} if phase.fresh and resumed == 0 else kept
        for update in phase.updates:
            if update.name not in mine:
                mine[update.name] = _optimizer(update, setup.train)
        _run_phase(strategy, phase, mine, (experience.index, number), resumed, at_boundary)
        if phase.end is not None:
            phase.end()
    return kept


def run_stream(strategy: Strategy, experiences: Sequence[Experience] | None = None) -> Strategy:
    """Learn all experiences of the strategy's scenario, or the given ones, in turn."""
    optimizers: Optimizers = {}
    for experience in experiences if experiences is not None else strategy.setup.scenario.experiences:
        optimizers = run_experience(strategy, experience, optimizers)
    return strategy


def accuracy(strategy: Strategy, experience: Experience) -> float:
    """Accuracy on an experience's test set, over the outputs in play in its setting once all has been learned."""
    batch = experience.test.batch(slice(None))
    scenario = strategy.setup.scenario
    play = scenario.in_play(len(scenario) - 1) if scenario.setting == "class" else experience.outputs
    with torch.no_grad():
        logits = strategy.logits(batch.x, experience.index if scenario.setting == "task" else None)
    return float((logits[:, play.start : play.stop].argmax(1) + play.start == batch.y).double().mean())


def equal(first: Any, second: Any) -> bool:
    """Whether two states agree bit for bit."""
    if isinstance(first, Tensor):
        return isinstance(second, Tensor) and first.dtype == second.dtype and torch.equal(first, second)
    if isinstance(first, dict):
        return first.keys() == second.keys() and all(equal(value, second[name]) for name, value in first.items())
    if isinstance(first, (list, tuple)):
        return len(first) == len(second) and all(map(equal, first, second))
    return bool(first == second)


def _optimizer(update: Update, train: TrainConfig) -> tuple[torch.optim.Optimizer, list[Any]]:
    given: list[Any] = list(update.parameters())
    asked = update.optimizer
    kind = asked.kind if asked else train.optimizer
    chosen: dict[str, Any] = {
        "lr": asked.learning_rate if asked else train.learning_rate,
        "weight_decay": asked.weight_decay if asked else train.weight_decay,
    }
    if kind == "sgd":
        chosen["momentum"] = asked.momentum if asked else train.momentum
    elif asked:
        chosen["betas"] = asked.betas
    made = {"sgd": torch.optim.SGD, "adam": torch.optim.Adam, "adamw": torch.optim.AdamW}[kind](given, fused=True, **chosen)
    if chosen.get("momentum"):
        for group in made.param_groups:
            for parameter in group["params"]:
                made.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
    return made, [group["lr"] for group in made.param_groups]


def _run_phase(
    strategy: Strategy,
    phase: Phase,
    optimizers: Optimizers,
    place: tuple[int, int],
    epochs_done: int,
    at_boundary: Callable[[int, int], None] | None,
) -> None:
    train = strategy.setup.train
    length = len(phase.batches)
    if phase.iterations is not None or (phase.epochs is None and train.iterations is not None):
        steps = phase.iterations if phase.iterations is not None else train.iterations
    else:
        steps = length * (phase.epochs if phase.epochs is not None else train.epochs)
    assert steps is not None
    done = epochs_done * length
    while done < steps:
        strategy.train_mode()
        epoch = done // length

        def generator_for(purpose: str, epoch: int = epoch) -> torch.Generator:
            return strategy.setup.randomness.generator(purpose, *place, epoch)

        for batch in phase.batches.epoch(generator_for):
            if done == steps:
                break
            if phase.observe is not None:
                phase.observe(batch)
            for update in phase.updates:
                _step(update, batch, optimizers[update.name], done / steps, train)
            done += 1
        if at_boundary is not None:
            at_boundary(place[1], epoch + 1)


def _step(update: Update, batch: Any, kept: tuple[torch.optim.Optimizer, list[Any]], share: float, train: TrainConfig) -> None:
    optimizer, rates = kept
    if (update.optimizer.schedule.kind if update.optimizer else train.schedule) == "cosine":
        factor = 0.5 * (1 + float(torch.cos(torch.tensor(torch.pi * share))))
        for group, rate in zip(optimizer.param_groups, rates):
            group["lr"] = rate * factor
    optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16, enabled=train.precision == "bf16"):
        step = update.loss(batch)
    step.loss.backward()
    if update.after_backward is not None:
        update.after_backward()
    optimizer.step()
    if update.after_step is not None:
        update.after_step()
    if update.proximal is not None:
        update.proximal(optimizer.param_groups[0]["lr"])
