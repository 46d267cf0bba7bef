"""A network: a backbone of features and a head of full width with one block of parameters per experience.

The head is wide enough for all experiences from the start, so that no optimiser state is lost and nothing is recompiled. Blocks out of play
are not computed: their parameters have no gradient (None), and neither momentum nor weight decay moves them.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

OUT_OF_PLAY = -1e9
"""Logit of an output out of play: its softmax is exactly 0, and 0 times its logarithm still is 0, not NaN."""


class Head(nn.Module):
    """Linear outputs in blocks.

    Args:
        num_features: width of the features.
        blocks: contiguous ranges of outputs, from 0.
    """

    def __init__(self, num_features: int, blocks: Sequence[range]) -> None:
        super().__init__()
        self.ranges = tuple(blocks)
        self.width = max(block.stop for block in blocks)
        self.blocks = nn.ModuleList(nn.Linear(num_features, len(block)) for block in blocks)

    def forward(self, features: Tensor, in_play: range | Tensor | None = None) -> Tensor:
        """Compute the logits.

        Args:
            features: [B, F].
            in_play: the outputs in play; bool [B, K] where they differ by example; None for all.

        Returns:
            [B, K]; `OUT_OF_PLAY` where an output is not in play.
        """
        whole = range(0, self.width)
        if isinstance(in_play, Tensor):
            return self.narrow(features, whole).masked_fill(~in_play, OUT_OF_PLAY)
        if in_play is None or in_play == whole:
            return self.narrow(features, whole)
        return nn.functional.pad(self.narrow(features, in_play), (in_play.start, self.width - in_play.stop), value=OUT_OF_PLAY)

    def narrow(self, features: Tensor, wanted: range) -> Tensor:
        """Compute the logits of whole blocks alone.

        Args:
            features: [B, F].
            wanted: the outputs of one or more adjacent blocks.

        Returns:
            [B, len(wanted)].
        """
        pairs = zip(self.blocks, self.ranges)
        chosen: list[Any] = [block for block, outputs in pairs if outputs.start < wanted.stop and wanted.start < outputs.stop]
        return self._blocks(features, chosen)

    def _blocks(self, features: Tensor, chosen: list[nn.Linear]) -> Tensor:
        if len(chosen) == 1:
            return chosen[0](features)
        if any(block._forward_hooks for block in chosen):
            # Whoever listens to a block's inputs and outputs must be called.
            return torch.cat([block(features) for block in chosen], 1)
        # One product of all blocks: several narrow ones cost five times as much.
        weight, bias = torch.cat([block.weight for block in chosen]), torch.cat([block.bias for block in chosen])
        return nn.functional.linear(features, weight, bias)


class Network(nn.Module):
    """A backbone and a head.

    Args:
        backbone: from [B, C, H, W] to features [B, F].
        num_features: F.
        blocks: contiguous ranges of outputs, from 0.
    """

    channels_last = False
    """Whether the backbone is quicker on batches laid out channels last."""

    def __init__(self, backbone: nn.Module, num_features: int, blocks: Sequence[range]) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_features = num_features
        self.head = Head(num_features, blocks)

    def features(self, x: Tensor) -> Tensor:
        """What the head sees.

        Args:
            x: float [B, C, H, W].

        Returns:
            [B, F].
        """
        return self.backbone(x)

    def forward(self, x: Tensor, in_play: range | Tensor | None = None) -> Tensor:
        """Compute the logits.

        Args:
            x: float [B, C, H, W].
            in_play: the outputs in play; bool [B, K] where they differ by example; None for all.

        Returns:
            [B, K]; `OUT_OF_PLAY` where an output is not in play.
        """
        return self.head(self.features(x), in_play)
