"""What both ways to Avalanche share: our network in the form that it calls, its arguments, and its classes by their names."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

import torch
from torch import nn

from scenarios.bridges.avalanche import to_benchmark
from scenarios.bridges.foreign import library
from scenarios.errors import UserError, nearest, shortened
from strategies.base import Setup, Strategy
from strategies.bridges.parts import InPlayLoss, Whole, many_headed
from strategies.optimizers import kinds

NOT_RESUMED = "what Avalanche's plug-ins keep is in no checkpoint: begin the run again in another --out"


class Bridged(Strategy):
    """A learner that Avalanche has a part in."""

    foreign = True
    all_outputs: bool = False
    """Whether the loss looks at all of the head, not at what is in play."""

    def prepare(self, setup: Setup) -> None:
        """Build the network and the benchmark.

        Args:
            setup: what the learner will meet, and how it is trained.
        """
        super().prepare(setup)
        self.experience = 0
        self.learned = 0
        self.stream = list(to_benchmark(setup.scenario).train_stream)

    def arguments(self, plugins: list[Any]) -> dict[str, Any]:
        """What a strategy of Avalanche is made with.

        Args:
            plugins: its plug-ins.

        Returns:
            Arguments by name; not every strategy takes all of them.
        """
        train = self.setup.train
        whole = Whole(self.network, self.range_in_play)
        return {
            "model": many_headed(whole) if self.setup.scenario.setting == "task" and not self.all_outputs else whole,
            "feature_extractor": self.network.backbone,
            "classifier": self.network.head,
            "buffer_transform": None,
            "optimizer": self.own_optimizer(self.network),
            "criterion": InPlayLoss(self),
            "train_mb_size": train.batch_size,
            "train_epochs": train.epochs,
            "eval_mb_size": 1000,
            "device": self.setup.device,
            "evaluator": None,
            "plugins": plugins,
        }

    def own_optimizer(self, model: nn.Module) -> torch.optim.Optimizer:
        """An optimiser of `train.*`.

        Args:
            model: what it moves.

        Returns:
            The optimiser.
        """
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


def made_plugins(asked: Mapping[str, Any]) -> dict[str, Any]:
    """Make plug-ins of Avalanche.

    Args:
        asked: `ReplayPlugin.mem_size` is an argument of ReplayPlugin, `LwFPlugin` (true) no more than its name.

    Returns:
        By the names of their classes, in the order in which they were asked for.

    Raises:
        UserError: there is no such plug-in, or it cannot be made.
    """
    told: dict[str, dict[str, Any]] = {}
    for path, value in asked.items():
        name, dot, argument = path.partition(".")
        if not dot and value is not True:
            raise UserError(f"set strategy.plugins.{name}=true, or its arguments as strategy.plugins.{name}.NAME=VALUE")
        told.setdefault(name, {}).update({argument: value} if dot else {})
    found = {name: find("plug-in", "avalanche.training.plugins", name, "before_training_exp") for name in told}
    return {
        found[name].__name__: make(found[name], found[name].__name__, {}, given, f"strategy.plugins.{name}") for name, given in told.items()
    }


def find(what: str, module: str, name: str, mark: str) -> Any:
    """Find a class of Avalanche by its name, in any case.

    Args:
        what: the word for it in messages.
        module: where it lies.
        name: its name.
        mark: a method that all of its kind have.

    Returns:
        The class.

    Raises:
        UserError: there is none.
    """
    classes = {each.lower(): kind for each, kind in vars(library(module)).items() if inspect.isclass(kind) and hasattr(kind, mark)}
    if name.lower() not in classes:
        raise UserError(f"Avalanche has no {what} '{shortened(name)}'{nearest(name, [kind.__name__ for kind in classes.values()])}")
    return classes[name.lower()]


def make(kind: Any, called: str, given: Mapping[str, Any], options: Mapping[str, Any], path: str) -> Any:
    """Make an object of a class of Avalanche.

    Args:
        kind: the class.
        called: its name in messages.
        given: our arguments, of which it takes what it knows.
        options: the user's arguments.
        path: of these in the configuration.

    Returns:
        The object.

    Raises:
        UserError: it does not know an argument, or cannot be made.
    """
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
