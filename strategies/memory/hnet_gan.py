"""Index modules that generate: one generator for each task stands for its images when they are gone (see `hnet`).

When task J comes, a generator G_J learns its images and is frozen; the classifiers are then trained on what G_1..G_J generate. `gan` has a
binary classifier B_i for each task: task i is positive, all else negative, both sides count alike, and J = argmax_i B_i(x). `softmax` has
one classifier over the tasks.

Known of the paper's H-net, from one second-hand summary of the method's text: a GAN for each task, a binary classifier B_i that learns
whether an image resembles what *its generator* makes, and the argmax. Nothing there mentions real images for the classifiers, so
`index_images=generated` is the reading that is closest to it; `both` is ours. Networks, losses, steps and step sizes are INFERRED. Five
things are ours, switched off by 0 (pool: 1); without the first four, generators of minutes are told from real images by their background:

    index_pool                the H-net looks at images averaged over 2 x 2 pixels,
    generator_average         kept is the mean over the steps' weights, plain at first, then exponential,
    generator_reconstruction  an encoder E, dropped after the task, adds to the generator's non-saturating loss
                              weight * mean over images of |G(E(x)) - x|^2 + KL(E(x) || N(0, I)), as in VAE/GAN (Larsen et al. 2016),
    index_noise               noise on the pixels that the classifiers are trained on, so that they do not go by what only generators do,
    index_confidence          J = argmax_i log p_i(x) + weight * max_c log p(c | x, i), with p_i from B_i and p(c | x, i) from the C-net's
                              part of task i: an image that a part is sure of is rather its own.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any, NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from scenarios.batches import GeneratorFor, Shuffled
from scenarios.experience import Experience
from strategies.memory.hnet import IndexModule, as_pictures
from strategies.networks.generative import RunningMean, critic, generator
from strategies.phase import Optimizer, Phase, Schedule, Step, Update


class NoisyBatch(NamedTuple):
    """Real images and noise to make others from.

    Attributes:
        real: float [B, C, H, W], normalised as for the network.
        noise: float [n, m, latent].
        pixels: float [k, C', H', W'], noise for the pixels that classifiers see; k is 0 where there is none.
    """

    real: Tensor
    noise: Tensor
    pixels: Tensor


@dataclass(frozen=True, eq=False)
class WithNoise:
    """Passes over real images with noise beside them.

    Attributes:
        images: the real images.
        shape: of the noise in a batch.
        pixels: shape of the noise for pixels.
    """

    images: Shuffled
    shape: tuple[int, int, int]
    pixels: tuple[int, int, int, int] = (0, 0, 0, 0)

    def __len__(self) -> int:
        return len(self.images)

    def epoch(self, generator_for: GeneratorFor) -> Iterator[NoisyBatch]:
        """One pass over the real images.

        Args:
            generator_for: gives the generator of a purpose for this pass.

        Yields:
            The batches.
        """
        noise, pixels = generator_for("noise"), generator_for("pixel noise")
        for batch in self.images.epoch(generator_for):
            drawn = torch.randn(self.shape, generator=noise), torch.randn(self.pixels, generator=pixels)
            yield NoisyBatch(batch.x, *(part.to(batch.x) for part in drawn))


class GanIndex(IndexModule):
    """A generator and a binary classifier for each task; the highest score names the task."""

    def build(self) -> nn.ModuleDict:
        """Make what is kept, generators and classifiers, and what learns: a generator and its mean, critic, encoder and classifiers.

        Returns:
            The networks; what is kept from task to task is in lists of packed ones.
        """
        options = self.options
        makes = self.classifiers()
        parts = {
            "generators": nn.ModuleList(self._packed(self._generator, "generator", task) for task in range(self.num_tasks)),
            "classifiers": nn.ModuleList(self._packed(*made) for made in makes),
            "learning": nn.ModuleDict({str(number): self._new(*made) for number, made in enumerate(makes)}),
            "critic": self._new(self._critic, "critic", 0),
            "mean": self._new(self._generator, "generator", 0),
            "learner": RunningMean(self._new(self._generator, "generator", 0), options.generator_average),
        }
        if options.generator_reconstruction:
            parts["encoder"] = self._new(self._encoder, "encoder", 0)
        return nn.ModuleDict(parts)

    def classifiers(self) -> list[tuple[Any, ...]]:
        """Say what classifiers there are.

        Returns:
            For each task what makes its classifier, and the purpose of its initial values.
        """
        return [(self._critic, "classifier", task) for task in range(self.num_tasks)]

    def _generator(self) -> nn.Module:
        options = self.options
        return generator(options.index_network, options.latent, options.index_width, self.shape)

    def _critic(self, outputs: int = 1) -> nn.Module:
        return critic(self.options.index_network, self.options.index_width, self.shape, outputs)

    def _encoder(self) -> nn.Module:
        return self._critic(2 * self.options.latent)

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
        kept: Any = self.networks["generators"]
        judge, mean = self.networks["critic"], self.networks["mean"]
        learner: Any = self.networks["learner"]
        encoder = self.networks["encoder"] if options.generator_reconstruction else None
        adam = Optimizer(kind="adam", learning_rate=options.generator_learning_rate, betas=(0.5, 0.999))

        def begin() -> None:
            judge.load_state_dict(self._new(self._critic, "critic", task).state_dict())
            if encoder is not None:
                encoder.load_state_dict(self._new(self._encoder, "encoder", task).state_dict())
            mean.load_state_dict(self._new(self._generator, "generator", task).state_dict())
            learner.begin(mean)

        def judge_loss(batch: Any) -> Step:
            with torch.no_grad():
                generated = learner.module(batch.noise[0])
            return Step(functional.softplus(-judge(self.images(batch.real))).mean() + functional.softplus(judge(generated)).mean())

        updates = (
            Update(loss=judge_loss, parameters=judge.parameters, name="critic", optimizer=adam),
            Update(
                loss=self.generator_loss,
                parameters=lambda: [*learner.module.parameters(), *(encoder.parameters() if encoder is not None else ())],
                name="generator",
                optimizer=adam,
                after_step=partial(learner.add_to, mean),
            ),
        )
        noise = (2 if encoder is None else 3, options.index_batch_size, options.latent)
        source: Any = WithNoise(Shuffled(experience.train, options.index_batch_size, drop_last=True), noise)
        steps, end = options.generator_iterations, partial(kept[task].keep, mean)
        return Phase(name="generator", batches=source, updates=updates, iterations=steps, begin=begin, end=end, fresh=True)

    def generator_loss(self, batch: Any) -> Step:
        """The non-saturating loss of the generator that is being trained, and the encoder's term where there is one.

        Args:
            batch: real images of the task, and three portions of noise, the second to generate from and the third for codes.

        Returns:
            The step.
        """
        judge: Any = self.networks["critic"]
        made = cast(RunningMean, self.networks["learner"]).module
        weight = self.options.generator_reconstruction
        if not weight:
            return Step(functional.softplus(-judge(made(batch.noise[1]))).mean())
        images = self.images(batch.real)
        mean, log_variance = self.networks["encoder"](images).chunk(2, 1)
        codes = mean + (log_variance / 2).exp() * batch.noise[2, : len(images)]
        free, rebuilt = made(torch.cat([batch.noise[1], codes])).split([len(batch.noise[1]), len(images)])
        error = (rebuilt - images).square().flatten(1).sum(1) + 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(1)
        return Step(functional.softplus(-judge(free)).mean() + weight * error.mean())

    def _classifier_phase(self, experience: Experience) -> Phase:
        options, task = self.options, experience.index
        portions = task + 1 + (options.index_images == "both")
        each = -(-options.index_batch_size // portions)
        pixels = (portions * each if options.index_noise else 0, *self.shape)
        source: Any = WithNoise(Shuffled(experience.train, each, drop_last=True), (task + 1, each, options.latent), pixels)
        kept: Any = self.networks["classifiers"]
        learning = list(cast(nn.ModuleDict, self.networks["learning"]).values())

        def begin() -> None:
            for classifier, known in zip(learning, kept):
                classifier.load_state_dict(known.restored())

        def end() -> None:
            for classifier, known in zip(learning, kept):
                known.keep(classifier)

        update = Update(
            loss=partial(self.classifier_loss, task=task),
            parameters=self.networks["learning"].parameters,
            name="index",
            optimizer=Optimizer(kind="adam", learning_rate=options.index_learning_rate, schedule=Schedule(kind="cosine")),
        )
        steps = options.index_iterations
        return Phase(name="index", batches=source, updates=(update,), iterations=steps, begin=begin, end=end, fresh=True)

    def mixture(self, batch: NoisyBatch, task: int) -> tuple[Tensor, Tensor]:
        """Images of all tasks, with noise on their pixels: generated ones and, if they are to be seen, real ones of the newest.

        Args:
            batch: real images of the newest task, noise for each task [task + 1, m, latent], and noise for the pixels.
            task: the newest task.

        Returns:
            Images [n, C, H, W], and their tasks, int64 [n].
        """
        with torch.no_grad():
            shown = [self.generated(number, batch.noise[number]) for number in range(task + 1)]
        tasks = torch.arange(task + 1, device=batch.noise.device).repeat_interleave(batch.noise.shape[1])
        if self.options.index_images == "both":
            shown.append(self.images(batch.real))
            tasks = torch.cat([tasks, tasks.new_full((len(batch.real),), task)])
        images = torch.cat(shown)
        return (images + self.options.index_noise * batch.pixels[: len(images)] if len(batch.pixels) else images), tasks

    def generated(self, task: int, noise: Tensor) -> Tensor:
        """What a finished generator makes of noise.

        Args:
            task: the generator's.
            noise: [B, latent].

        Returns:
            [B, C, H, W] in [-1, 1].
        """
        return self.networks["generators"][task](noise)  # type: ignore[index]

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
        scores = self._classify("learning", images, task + 1)
        losses = functional.binary_cross_entropy_with_logits(scores, own, weights / 2, reduction="sum")
        return Step(losses / (task + 1))

    def _classify(self, which: str, images: Tensor, learned: int) -> Tensor:
        classifiers = list(self.networks[which].children())
        return torch.cat([each(images) for each in classifiers[:learned]], 1)

    def scores(self, x: Tensor, learned: int) -> Tensor:
        """The classifiers' scores, logarithms of probabilities; one task needs none.

        Args:
            x: float [B, C, H, W], normalised as for the network.
            learned: how many tasks are known.

        Returns:
            [B, learned].
        """
        return self._log_probabilities(self._classify("classifiers", self.images(x), learned)) if learned > 1 else x.new_zeros(len(x), 1)

    def _log_probabilities(self, scores: Tensor) -> Tensor:
        return functional.logsigmoid(scores)

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
        return as_pictures(pictures)


class SoftmaxIndex(GanIndex):
    """A generator for each task, and one classifier over the tasks."""

    def classifiers(self) -> list[tuple[Any, ...]]:
        """Say what classifier there is.

        Returns:
            One, of which tasks not met yet have no say.
        """
        return [(partial(self._critic, self.num_tasks), "classifier")]

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
        return Step(functional.cross_entropy(self._classify("learning", images, task + 1), tasks, weights))

    def _classify(self, which: str, images: Tensor, learned: int) -> Tensor:
        (classifier,) = self.networks[which].children()
        return classifier(images)[:, :learned]

    def _log_probabilities(self, scores: Tensor) -> Tensor:
        return scores.log_softmax(1)
