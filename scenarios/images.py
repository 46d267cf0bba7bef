"""Image sets: what every source decodes to, once. A set of features is one of images of a single pixel with a channel a feature."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from math import prod

import torch
from torch import Tensor


@dataclass(frozen=True, eq=False)
class ImageSet:
    """Labelled images of one shape, or features, in one tensor.

    Attributes:
        name: the set's name, for instance `cifar10`.
        images: uint8 [N, C, H, W], usually a memory map of the cache; features are float32 or float16 [N, F, 1, 1].
        labels: int64 [N], class indices 0..len(class_names)-1.
        class_names: the classes.
        origin: `real`, `embedded` or `generated`.
        fingerprint: SHA-256 of pixels and labels, hexadecimal.
        verified: whether the files had the published checksums; True for embedded and generated sets.
        poisoned: whether an adversary has altered some of the images.
        groups: a coarse group (superclass, alphabet, base character) of each class, where the set has them.
        sections: how many images each recording session has, where they lie session by session.
    """

    name: str
    images: Tensor
    labels: Tensor
    class_names: tuple[str, ...]
    origin: str
    fingerprint: str
    verified: bool = True
    groups: tuple[str, ...] | None = None
    poisoned: bool = False
    sections: tuple[int, ...] | None = None
    _copies: dict[torch.device, Tensor] = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.images)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of one image, (C, H, W)."""
        return tuple(self.images.shape[1:])  # type: ignore[return-value]

    @property
    def are_features(self) -> bool:
        """Whether these are features, not images."""
        return self.images.dtype.is_floating_point

    @property
    def bytes_each(self) -> int:
        """What one of them takes in memory."""
        return prod(self.images.shape[1:]) * self.images.element_size()

    def images_on(self, device: torch.device) -> Tensor:
        """The images on a device; copied once, then kept.

        Args:
            device: where they are wanted.

        Returns:
            uint8 [N, C, H, W].
        """
        if self.images.device == device:
            return self.images
        if device not in self._copies:
            self._copies[device] = self.images.to(device)
        return self._copies[device]

    def select(self, indices: Tensor, fingerprint: str) -> ImageSet:
        """A smaller set.

        Args:
            indices: int64 [n], which images.
            fingerprint: the new set's fingerprint.

        Returns:
            The set of these images, in this order.
        """
        chosen = {"images": self.images[indices], "labels": self.labels[indices], "sections": None}
        return replace(self, **chosen, fingerprint=fingerprint, _copies={})  # type: ignore[arg-type]
