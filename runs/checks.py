"""What neither a scenario nor a strategy can see alone: options that would have no effect together, or whose results would say nothing."""

from __future__ import annotations

from typing import Any

from torch import nn

from runs.config import EvaluateConfig
from runs.resolution import Resolved
from scenarios.episodes.episodic import EpisodicScenario
from scenarios.errors import UserError
from strategies.base import Strategy
from strategies.defences.defence import Defence
from strategies.networks.norms import norms
from strategies.phase import TrainConfig
from strategies.registry import strategies
from strategies.unread import refuse_unread


def check_options(scenario: Any, train: TrainConfig, evaluation: EvaluateConfig) -> None:
    """Refuse options that a scenario leaves without effect, and a stream on which every answer is right by construction.

    Args:
        scenario: what will be met.
        train: how networks are trained.
        evaluation: how they are tested.

    Raises:
        UserError: there is such an option, or it is such a stream.
    """
    if train.optimizer != "sgd" and train.momentum != TrainConfig.momentum:
        raise UserError(f"train.momentum is of sgd, and the optimizer is {train.optimizer}; leave it out, or add train.optimizer=sgd")
    stepped = (train.schedule in ("multistep", "step"), "schedule=multistep or step")
    refuse_unread(train, "train", {"schedule_milestones": stepped, "schedule_factor": stepped})
    if isinstance(scenario, EpisodicScenario):
        if train.augmentation != "none":
            raise UserError("images of episodes are not augmented; leave train.augmentation out")
        if evaluation.stream != EvaluateConfig.stream:
            raise UserError("learners of episodes are tested on every domain each time; leave evaluate.stream out")
        return
    if evaluation.validate_every != EvaluateConfig.validate_every:
        raise UserError("evaluate.validate_every is for learners of episodes; leave it out on a stream of classes")
    if evaluation.ensemble:
        raise UserError("evaluate.ensemble is for learners of episodes; leave it out on a stream of classes")
    if scenario.setting != "class" and all(len(experience.outputs) == 1 for experience in scenario.experiences):
        raise UserError(
            f"every experience has one class, so that in setting '{scenario.setting}' each answer is right by construction; "
            "choose --setting class, or fewer scenario.tasks"
        )


def check_unread(chosen: Resolved, otherwise: TrainConfig) -> None:
    """Refuse options of training that the learner has no use for.

    Args:
        chosen: the components of the run.
        otherwise: how networks would be trained, had the user said nothing about it.

    Raises:
        UserError: there is such an option, and its value is not what it would have been anyway.
    """
    for name, advice in chosen.strategy.component.unread.items():
        if getattr(chosen.train, name) != getattr(otherwise, name):
            raise UserError(f"train.{name} has no effect on {chosen.strategy.name}: {advice}")


def check_online(scenario: Any, chosen: Resolved) -> None:
    """Refuse what would tell a learner of an online stream where experiences end, or show it an example twice.

    Args:
        scenario: what will be met.
        chosen: the components of the run.

    Raises:
        UserError: there is something of the kind.
    """
    if not getattr(scenario, "online", False):
        return
    if chosen.strategy.component.needs_boundaries:
        free = [name for name in strategies.names() if not any(map(str.isupper, name)) and _without_boundaries(name)]
        line = f"strategy '{chosen.strategy.name}' must be told where an experience ends, and scenario.online does not tell"
        raise UserError(f"{line}; these need no word of it: {', '.join(free)}")
    if chosen.train.epochs != 1 or chosen.train.iterations:
        raise UserError("scenario.online is one pass over the stream; leave train.epochs and train.iterations out")
    if chosen.train.schedule != "constant" or chosen.train.warmup or chosen.train.reset_optimizer:
        raise UserError("a schedule or a reset with each experience tells where it ends, and scenario.online does not; leave them out")


def _without_boundaries(name: str) -> bool:
    component = strategies.load(name)[0]
    return "class" in component.settings and not component.needs_boundaries


def check_features(scenario: Any, chosen: Resolved) -> None:
    """Refuse what needs images where the data are features.

    Args:
        scenario: what will be met.
        chosen: the components of the run.

    Raises:
        UserError: something alters pixels, or looks at neighbouring ones.
    """
    if scenario.data.get("kind") != "features":
        return
    if chosen.train.augmentation != "none":
        raise UserError("train.augmentation crops and flips images, and these are features; leave it out")
    if getattr(chosen.network.component, "needs_images", False):
        raise UserError(f"network '{chosen.network.name}' is one of convolutions, and these are features; choose --network mlp")
    if "attack" in chosen.optional:
        raise UserError(f"attack '{chosen.optional['attack'].name}' alters pixels, and these are features; leave it out")
    defence = chosen.optional.get("defence")
    if defence and defence.component.preprocess is not Defence.preprocess:
        raise UserError(f"defence '{defence.name}' alters pixels, and these are features; choose another")


def check_batches(scenario: Any, network: nn.Module, train: TrainConfig) -> None:
    """Refuse batches of one example where batch norms have to normalise by them.

    Args:
        scenario: what will be met.
        network: what is trained.
        train: how.

    Raises:
        UserError: there would be such batches.
    """
    if isinstance(scenario, EpisodicScenario) or not norms(network):
        return
    advice = "or choose a network without batch norm (network.norm=none)"
    if train.batch_size == 1:
        raise UserError(f"batch norm has nothing to normalise by in batches of one example; raise train.batch_size, {advice}")
    for experience in scenario.experiences:
        if len(experience.train) == 1:
            only = f"the only training example of experience {experience.index}"
            raise UserError(f"batch norm has nothing to normalise by in {only}; raise scenario.train_examples, {advice}")


def check_foreign(chosen: Resolved, strategy: Strategy) -> None:
    """See whether another library, which reads the stream as it was made, is asked for what it cannot have.

    Args:
        chosen: what was asked for.
        strategy: the learner, prepared.

    Raises:
        UserError: an adversary or a defence would do nothing, or a metric would leave most of what is kept out.
    """
    if not strategy.foreign:
        return
    name = chosen.strategy.name
    for asked in ("attack", "defence"):
        if asked in chosen.optional:
            raise UserError(f"Avalanche reads the stream as it was made, so --{asked} would do nothing to {name}; take a strategy of ours")
    if "state_bytes" in (chosen.evaluation.metrics or ()):
        raise UserError(f"what Avalanche keeps is in no state of ours, so evaluate.metrics=state_bytes is not had of {name}; leave it out")
