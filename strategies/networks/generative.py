"""Small networks that know how a task's images look: generator and critic of a GAN, and an autoencoder. Images lie in [-1, 1].

Generator and critic are convolutional after DCGAN (Radford et al. 2016, arXiv 1511.06434), from a quarter of the image's size by two
doublings, or fully connected, which takes a sixth of the time on one CPU core (15 instead of 92 ms for a step of 64 images of 28x28, of
generator and critic together, at widths 256 and 32). Critics are without batch norm, so that an image's score does not depend on others.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod
from typing import Literal, TypeVar

import torch
from torch import Tensor, nn

M = TypeVar("M", bound=nn.Module)
Kind = Literal["mlp", "conv"]
Shape = tuple[int, int, int]


def initialised(make: Callable[[], M], seed: int) -> M:
    """Make a module whose initial values depend on a seed alone.

    Args:
        make: makes it, drawing from the global generator.
        seed: of the initial values.

    Returns:
        The module, on the CPU; the global generator is as before.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return make()


def generator(kind: Kind, latent: int, width: int, shape: Shape) -> nn.Module:
    """A generator: from noise [B, latent] to images.

    Args:
        kind: fully connected, or convolutional.
        latent: length of the noise.
        width: of the hidden layers; channels of the last one where convolutional (the first has twice as many).
        shape: of an image, (C, H, W).

    Returns:
        The module, initialised from the global generator.
    """
    channels, height, across = shape
    if kind == "mlp":
        hidden = [_normalised(nn.Linear(inputs, width, bias=False), nn.BatchNorm1d(width)) for inputs in (latent, width)]
        return nn.Sequential(*hidden, nn.Linear(width, prod(shape)), nn.Tanh(), nn.Unflatten(1, shape))
    quarter = -(-height // 4), -(-across // 4)
    first, second, last = (
        nn.Linear(latent, 2 * width * prod(quarter), bias=False),
        nn.ConvTranspose2d(2 * width, width, 4, stride=2, padding=1, bias=False),
        nn.ConvTranspose2d(width, channels, 4, stride=2, padding=1),
    )
    for layer in (second, last):
        nn.init.normal_(layer.weight, std=0.02)
    start = nn.Sequential(first, nn.Unflatten(1, (2 * width, *quarter)))
    doublings = _normalised(start, nn.BatchNorm2d(2 * width)), _normalised(second, nn.BatchNorm2d(width))
    return nn.Sequential(*doublings, last, nn.Tanh(), Crop(height, across))


def critic(kind: Kind, width: int, shape: Shape, outputs: int) -> nn.Module:
    """A critic: from images to scores [B, outputs]; no batch norm.

    Args:
        kind: fully connected, or convolutional (for images of at least 4 pixels each way).
        width: of the hidden layers; channels of the first one where convolutional (the second has twice as many).
        shape: of an image, (C, H, W).
        outputs: scores for each image.

    Returns:
        The module, initialised from the global generator.
    """
    channels, height, across = shape
    if kind == "mlp":
        layers = nn.Linear(prod(shape), width), nn.LeakyReLU(0.2), nn.Linear(width, width), nn.LeakyReLU(0.2)
        return nn.Sequential(nn.Flatten(), *layers, nn.Linear(width, outputs))
    return nn.Sequential(
        nn.Conv2d(channels, width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Conv2d(width, 2 * width, 4, stride=2, padding=1),
        nn.LeakyReLU(0.2),
        nn.Flatten(),
        nn.Linear(2 * width * (height // 4) * (across // 4), outputs),
    )


def _normalised(layer: nn.Module, norm: nn.Module) -> nn.Module:
    return nn.Sequential(layer, norm, nn.ReLU())


class RunningMean(nn.Module):
    """A module that is trained, and the mean over the steps' weights (and statistics) that is kept instead.

    The mean is plain until it spans 1 / (1 - decay) steps and exponential from then on, so that nothing of the initial weights stays in it.

    Args:
        module: the one that is trained.
        decay: of the exponential mean; 0 keeps the last step's weights.
    """

    steps: Tensor

    def __init__(self, module: nn.Module, decay: float) -> None:
        super().__init__()
        self.module = module
        self.decay = decay
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))

    def begin(self, kept: nn.Module) -> None:
        """Begin to train from what is kept.

        Args:
            kept: a module of the same kind.
        """
        self.module.load_state_dict(kept.state_dict())
        self.steps.zero_()

    @torch.no_grad()
    def add_to(self, kept: nn.Module) -> None:
        """Take up the step that was just made.

        Args:
            kept: holds the mean.
        """
        self.steps += 1
        weight = self.steps.double().reciprocal().clamp(min=1 - self.decay)
        for mean, now in zip([*kept.parameters(), *kept.buffers()], [*self.module.parameters(), *self.module.buffers()]):
            if mean.is_floating_point():
                mean.lerp_(now, weight.to(mean))
            else:
                mean.copy_(now)


class Vae(nn.Module):
    """A variational autoencoder (Kingma & Welling 2014, arXiv 1312.6114) of images in [0, 1], each pixel a Bernoulli variable.

    Args:
        kind: fully connected, or convolutional (critic and generator as above, without the last tanh).
        latent: length of the code.
        width: of the hidden layers, or channels.
        shape: of an image, (C, H, W).
    """

    def __init__(self, kind: Kind, latent: int, width: int, shape: Shape) -> None:
        super().__init__()
        self.latent = latent
        self.encoder = critic(kind, width, shape, 2 * latent)
        if kind == "mlp":
            hidden = nn.Linear(latent, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
            self.decoder = nn.Sequential(*hidden, nn.Linear(width, prod(shape)), nn.Unflatten(1, shape))
        else:
            parts = generator(kind, latent, width, shape).children()
            self.decoder = nn.Sequential(*(part for part in parts if not isinstance(part, nn.Tanh)))

    def loss(self, images: Tensor, noise: Tensor) -> Tensor:
        """Negative evidence bounds, with one sample of each code.

        Args:
            images: [B, C, H, W] in [0, 1].
            noise: standard normal, [B, latent].

        Returns:
            [B]: cross-entropy summed over pixels, plus KL(code || N(0, I)).
        """
        mean, log_variance = self.encoder(images).chunk(2, 1)
        logits = self.decoder(mean + (log_variance / 2).exp() * noise)
        error = nn.functional.binary_cross_entropy_with_logits(logits, images, reduction="none").flatten(1).sum(1)
        return error + 0.5 * (mean**2 + log_variance.exp() - log_variance - 1).sum(1)

    @torch.no_grad()
    def imagine(self, noise: Tensor) -> Tensor:
        """Generate images, in evaluation mode.

        Args:
            noise: standard normal, [B, latent].

        Returns:
            [B, C, H, W], each pixel's mean.
        """
        return self.eval().decoder(noise).sigmoid()


class Crop(nn.Module):
    """The upper left part of images.

    Args:
        height: of the part.
        across: its width.
    """

    def __init__(self, height: int, across: int) -> None:
        super().__init__()
        self.height, self.across = height, across

    def forward(self, x: Tensor) -> Tensor:
        """Cut the part out.

        Args:
            x: [B, C, H, W].

        Returns:
            [B, C, height, across].
        """
        return x[:, :, : self.height, : self.across]


class Autoencoder(nn.Module):
    """Through a narrow code and back.

    Args:
        shape: of an image, (C, H, W).
        code: length of the code.
    """

    def __init__(self, shape: Shape, code: int) -> None:
        super().__init__()
        pixels, hidden = prod(shape), 4 * code
        self.layers = nn.Sequential(
            nn.Flatten(),
            nn.Linear(pixels, hidden),
            nn.ReLU(),
            nn.Linear(hidden, code),
            nn.Linear(code, hidden),
            nn.ReLU(),
            nn.Linear(hidden, pixels),
            nn.Tanh(),
            nn.Unflatten(1, shape),
        )

    def forward(self, images: Tensor) -> Tensor:
        """Reconstruct images.

        Args:
            images: [B, C, H, W] in [-1, 1].

        Returns:
            [B, C, H, W] in [-1, 1].
        """
        return self.layers(images)
