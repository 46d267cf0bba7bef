"""Deep Generative Replay: a generator stands for the images of earlier experiences, the old network for their labels.

Hanul Shin, Jung Kwon Lee, Jaehong Kim, Jiwon Kim. *Continual learning with deep generative replay.* NeurIPS 2017, arXiv 1705.08690. With
(x', y') what the old generator makes and the old network calls it, and n the experiences met with this one, both solver and generator learn
from (equation 1, with the importance of the new one as in van de Ven & Tolias, arXiv 1809.10635)

    loss = loss(new) / n + (1 - 1 / n) loss(generated).

The generator is a variational autoencoder trained beside the solver, as in van de Ven & Tolias (the paper has a GAN), and goes on from
experience to experience. With distill=true the solver learns the old network's softened answers instead of its labels. With task labels,
which a generated image does not have, it counts for the heads of all earlier experiences, a mean over them.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from scenarios.batches import GeneratorFor, Shuffled
from scenarios.errors import UserError
from scenarios.experience import Batch, Experience, Origin
from scenarios.options import option
from strategies.base import Setup, Strategy
from strategies.networks.generative import Vae, initialised
from strategies.networks.network import OUT_OF_PLAY
from strategies.phase import Optimizer, Phase, Step, Update
from strategies.soft_targets import Teacher, distillation, frozen_copy


@dataclass(frozen=True, kw_only=True)
class DgrConfig:
    """Options of `dgr`.

    Attributes:
        batch_size: generated images that join each batch; as many as `train.batch_size` unless given.
        distill: learn the old network's softened answers to generated images, not its labels.
        temperature: by which answers are softened.
        generator: the variational autoencoder: mlp, or conv (for images of at least 4 pixels each way).
        latent: length of its code.
        width: of its hidden layers; of conv, channels.
        generator_learning_rate: of its Adam.
    """

    batch_size: int | None = option(None, low=1)
    distill: bool = False
    temperature: float = option(2.0, low=0.01)
    generator: Literal["mlp", "conv"] = "mlp"
    latent: int = option(100, low=1)
    width: int = option(400, low=1)
    generator_learning_rate: float = option(1e-3, above=0)


@dataclass(frozen=True, eq=False)
class WithKeys:
    """Passes over new examples with the seed of each step's noise.

    Attributes:
        new: the batches.
    """

    new: Shuffled

    def __len__(self) -> int:
        return len(self.new)

    def epoch(self, generator_for: GeneratorFor) -> Iterator[Batch]:
        """One pass.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The batches.
        """
        keys = torch.randint(2**62, (len(self),), generator=generator_for("noise")).tolist()
        nothing = self.new.examples.rows[:0]
        for batch, key in zip(self.new.epoch(generator_for), keys):
            yield batch._replace(origin=Origin(len(batch.x), nothing, nothing, batch.present, (), key))


class Dgr(Strategy):
    """Fine-tuning beside what a generator remembers."""

    Config = DgrConfig

    def prepare(self, setup: Setup) -> None:
        """Get ready for a scenario, with a generator that knows nothing.

        Args:
            setup: what it will meet, and how it is trained.

        Raises:
            UserError: the data are no images, or images too small.
        """
        super().prepare(setup)
        config, shape, like = self.config, setup.scenario.input_shape, next(self.network.parameters())
        if setup.scenario.data.get("kind") == "features":
            raise UserError("dgr generates images, and these are features; choose replay")
        if config.generator == "conv" and min(shape[1:]) < 4:
            raise UserError("strategy.generator=conv is for images of at least 4 pixels each way; set strategy.generator=mlp")
        key = setup.randomness.key("generator", "initialisation")
        self.vae = initialised(partial(Vae, config.generator, config.latent, config.width, shape), key).to(like.device, like.dtype)
        self.teacher = Teacher(self.network)
        self.dreamer: Vae | None = None
        self._storage = setup.scenario.experiences[0].train.storage

    def phases(self, experience: Experience) -> list[Phase]:
        """Train solver and generator side by side.

        Args:
            experience: what is to be learned.

        Returns:
            One phase.
        """
        adam = Optimizer(kind="adam", learning_rate=self.config.generator_learning_rate)
        updates = (
            Update(loss=partial(self.solver_loss, met=experience.index), parameters=self.network.parameters),
            Update(
                loss=partial(self.generator_loss, met=experience.index),
                parameters=self.vae.parameters,
                name="generator",
                optimizer=adam,
            ),
        )
        begin = self._begin if experience.index else None
        return [Phase(name="train", batches=WithKeys(self.shuffled(experience.train)), updates=updates, begin=begin, end=self._end)]

    def solver_loss(self, batch: Batch, met: int) -> Step:
        """Cross-entropy on new images, and on generated ones with the old network's labels.

        Args:
            batch: new examples.
            met: experiences before this one.

        Returns:
            The step; the images are noted for the generator.
        """
        assert batch.origin is not None
        self._generator = torch.Generator().manual_seed(batch.origin.key)
        self._images = [self.images(batch.x)]
        if self.dreamer is None:
            return self.loss(batch)
        count = self.config.batch_size or self.setup.train.batch_size
        self._images.append(self.dreamer.imagine(self._noise(count)))
        x = (self._images[1] * 255 * self._storage.scale + self._storage.shift).to(batch.x)
        features, dreamed = self.network.features(torch.cat([batch.x, x])).split([len(batch.x), len(x)])
        new, replay = self.fit(features, batch), self.replay_loss(dreamed, x, batch, met)
        parts = {"cross-entropy": new.loss.detach(), "generated": replay.detach()}
        return Step((new.loss + met * replay) / (met + 1), new.logits, new.targets, parts)

    def replay_loss(self, features: Tensor, x: Tensor, batch: Batch, met: int) -> Tensor:
        """How far answers to generated images are from the old network's.

        Args:
            features: of the images, [R, F].
            x: the images, normalised.
            batch: the new examples that they stand beside.
            met: experiences before this one.

        Returns:
            A mean over images and, with task labels, over earlier experiences; a scalar.
        """
        scenario = self.setup.scenario
        known = [each.outputs for each in scenario.experiences[:met]]
        if scenario.setting == "task":
            heads = [(outputs, outputs) for outputs in dict.fromkeys(known)]
        else:
            wide = self.in_play(batch)
            assert isinstance(wide, range)
            heads = [(range(max(outputs.stop for outputs in known)), wide)]
        losses = []
        for old, now in heads:
            answers, wanted = self.network.head.narrow(features, now), self.teacher.logits(x, old)
            if self.config.distill:
                padded = functional.pad(wanted, (0, len(now) - len(old)), value=OUT_OF_PLAY)
                losses.append(distillation(answers, padded, self.config.temperature))
            else:
                losses.append(functional.cross_entropy(answers, wanted.argmax(1)))
        return torch.stack(losses).mean()

    def generator_loss(self, batch: Batch, met: int) -> Step:
        """The generator's loss on the images that the solver has just seen.

        Args:
            batch: new examples.
            met: experiences before this one.

        Returns:
            The step.
        """
        self.vae.train()
        images = torch.cat(self._images)
        losses = self.vae.loss(images, self._noise(len(images)))
        new = len(batch.x)
        loss = losses[:new].mean()
        return Step((loss + met * losses[new:].mean()) / (met + 1) if self.dreamer is not None else loss)

    def images(self, x: Tensor) -> Tensor:
        """Take the network's normalisation back.

        Args:
            x: float [B, C, H, W], normalised.

        Returns:
            The images in [0, 1], laid out plainly.
        """
        plain = (x - self._storage.shift) / self._storage.scale / 255
        return plain.clamp(0, 1).to(x.dtype, memory_format=torch.contiguous_format)

    def _noise(self, count: int) -> Tensor:
        like = next(self.vae.parameters())
        return torch.randn(count, self.config.latent, generator=self._generator).to(like)

    def _begin(self) -> None:
        self.teacher.keep()
        self.dreamer = frozen_copy(self.vae)

    def _end(self) -> None:
        self.teacher.drop()
        self.dreamer = None

    def state_dict(self) -> dict[str, Any]:
        """The network, the generator and, while they learn, the old ones.

        Returns:
            Nested dictionaries of tensors.
        """
        dreamer = None if self.dreamer is None else self.dreamer.state_dict()
        return {**super().state_dict(), "vae": self.vae.state_dict(), "teacher": self.teacher.state_dict(), "dreamer": dreamer}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Take up a saved state.

        Args:
            state: what `state_dict` gave.
        """
        super().load_state_dict(state)
        self.vae.load_state_dict(state["vae"])
        self.teacher.load_state_dict(state["teacher"])
        self.dreamer = None
        if state["dreamer"] is not None:
            self.dreamer = frozen_copy(self.vae)
            self.dreamer.load_state_dict(state["dreamer"])

    def report(self) -> dict[str, Any]:
        """The generator's size.

        Returns:
            The bytes of its parameters and buffers.
        """
        return {"replay_memory": {"examples": 0, "bytes": sum(value.nbytes for value in self.vae.state_dict().values())}}
