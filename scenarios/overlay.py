"""Altered images beside a storage: what an adversary changes is written here, and nothing that did not change is copied.

An altered example is a row beyond those of the image set. It names the row that it comes from and holds what is added to that image as its
experience sees it (behind permutation or rotation, before augmentation), modulo 256: any picture can be written so, exactly. Selections,
replay memories and batches hold such rows like all others, and a checkpoint that remembers rows remembers them.
"""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor


class Overlay:
    """The altered images of one storage.

    Args:
        first: rows of the storage's image set; altered images are numbered from here.
        shape: of an image, (C, H, W).
        device: where batches are made.

    Attributes:
        base: int64 [k], the row that each altered image comes from.
        deltas: uint8 [k, C, H, W], what is added to it, modulo 256.
    """

    def __init__(self, first: int, shape: tuple[int, int, int], device: torch.device) -> None:
        self.first = first
        self.base = torch.zeros(0, dtype=torch.int64, device=device)
        self.deltas = torch.zeros(0, *shape, dtype=torch.uint8, device=device)

    def __len__(self) -> int:
        return len(self.base)

    def add(self, base: Tensor, deltas: Tensor) -> Tensor:
        """Take altered images up.

        Args:
            base: int64 [m], the rows that they come from, all of the image set.
            deltas: uint8 [m, C, H, W], what is added, modulo 256.

        Returns:
            int64 [m], their rows.
        """
        rows = self.first + len(self) + torch.arange(len(base), device=self.base.device)
        self.base = torch.cat([self.base, base.to(self.base.device)])
        self.deltas = torch.cat([self.deltas, deltas.to(self.deltas.device)])
        return rows

    def origin(self, rows: Tensor) -> Tensor:
        """The rows of the image set behind rows.

        Args:
            rows: int64 [B].

        Returns:
            int64 [B]; those of the image set as they are.
        """
        if not len(self):
            return rows
        places = (rows - self.first).clamp_min(0)
        return torch.where(rows >= self.first, self.base[places], rows)

    def apply(self, pixels: Tensor, rows: Tensor) -> Tensor:
        """Alter what is altered in a batch.

        Args:
            pixels: uint8 [B, C, H, W], the origins as their experience sees them.
            rows: int64 [B].

        Returns:
            uint8 [B, C, H, W].
        """
        chosen = torch.nonzero(rows >= self.first).flatten()
        if not len(chosen):
            return pixels
        return pixels.index_copy(0, chosen, pixels.index_select(0, chosen) + self.deltas[rows[chosen] - self.first])


def fingerprint(*tensors: Tensor) -> str:
    """A digest of tensors.

    Args:
        tensors: on any device.

    Returns:
        SHA-256 of types, shapes and content, hexadecimal.

    Example:
        >>> fingerprint(torch.zeros(2)) == fingerprint(torch.zeros(2)) != fingerprint(torch.zeros(1, 2))
        True
    """
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(f"{tensor.dtype}{tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()
