"""A network: a backbone of features and a head of full width with one block of parameters per experience.

The head is wide enough for all experiences from the start, so that no optimiser state is lost and nothing is recompiled. Blocks out of play
are not computed: their parameters have no gradient (None), and neither momentum nor weight decay moves them. Where examples of several
tasks are mixed, the blocks of all of them are computed, and each example looks at its own.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

import torch
from torch import Tensor, nn

from scenarios.errors import UserError
from strategies.networks.norms import is_frozen

OUT_OF_PLAY = -1e9
"""Logit of an output out of play: its softmax is exactly 0, and 0 times its logarithm still is 0, not NaN."""


@dataclass(frozen=True, kw_only=True)
class NetworkConfig:
    """Options that all networks share.

    Attributes:
        freeze: what is not trained: names of parameters (* stands for anything) or of parts (backbone); frozen batch norms keep their
            statistics too.
    """

    freeze: tuple[str, ...] | None = None


@dataclass(frozen=True, eq=False)
class Mixture:
    """Outputs in play where they differ by example.

    Attributes:
        mask: bool [B, K], which outputs are in play.
        blocks: the blocks that hold them all, in order; others are not computed.
    """

    mask: Tensor
    blocks: tuple[range, ...]

    @property
    def columns(self) -> list[int]:
        """The outputs of all blocks."""
        return [output for block in self.blocks for output in block]


InPlay = range | Mixture
"""The same outputs for all examples, or those of each."""


def narrowed(logits: Tensor, in_play: InPlay) -> Tensor:
    """Leave out the columns that are in play for no example.

    Args:
        logits: [B, K].
        in_play: the outputs in play.

    Returns:
        [B, C]; where tasks are mixed, still with `OUT_OF_PLAY`.
    """
    if isinstance(in_play, range):
        return logits[:, in_play.start : in_play.stop]
    return logits.index_select(1, torch.tensor(in_play.columns, device=logits.device))


def renumbered(y: Tensor, in_play: InPlay) -> Tensor:
    """The columns that targets have in `narrowed` logits.

    Args:
        y: int64 [B], outputs in play.
        in_play: the outputs in play.

    Returns:
        int64 [B].
    """
    if isinstance(in_play, range):
        return y - in_play.start
    return torch.searchsorted(torch.tensor(in_play.columns, device=y.device), y)


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

    def forward(self, features: Tensor, in_play: InPlay | None = None) -> Tensor:
        """Compute the logits.

        Args:
            features: [B, F].
            in_play: the outputs in play; None for all.

        Returns:
            [B, K]; `OUT_OF_PLAY` where an output is not in play.
        """
        whole = range(0, self.width)
        if isinstance(in_play, Mixture):
            return self._mixed(features, in_play)
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

    def _mixed(self, features: Tensor, in_play: Mixture) -> Tensor:
        columns = in_play.columns
        logits = self._blocks(features, [self.blocks[self.ranges.index(block)] for block in in_play.blocks])
        if columns[-1] - columns[0] + 1 == len(columns):
            logits = nn.functional.pad(logits, (columns[0], self.width - columns[-1] - 1))
        else:
            places = torch.tensor(columns, device=logits.device)
            logits = logits.new_zeros(len(logits), self.width).index_copy(1, places, logits)
        return logits.masked_fill(~in_play.mask, OUT_OF_PLAY)

    def _blocks(self, features: Tensor, chosen: list[Any]) -> Tensor:
        if len(chosen) == 1:
            return chosen[0](features)
        if any(block._forward_hooks or type(block) is not nn.Linear for block in chosen):
            # Whoever listens to a block's inputs and outputs must be called, and a block of another kind.
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
    needs_images = False
    """Whether features, which have neither height nor width, are nothing for it."""

    def __init__(self, backbone: nn.Module, num_features: int, blocks: Sequence[range]) -> None:
        super().__init__()
        self.backbone = backbone
        self.num_features = num_features
        self.head = Head(num_features, blocks)

    def freeze(self, patterns: Sequence[str]) -> None:
        """Take parameters out of training.

        Args:
            patterns: names of parameters (`*` stands for anything) or of parts (`backbone`, `backbone.0`).

        Raises:
            UserError: nothing is called so, or an experience would have nothing left to train.
        """
        parameters = dict(self.named_parameters())
        for pattern in patterns:
            found = [name for name in parameters if fnmatchcase(name, pattern) or name.startswith(f"{pattern}.")]
            if not found:
                known = ", ".join(list(parameters)[:4])
                raise UserError(f"network.freeze={pattern} is the name of no parameter; they are called {known}, ...; or freeze backbone")
            for name in found:
                parameters[name].requires_grad_(False)
        if any(not _trained(part) for part in self.head.blocks) and not _trained(self.backbone):
            raise UserError("network.freeze leaves nothing to be trained; freeze less, for instance the backbone alone")

    def train(self, mode: bool = True) -> Network:
        """Set the mode; batch norms that are not trained stay in evaluation mode.

        Args:
            mode: training or evaluation.

        Returns:
            This network.
        """
        # Evaluation mode is asked for with every batch of a test, and setting it takes longer than seeing that it is set.
        if mode or any(module.training for module in self.modules()):
            super().train(mode)
        if mode:
            for module in self.modules():
                if is_frozen(module):
                    module.eval()
        return self

    def features(self, x: Tensor) -> Tensor:
        """What the head sees.

        Args:
            x: float [B, C, H, W].

        Returns:
            [B, F].
        """
        return self.backbone(x)

    def forward(self, x: Tensor, in_play: InPlay | None = None) -> Tensor:
        """Compute the logits.

        Args:
            x: float [B, C, H, W].
            in_play: the outputs in play; None for all.

        Returns:
            [B, K]; `OUT_OF_PLAY` where an output is not in play.
        """
        return self.head(self.features(x), in_play)


def _trained(part: nn.Module) -> bool:
    return any(parameter.requires_grad for parameter in part.parameters())
