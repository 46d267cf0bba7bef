"""Quarter turns as classes of their own: how Omniglot's characters are multiplied by four (Santoro et al. 2016)."""

from __future__ import annotations

import torch
from torch import Tensor

from scenarios.experience import View


class QuarterTurns(View):
    """Each image is turned by as many quarters as its task label says, counter-clockwise."""

    def __call__(self, images: Tensor, tasks: Tensor, task: int | None) -> Tensor:
        """Turn the images of a batch.

        Args:
            images: uint8 [B, C, H, H].
            tasks: int64 [B], quarter turns of each, 0..3.
            task: not used.

        Returns:
            uint8 [B, C, H, H].
        """
        turns = tasks[:, None, None, None]
        half = torch.where(turns >= 2, images.flip(2, 3), images)
        return torch.where(turns % 2 == 1, half.transpose(2, 3).flip(2), half)
