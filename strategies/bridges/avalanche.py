"""Any strategy of Avalanche (avalanche-lib >= 0.6) as a strategy here: `avalanche:EWC`, with `strategy.options.ewc_lambda=0.4`.

Avalanche's own loop trains, on our network, our batches in our order and our optimiser's settings; our engine hands it experience after
experience, tests, and keeps the books. The loss looks at the outputs that are in play in the run's setting, as ours do, so that
`avalanche:Naive` is `naive` up to rounding. What a plug-in of Avalanche keeps (memories, importances) is not in our checkpoints: such a run
can be looked at again, not gone on with.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.batches import GeneratorFor
from scenarios.bridges.avalanche import to_benchmark
from scenarios.bridges.foreign import library
from scenarios.errors import UserError, nearest
from scenarios.experience import Batch, Experience
from strategies.base import Setup, Strategy
from strategies.phase import Phase


@dataclass(frozen=True, kw_only=True)
class AvalancheConfig:
    """Options of `avalanche:LEARNER`.

    Attributes:
        learner: the class of avalanche.training.supervised; part of the name.
        options: arguments of its constructor, for instance strategy.options.mem_size=200.
    """

    learner: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)


class Nothing:
    """A source of no batches: Avalanche makes its own."""

    def __len__(self) -> int:
        return 0

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """No batches.

        Args:
            generator_for: is not asked.

        Returns:
            Nothing.
        """
        return iter(())


class Shared:
    """A function that copies of a network share: plug-ins copy the network, and must not copy the strategy with it.

    Args:
        call: the function.
    """

    def __init__(self, call: Callable[[], range]) -> None:
        self.call = call

    def __deepcopy__(self, memo: dict[int, Any]) -> Shared:
        return self


class Whole(nn.Module):
    """Our network as Avalanche calls it: logits of full width; in training, blocks out of play are not computed.

    Args:
        owner: the strategy, which knows what is in play.
    """

    def __init__(self, owner: AvalancheStrategy) -> None:
        super().__init__()
        self.network = owner.network
        self._in_play = Shared(owner.range_in_play)

    def forward(self, x: Tensor) -> Tensor:
        """Compute the logits.

        Args:
            x: float [B, C, H, W].

        Returns:
            [B, K].
        """
        return self.network(x, self._in_play.call() if self.training else None)


class AvalancheStrategy(Strategy):
    """A strategy of Avalanche."""

    Config = AvalancheConfig

    def prepare(self, setup: Setup) -> None:
        """Build the network, the benchmark and Avalanche's strategy.

        Args:
            setup: what the learner will meet, and how it is trained.

        Raises:
            UserError: Avalanche is not installed, has no such strategy, or cannot make it.
        """
        super().prepare(setup)
        if setup.train.iterations is not None:
            raise UserError("Avalanche counts epochs: leave train.iterations out and set train.epochs")
        self.experience = 0
        self.learned = 0
        module = library("avalanche.training.supervised")
        known = {name.lower(): name for name, kind in vars(module).items() if inspect.isclass(kind) and hasattr(kind, "train")}
        if self.config.learner.lower() not in known:
            raise UserError(f"Avalanche has no strategy '{self.config.learner}'{nearest(self.config.learner, known.values())}")
        kind = getattr(module, known[self.config.learner.lower()])
        benchmark = to_benchmark(setup.scenario)
        self.stream = list(benchmark.train_stream)
        self.theirs = self._build(kind)

    def _build(self, kind: Any) -> Any:
        train = self.setup.train
        taken = _parameters(kind)
        for name in self.config.options:
            if name not in taken:
                raise UserError(f"{kind.__name__} of Avalanche takes no '{name}'{nearest(name, taken)}")
        model = Whole(self)
        owner = self

        class Ordered(kind):
            """The same strategy on our batches in our order, as long as no plug-in has changed its data."""

            def make_train_dataloader(self, **arguments: Any) -> None:
                super().make_train_dataloader(**arguments)
                self.dataloader = _Batches(owner)

            def optimizer_step(self) -> None:
                owner.leave_alone()
                super().optimizer_step()

        given = {
            "model": model,
            "optimizer": self._optimizer(model),
            "criterion": self.criterion,
            "train_mb_size": train.batch_size,
            "train_epochs": train.epochs,
            "eval_mb_size": 1000,
            "device": self.setup.device,
            "evaluator": None,
        }
        try:
            return Ordered(**{key: value for key, value in given.items() if key in taken} | dict(self.config.options))
        except (TypeError, ValueError, AssertionError) as error:
            raise UserError(f"Avalanche cannot make {kind.__name__}: {error}; give its arguments as strategy.options.NAME=VALUE") from error

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        train = self.setup.train
        kind: Any = {name.lower(): kind for name, kind in vars(torch.optim).items() if inspect.isclass(kind)}[train.optimizer]
        given = {"lr": train.learning_rate, "momentum": train.momentum, "weight_decay": train.weight_decay}
        taken = inspect.signature(kind).parameters
        optimizer: torch.optim.Optimizer = kind(
            model.parameters(), **{name: value for name, value in given.items() if name in taken}, **train.optimizer_options
        )
        return optimizer

    def range_in_play(self) -> range:
        """The outputs that the experience being learned looks at.

        Returns:
            A range; all that were met so far where a batch may mix tasks.
        """
        scenario = self.setup.scenario
        if scenario.setting == "task" and self.experience:
            return range(0, scenario.in_play(self.experience).stop)
        return scenario.in_play(self.experience)

    def leave_alone(self) -> None:
        """Take the gradient of blocks of the head that no example of the batch looks at: neither momentum nor decay moves them, as here."""
        if self.setup.scenario.setting == "task":
            present = set(self.theirs.mbatch[-1].tolist())
            for task, block in enumerate(self.network.head.blocks):
                if task not in present:
                    for parameter in block.parameters():
                        parameter.grad = None

    def criterion(self, logits: Tensor, y: Tensor) -> Tensor:
        """Cross-entropy over the outputs in play, example by example where tasks are mixed.

        Args:
            logits: [B, K].
            y: int64 [B].

        Returns:
            A scalar.
        """
        scenario = self.setup.scenario
        if scenario.setting != "task":
            outputs = scenario.in_play(self.experience)
            return functional.cross_entropy(logits[:, outputs.start : outputs.stop], y - outputs.start)
        batch = self.theirs.mbatch
        tasks = batch[-1] if batch is not None and len(batch) > 2 and len(batch[-1]) == len(y) else torch.full_like(y, self.experience)
        return functional.cross_entropy(logits.masked_fill(~self.task_mask[tasks], -1e9), y)

    def phases(self, experience: Experience) -> list[Phase]:
        """One phase, in which Avalanche trains.

        Args:
            experience: what is to be learned.

        Returns:
            The phase; it makes no step of its own.

        Raises:
            UserError: the run was stopped before.
        """
        if experience.index != self.learned:
            raise UserError("what Avalanche's plug-ins keep is in no checkpoint: begin the run again in another --out")

        def train() -> None:
            self.experience = experience.index
            if self.setup.train.reset_optimizer:
                self.theirs.optimizer = self._optimizer(self.theirs.model)
            self.theirs.train(self.stream[experience.index])
            self.learned += 1

        return [Phase(name="avalanche", batches=Nothing(), begin=train)]

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer, in evaluation mode, as Avalanche's strategy does.

        Args:
            x: float [B, C, H, W], normalised.
            task: is not used.

        Returns:
            [B, K].
        """
        model = self.theirs.model.eval()
        found: Tensor = model(x)
        return found


class _Batches:
    """Our batches of one experience in our order, as Avalanche unpacks them; each pass draws anew, as the engine's do.

    Args:
        owner: the strategy.
    """

    def __init__(self, owner: AvalancheStrategy) -> None:
        self.owner = owner
        self.source = owner.shuffled(owner.setup.scenario.experiences[owner.experience].train)
        self.epoch = 0

    def __len__(self) -> int:
        return len(self.source)

    def __iter__(self) -> Iterator[list[Tensor]]:
        randomness, experience, epoch = self.owner.setup.randomness, self.owner.experience, self.epoch
        self.epoch += 1
        for batch in self.source.epoch(lambda purpose: randomness.generator(purpose, experience, 0, epoch)):
            yield [batch.x, batch.y, torch.full_like(batch.y, experience)]


def _parameters(kind: Any) -> set[str]:
    found: set[str] = set()
    for each in kind.__mro__:
        if "__init__" in vars(each):
            found |= set(inspect.signature(each.__init__).parameters)
    return found - {"self", "args", "kwargs", "base_kwargs"}
