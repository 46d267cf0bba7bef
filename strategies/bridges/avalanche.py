"""Any strategy of Avalanche (avalanche-lib >= 0.6) as a strategy here: `avalanche:EWC`, with `strategy.options.ewc_lambda=0.4`.

Avalanche's own loop trains, on our network, our batches in our order and our optimiser's settings; our engine hands it experience after
experience, tests, and keeps the books. The loss looks at the outputs that are in play in the run's setting, as ours do, so that
`avalanche:Naive` is `naive` up to rounding, and plug-ins of Avalanche hang on it: `strategy.plugins.ReplayPlugin.mem_size=200`. A strategy
or a plug-in that changes what an experience's data are (Cumulative, GDumb, iCaRL, replay) makes its batches itself, in an order of its own.
What it keeps (memories, importances) is not in our checkpoints: such a run can be looked at again, not gone on with.
"""

from __future__ import annotations

import contextlib
import inspect
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from scenarios.bridges.avalanche import to_benchmark
from scenarios.bridges.foreign import library
from scenarios.errors import UserError, nearest, shortened
from scenarios.experience import Experience
from strategies.base import Setup, Strategy
from strategies.bridges.parts import InPlayLoss, Nothing, OurBatches, Whole, many_headed
from strategies.networks.network import Network
from strategies.optimizers import kinds
from strategies.phase import Phase


@dataclass(frozen=True, kw_only=True)
class AvalancheConfig:
    """Options of `avalanche:LEARNER`.

    Attributes:
        learner: the class of avalanche.training.supervised; part of the name.
        options: arguments of its constructor, for instance strategy.options.mem_size=200.
        plugins: plug-ins of avalanche.training.plugins and their arguments, for instance strategy.plugins.ReplayPlugin.mem_size=200, or
            strategy.plugins.LwFPlugin=true for one without.
        outputs: what the loss looks at in training: the outputs in play, as in our strategies, or all of the head; none for all where the
            learner compares logits itself (DER), else those in play.
    """

    learner: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    plugins: Mapping[str, Any] = field(default_factory=dict)
    outputs: Literal["in-play", "all"] | None = None


COMPARES_LOGITS = {"DER"}
"""Learners of Avalanche that hold logits of one time against those of another: an output may not be absent in one of them."""


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
        kind = _find("strategy", "avalanche.training.supervised", self.config.learner, "train")
        self.all_outputs = self.config.outputs == "all" or (self.config.outputs is None and kind.__name__ in COMPARES_LOGITS)
        self.stream = list(to_benchmark(setup.scenario).train_stream)
        self.theirs = self._build(kind)

    def _build(self, kind: Any) -> Any:
        train = self.setup.train
        whole = Whole(self.network, self.range_in_play)
        model = many_headed(whole) if self.setup.scenario.setting == "task" and not self.all_outputs else whole
        owner = self

        class Ordered(kind):
            """The same strategy on our batches in our order, as long as nothing has changed an experience's data."""

            def make_train_dataloader(self, **arguments: Any) -> None:
                super().make_train_dataloader(**arguments)
                if owner.unchanged(self.adapted_dataset):
                    self.dataloader = OurBatches(owner)

            def optimizer_step(self) -> None:
                with owner.idle_blocks_left_alone():
                    super().optimizer_step()

        given = {
            "model": model,
            "feature_extractor": self.network.backbone,
            "classifier": self.network.head,
            "buffer_transform": None,
            "optimizer": self._optimizer(self.network),
            "criterion": InPlayLoss(self),
            "train_mb_size": train.batch_size,
            "train_epochs": train.epochs,
            "eval_mb_size": 1000,
            "device": self.setup.device,
            "evaluator": None,
            "plugins": self._plugins(),
        }
        return _make(Ordered, kind.__name__, given, self.config.options, "strategy.options")

    def _plugins(self) -> list[Any]:
        # `ReplayPlugin.mem_size` is an argument of ReplayPlugin, `LwFPlugin` itself no more than its name.
        asked: dict[str, dict[str, Any]] = {}
        for path, value in self.config.plugins.items():
            name, dot, argument = path.partition(".")
            if not dot and value is not True:
                raise UserError(f"set strategy.plugins.{name}=true, or its arguments as strategy.plugins.{name}.NAME=VALUE")
            asked.setdefault(name, {}).update({argument: value} if dot else {})
        found = {name: _find("plug-in", "avalanche.training.plugins", name, "before_training_exp") for name in asked}
        return [_make(found[name], found[name].__name__, {}, given, f"strategy.plugins.{name}") for name, given in asked.items()]

    def _optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        train = self.setup.train
        kind: Any = kinds()[train.optimizer]
        given = {"lr": train.learning_rate, "momentum": train.momentum, "weight_decay": train.weight_decay}
        taken = inspect.signature(kind).parameters
        optimizer: torch.optim.Optimizer = kind(
            model.parameters(), **{name: value for name, value in given.items() if name in taken}, **train.optimizer_options
        )
        return optimizer

    def range_in_play(self) -> range | None:
        """The outputs that are computed while an experience is learned.

        Returns:
            A range; all that were met so far where a batch may mix tasks; None for all.
        """
        scenario = self.setup.scenario
        if self.all_outputs:
            return None
        if scenario.setting == "task" and self.experience:
            return range(0, scenario.in_play(self.experience).stop)
        return scenario.in_play(self.experience)

    def unchanged(self, dataset: Any) -> bool:
        """Whether a data set of Avalanche is the experience that is being learned, no more and no less.

        Args:
            dataset: what it is about to make batches of.

        Returns:
            True where its targets are the experience's, in their order.
        """
        mine = self.setup.scenario.experiences[self.experience].train
        return len(dataset) == len(mine) and list(dataset.targets) == list(self.stream[self.experience].dataset.targets)

    @contextlib.contextmanager
    def idle_blocks_left_alone(self) -> Iterator[None]:
        """During a step, take the gradient of blocks of the head that nothing looks at: neither momentum nor decay moves them, as here.

        Yields:
            Nothing; afterwards a parameter without gradient has one of zeros, which plug-ins rely on.
        """
        for block in self.network.head.blocks:
            gradients = [parameter.grad for parameter in block.parameters() if parameter.grad is not None]
            if gradients and not any(bool(gradient.any()) for gradient in gradients):
                for parameter in block.parameters():
                    parameter.grad = None
        yield
        for parameter in self.network.parameters():
            if parameter.grad is None and parameter.requires_grad:
                parameter.grad = torch.zeros_like(parameter)

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
            try:
                self.theirs.train(self.stream[experience.index])
            except (MemoryError, torch.linalg.LinAlgError, UserError):
                raise
            except Exception as error:
                if "allocate" in str(error):  # too little memory, which the command line has words for
                    raise
                name, what = self.config.learner, f"{type(error).__name__}: {shortened(error, 200)}"
                raise UserError(f"{name} of Avalanche cannot learn experience {experience.index} here ({what})") from error
            # GDumb trains a copy.
            self.network = next((part for part in self.theirs.model.modules() if isinstance(part, Network)), self.network)
            self.learned += 1

        return [Phase(name="avalanche", batches=Nothing(), begin=train)]

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer, in evaluation mode, as Avalanche's strategy does; before any learning by the network.

        Args:
            x: float [B, C, H, W], normalised.
            task: is not used.

        Returns:
            [B, K].
        """
        if not self.learned:  # classifiers by nearest means have no answer yet
            return super().logits(x, task)
        model = self.theirs.model.eval()
        found: Tensor = model(x, 0) if self.setup.scenario.setting == "task" and hasattr(model, "whole") else model(x)
        return found


def _find(what: str, module: str, name: str, mark: str) -> Any:
    # A class of a module of Avalanche by its name in any case; `mark` is a method that all of its kind have.
    classes = {each.lower(): kind for each, kind in vars(library(module)).items() if inspect.isclass(kind) and hasattr(kind, mark)}
    if name.lower() not in classes:
        raise UserError(f"Avalanche has no {what} '{shortened(name)}'{nearest(name, [kind.__name__ for kind in classes.values()])}")
    return classes[name.lower()]


def _make(kind: Any, called: str, given: Mapping[str, Any], options: Mapping[str, Any], path: str) -> Any:
    taken = _parameters(kind)
    for name in options:
        if name not in taken:
            raise UserError(f"{called} of Avalanche takes no '{name}'{nearest(name, taken)}")
    try:
        return kind(**{key: value for key, value in given.items() if key in taken} | dict(options))
    except Exception as error:
        raise UserError(f"Avalanche cannot make {called}: {shortened(error, 200)}; give its arguments as {path}.NAME=VALUE") from error


def _parameters(kind: Any) -> set[str]:
    # A constructor's arguments, and its parent's where it hands on what it does not know.
    found: set[str] = set()
    for each in kind.__mro__:
        if "__init__" in vars(each):
            own = inspect.signature(each.__init__).parameters.values()
            found |= {parameter.name for parameter in own if parameter.kind not in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL)}
            if not any(parameter.kind is parameter.VAR_KEYWORD for parameter in own):
                break
    return found - {"self"}
