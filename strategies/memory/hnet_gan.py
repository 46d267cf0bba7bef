"""Index modules that generate: one generator for each task stands for its images when they are gone (see `hnet`).

When task J comes, a generator G_J learns its images (non-saturating GAN loss) and is frozen. Then the classifiers are trained on, on what
G_1..G_J generate and on J's real images. `gan` (the paper's, as far as it is known) has a binary classifier B_i for each task: task i is
positive, all else negative, both sides count alike, and J = argmax_i B_i(x). `softmax` has one classifier over the tasks. Networks, steps
and step sizes are INFERRED.

Only the newest task's real images are shown to the classifiers, so what tells real from generated images speaks for that task; its
generated images are among the examples to counter this. Where the generators are poor that is not enough, and every real image is named
after the newest task; `strategy.index_images=generated` shows generated images of all tasks alike (ours, not the paper's).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.batches import GeneratorFor, Shuffled
from scenarios.experience import Experience
from strategies.memory.hnet import IndexModule
from strategies.networks.generative import critic, generator
from strategies.phase import Optimizer, Phase, Step, Update


class NoisyBatch(NamedTuple):
    """Real images and noise to make others from.

    Attributes:
        real: float [B, C, H, W], normalised as for the network.
        noise: float [n, m, latent].
    """

    real: Tensor
    noise: Tensor


@dataclass(frozen=True, eq=False)
class WithNoise:
    """Passes over real images with noise beside them.

    Attributes:
        images: the real images.
        shape: of the noise in a batch.
    """

    images: Shuffled
    shape: tuple[int, int, int]

    def __len__(self) -> int:
        return len(self.images)

    def epoch(self, generator_for: GeneratorFor) -> Iterator[NoisyBatch]:
        """One pass over the real images.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The batches.
        """
        noise = generator_for("noise")
        for batch in self.images.epoch(generator_for):
            yield NoisyBatch(batch.x, torch.randn(self.shape, generator=noise).to(batch.x))


class GanIndex(IndexModule):
    """A generator and a binary classifier for each task; the highest score names the task."""

    def build(self) -> nn.ModuleDict:
        """Make generators, classifiers and the critic that the present generator is trained against.

        Returns:
            The networks.
        """
        generators = [self._new(self._generator, "generator", task) for task in range(self.num_tasks)]
        parts = {"generators": nn.ModuleList(generators), "classifiers": self.classifiers(), "critic": self._new(self._critic, "critic", 0)}
        return nn.ModuleDict(parts)

    def classifiers(self) -> nn.ModuleList:
        """Make the classifiers.

        Returns:
            One for each task.
        """
        return nn.ModuleList(self._new(self._critic, "classifier", task) for task in range(self.num_tasks))

    def _generator(self) -> nn.Module:
        options = self.options
        return generator(options.index_network, options.latent, options.index_width, self.shape)

    def _critic(self, outputs: int = 1) -> nn.Module:
        return critic(self.options.index_network, self.options.index_width, self.shape, outputs)

    def phases(self, experience: Experience) -> list[Phase]:
        """Learn to generate a task's images, then to tell the tasks apart (where there are two).

        Args:
            experience: the task.

        Returns:
            One phase or two.
        """
        phases = [self._generator_phase(experience)]
        if experience.index > 0:
            phases.append(self._classifier_phase(experience))
        return phases

    def _generator_phase(self, experience: Experience) -> Phase:
        options, task = self.options, experience.index
        made, judge = self.networks["generators"][task], self.networks["critic"]  # type: ignore[index]
        adam = Optimizer(kind="adam", learning_rate=options.generator_learning_rate, betas=(0.5, 0.999))

        def begin() -> None:
            judge.load_state_dict(self._new(self._critic, "critic", task).state_dict())

        def judge_loss(batch: Any) -> Step:
            with torch.no_grad():
                generated = made(batch.noise[0])
            return Step(functional.softplus(-judge(self.images(batch.real))).mean() + functional.softplus(judge(generated)).mean())

        def generator_loss(batch: Any) -> Step:
            return Step(functional.softplus(-judge(made(batch.noise[1]))).mean())

        source: Any = WithNoise(
            Shuffled(experience.train, options.index_batch_size, drop_last=True), (2, options.index_batch_size, options.latent)
        )
        updates = (
            Update(loss=judge_loss, parameters=judge.parameters, name="critic", optimizer=adam),
            Update(loss=generator_loss, parameters=made.parameters, name="generator", optimizer=adam),
        )
        return Phase(name="generator", batches=source, updates=updates, iterations=options.generator_iterations, begin=begin, fresh=True)

    def _classifier_phase(self, experience: Experience) -> Phase:
        options, task = self.options, experience.index
        each = -(-options.index_batch_size // (task + 2))
        source: Any = WithNoise(Shuffled(experience.train, each, drop_last=True), (task + 1, each, options.latent))
        update = Update(
            loss=partial(self.classifier_loss, task=task),
            parameters=self.networks["classifiers"].parameters,
            name="index",
            optimizer=Optimizer(kind="adam", learning_rate=options.index_learning_rate),
        )
        return Phase(name="index", batches=source, updates=(update,), iterations=options.index_iterations, fresh=True)

    def mixture(self, batch: NoisyBatch, task: int) -> tuple[Tensor, Tensor]:
        """Images of all tasks: generated ones and, if they are to be seen, real ones of the newest.

        Args:
            batch: real images of the newest task, and noise for each task [task + 1, m, latent].
            task: the newest task.

        Returns:
            Images [n, C, H, W], and their tasks, int64 [n].
        """
        with torch.no_grad():
            generated = [self.generated(number, batch.noise[number]) for number in range(task + 1)]
        tasks = torch.arange(task + 1, device=batch.noise.device).repeat_interleave(batch.noise.shape[1])
        if self.options.index_images == "generated":
            return torch.cat(generated), tasks
        return torch.cat([*generated, self.images(batch.real)]), torch.cat([tasks, tasks.new_full((len(batch.real),), task)])

    def generated(self, task: int, noise: Tensor) -> Tensor:
        """What a finished generator makes of noise.

        Args:
            task: the generator's.
            noise: [B, latent].

        Returns:
            [B, C, H, W] in [-1, 1].
        """
        return self.networks["generators"][task].eval()(noise)  # type: ignore[index]

    def classifier_loss(self, batch: Any, task: int) -> Step:
        """Binary cross-entropy of each classifier so far, its own task's images and all others weighing alike.

        Args:
            batch: real images of the newest task, and noise for each task.
            task: the newest task, at least the second.

        Returns:
            The step.
        """
        images, tasks = self.mixture(batch, task)
        own = functional.one_hot(tasks, task + 1).to(images)
        weights = own / own.sum(0) + (1 - own) / (1 - own).sum(0)
        losses = functional.binary_cross_entropy_with_logits(self._classify(images, task + 1), own, weights / 2, reduction="sum")
        return Step(losses / (task + 1))

    def _classify(self, images: Tensor, learned: int) -> Tensor:
        classifiers: Any = self.networks["classifiers"]
        return torch.cat([classifiers[task](images) for task in range(learned)], 1)

    def scores(self, x: Tensor, learned: int) -> Tensor:
        """The classifiers' scores; one task needs none.

        Args:
            x: float [B, C, H, W], normalised as for the network.
            learned: how many tasks are known.

        Returns:
            [B, learned].
        """
        return self._classify(self.images(x), learned) if learned > 1 else x.new_zeros(len(x), 1)

    def samples(self, learned: int, number: int) -> Tensor:
        """What the generators remember.

        Args:
            learned: how many tasks are known.
            number: pictures of each.

        Returns:
            uint8 [learned, number, C, H, W].
        """
        noise = torch.randn(number, self.options.latent, generator=self.randomness.generator("h-net", "samples")).to(self.scale)
        with torch.no_grad():
            pictures = torch.stack([self.generated(task, noise.to(self.dtype)) for task in range(learned)])
        return ((pictures + 1) * 127.5).round().to(torch.uint8).cpu()


class SoftmaxIndex(GanIndex):
    """A generator for each task, and one classifier over the tasks."""

    def classifiers(self) -> nn.ModuleList:
        """Make the classifier.

        Returns:
            One, of which tasks not met yet have no say.
        """
        return nn.ModuleList([self._new(partial(self._critic, self.num_tasks), "classifier")])

    def classifier_loss(self, batch: Any, task: int) -> Step:
        """Cross-entropy over the tasks so far, each weighing alike.

        Args:
            batch: real images of the newest task, and noise for each task.
            task: the newest task, at least the second.

        Returns:
            The step.
        """
        images, tasks = self.mixture(batch, task)
        weights = 1 / torch.bincount(tasks, minlength=task + 1).to(images)
        return Step(functional.cross_entropy(self._classify(images, task + 1), tasks, weights))

    def _classify(self, images: Tensor, learned: int) -> Tensor:
        classifiers: Any = self.networks["classifiers"]
        return classifiers[0](images)[:, :learned]
