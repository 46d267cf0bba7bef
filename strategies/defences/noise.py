"""Gaussian noise on training images, in which what a small perturbation says drowns.

Borgnia et al. 2021, *DP-InstaHide* (arXiv 2103.02079), for the idea of noise against poisons.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from scenarios.experience import Batch
from scenarios.options import option
from strategies.defences.defence import Defence


@dataclass(frozen=True, kw_only=True)
class NoiseConfig:
    """Options of `noise`.

    Attributes:
        sigma: standard deviation of the noise; pixels are in [0, 1].
    """

    sigma: float = option(0.25, low=0)


class Noise(Defence):
    """Gaussian noise on every training batch; test images stay as they are."""

    Config = NoiseConfig

    def transform(self, batch: Batch, generator: torch.Generator) -> Batch:
        """Add noise.

        Args:
            batch: the batch.
            generator: of this step.

        Returns:
            The noisy batch; pixels are not cut to [0, 1].
        """
        scale = self.setup.scenario.experiences[0].train.storage.scale
        noise = torch.randn(batch.x.shape, generator=generator).to(batch.x)
        return batch._replace(x=batch.x + 255 * self.config.sigma * scale * noise)

    def seen(self, pixels: Tensor, generator: torch.Generator) -> Tensor:
        """Images under noise of the same size.

        Args:
            pixels: [B, C, H, W] in [0, 1].
            generator: of the adversary's.

        Returns:
            [B, C, H, W].
        """
        return pixels + self.config.sigma * torch.randn(pixels.shape, generator=generator).to(pixels)
