"""H-net/C-net: a memory that knows which task it is looking at.

Jangho Kim, Jeesoo Kim, Nojun Kwak. *HC-Net: Memory-based Incremental Dual-Network System for Continual Learning*, arXiv 1809.02441, 2018;
from version 2 on *StackNet*. The C-net is one network whose layers tasks share by stacking (`networks.stacking`): task J trains, by plain
cross-entropy over its own classes, what older tasks do not use,

    L = -sum_c y_c log p_c  over  W[0 : I_k^J, 0 : I_{k-1}^J]  without  W[0 : I_k^{J-1}, 0 : I_{k-1}^{J-1}],

and answers with its own head. Given the right index, old answers never change. The H-net (`hnet`, `hnet_gan`) names the task of each image:
x -> index J -> the part of the C-net that is J's -> class. Images of several tasks in one batch are parted by index, one pass for each.

No code of the authors' is public, and no full text was at hand. From the abstracts comes that the index is estimated for each image and
that old answers stay; from one second-hand summary of version 3 come stacking, a generator and a binary classifier for each task, and the
argmax. INFERRED are that the H-net is that version's index module, equal shares, the initialisation of new weights, batch norm, residual
and linear layers, and everything about how the H-net is trained.

What an index from generators is worth depends on how well they are trained (`hnet_gan` says how); autoencoders, which are no part of the
paper, name the task more surely still.
"""

from __future__ import annotations

from fractions import Fraction
from math import prod
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.errors import UserError
from scenarios.experience import Batch, Experience, Scenario
from strategies.base import Setup, Strategy
from strategies.memory.hnet import AutoencoderIndex, IndexModule, as_pictures
from strategies.memory.hnet_gan import GanIndex, SoftmaxIndex
from strategies.memory.hnet_options import HnetCnetConfig, in_force, resolve
from strategies.memory.routing import diagnose_routing
from strategies.networks.network import OUT_OF_PLAY
from strategies.networks.stacked import StackedNetwork
from strategies.networks.stacking import Plan
from strategies.phase import Phase, Step, Update

MODULES: dict[str, type[IndexModule]] = {"gan": GanIndex, "softmax": SoftmaxIndex, "autoencoder": AutoencoderIndex}


class HnetCnet(Strategy):
    """A network that tasks share by stacking, and a module that names the task."""

    Config = HnetCnetConfig
    task_dependent = True
    network: StackedNetwork  # type: ignore[assignment]

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario: cut the network into the tasks' parts and build the H-net.

        Args:
            setup: what it will meet, and how it is trained.

        Raises:
            UserError: the options do not suit the scenario, or the network is too narrow for so many tasks.
        """
        self.setup = setup
        scenario = setup.scenario
        kind, options = resolve(self.config, scenario.setting, scenario.input_shape)
        if kind == "oracle" and scenario.setting != "task":
            raise UserError(
                f"strategy.index=oracle reads the task label, which setting '{scenario.setting}' does not give; "
                "choose --setting task, or strategy.index from gan, softmax, autoencoder"
            )
        if kind != "oracle" and scenario.data.get("kind") == "features":
            raise UserError("the H-net learns what images look like, and these are features; choose strategy.index=oracle in setting task")
        if any(experience.train.task is None for experience in scenario.experiences):
            raise UserError("hnet-cnet learns one task at a time; leave scenario.blurry and scenario.gaussian out")
        outputs = [experience.outputs for experience in scenario.experiences]
        if any(each not in scenario.blocks for each in outputs):
            raise UserError("hnet-cnet learns each class in one task, and here classes come back; choose --setting domain, or split-SET")
        plan = Plan(self._shares(len(scenario)), self.config.old_rows_read_new_channels)
        self.network = StackedNetwork(setup.build_network(), scenario.input_shape[0], outputs, plan)
        self.in_force = {"index": kind, **in_force(kind, options)}
        self.confidence = self.in_force.get("index_confidence", 0.0)
        self.hnet = MODULES[kind](setup, options) if kind != "oracle" else None
        self.needs_label = self.hnet is None
        self.learned = 0

    def _shares(self, tasks: int) -> tuple[Fraction, ...]:
        given = self.config.shares
        if given is None:
            return tuple(Fraction(task + 1, tasks) for task in range(tasks))
        if len(given) != tasks:
            raise UserError(f"strategy.shares has {len(given)} numbers for {tasks} experiences; give one for each, growing up to at most 1")
        return tuple(Fraction(share).limit_denominator(1_000_000) for share in given)

    def phases(self, experience: Experience) -> list[Phase]:
        """Train the task's part of the C-net, then the H-net.

        Args:
            experience: what is to be learned.

        Returns:
            The phases, each with optimisers of its own.
        """
        task = experience.index

        def end() -> None:
            self.learned = task + 1

        update = Update(loss=self.loss, parameters=lambda: self.network.of_task(task), name="c-net")
        first = Phase(name="c-net", batches=self.shuffled(experience.train), updates=(update,), end=end, fresh=True)
        return [first, *(self.hnet.phases(experience) if self.hnet else ())]

    def loss(self, batch: Batch) -> Step:
        """Cross-entropy over the task's own classes, in every setting.

        Args:
            batch: examples of the experience that is being learned.

        Returns:
            The step.
        """
        assert batch.task is not None
        logits = self.network(batch.x, batch.task)
        return Step(functional.cross_entropy(logits, batch.y), logits, batch.y)

    def index(self, x: Tensor) -> Tensor:
        """Name the task of each image.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            int64 [B]; the lowest index where scores are equal.

        Raises:
            UserError: there is no H-net.
        """
        if self.hnet is None:
            raise UserError("without an H-net only the task label names the task; choose strategy.index from gan, softmax, autoencoder")
        scores = self.hnet.scores(x, self.learned)
        if self.confidence and self.learned > 1:
            scores = scores + self.confidence * self._confidence(x).to(scores)
        return scores.argmax(1)

    def _confidence(self, x: Tensor) -> Tensor:
        # [B, learned]: the logarithm of the greatest probability that each task's part gives a class of its own.
        self.network.eval()
        return torch.stack([self.network(x, task).log_softmax(1).amax(1) for task in range(self.learned)], 1)

    def logits(self, x: Tensor, task: int | None = None) -> Tensor:
        """Answer, in evaluation mode.

        Args:
            x: float [B, C, H, W], normalised.
            task: the task; None to have the H-net name it.

        Returns:
            [B, K]; all outputs out of play where the task has not been learned.
        """
        self.network.eval()
        if task is not None and task < self.learned:
            return self.network(x, task)
        answers = x.new_full((len(x), self.network.width), OUT_OF_PLAY)
        if task is not None or not self.learned:
            return answers
        index = self.index(x)
        for number in range(self.learned):
            chosen = torch.nonzero(index == number).flatten()
            if len(chosen):
                answers[chosen] = self.network(x[chosen], number).to(answers.dtype)
        return answers

    def features(self, x: Tensor) -> Tensor:
        """What the head of each image's task sees, in evaluation mode.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            [B, F]; zeros where a task has fewer features than the whole network.
        """
        self.network.eval()
        features = x.new_zeros(len(x), self.network.num_features)
        index = self.index(x)
        for number in range(self.learned):
            chosen = torch.nonzero(index == number).flatten()
            if len(chosen):
                own = self.network.features(x[chosen], number).to(features.dtype)
                features[chosen, : own.shape[1]] = own
        return features

    def answers(self, task: int) -> bool:
        """Whether a task has been learned.

        Args:
            task: the experience.

        Returns:
            True from then on.
        """
        return task < self.learned

    def measure(self, scenario: Scenario) -> dict[str, Any]:
        """Test the H-net, the C-net and both.

        Args:
            scenario: what has been learned.

        Returns:
            `routing`, see `diagnose_routing`; empty without an H-net.
        """
        return {"routing": diagnose_routing(self, scenario)} if self.hnet else {}

    def artefacts(self) -> dict[str, Tensor]:
        """What the generators remember.

        Returns:
            `generated`, uint8 [experiences, 10, C, H, W], and `seen`, [experiences, up to 3, C, H, W], test images as the H-net sees them;
            empty without generators.
        """
        pictures = self.hnet.samples(self.learned, 10) if self.hnet else None
        if self.hnet is None or pictures is None:
            return {}
        tests = [experience.test for experience in self.setup.scenario.experiences[: self.learned]]
        number = min(3, *map(len, tests))
        seen = [as_pictures(self.hnet.images(test.batch(slice(number)).x)) for test in tests]
        return {"generated": pictures, "seen": torch.stack(seen)}

    def state_dict(self) -> dict[str, Any]:
        """Both networks, and how many tasks are learned.

        Returns:
            Nested dictionaries of tensors and plain values.
        """
        hnet = self.hnet.networks.state_dict() if self.hnet else None
        return {"network": self.network.state_dict(), "hnet": hnet, "learned": self.learned}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        self.network.load_state_dict(state["network"])
        if self.hnet:
            self.hnet.networks.load_state_dict(state["hnet"])
        self.learned = state["learned"]

    def report(self) -> dict[str, Any]:
        """What each task takes of the C-net, and what the H-net takes.

        Returns:
            `capacity`: for each layer and task, the filters that it uses and the weights that it trains; `hnet`: its kind, the options that
            it goes by, its bytes, and how many images a replay memory of as many bytes would hold.
        """
        capacity = [
            {
                "layer": name,
                "filters": list(layer.row_bounds[1:]),
                "weights": [sum(part.numel() for part in layer.of_task(task)) for task in range(len(self.setup.scenario))],
            }
            for name, layer in self.network.layers().items()
        ]
        if self.hnet is None:
            return {"capacity": capacity, "hnet": self.in_force}
        kept = self.hnet.bytes(self.learned)
        images = sum(kept.values()) // prod(self.setup.scenario.input_shape)
        return {"capacity": capacity, "hnet": {**self.in_force, "bytes": kept, "replay_images_of_as_many_bytes": images}}
