"""The augmentations that there are, by name; what they do is in `scenarios.batches`. Reading this imports no torch."""

from __future__ import annotations

from typing import Literal

Augmentation = Literal["none", "flip", "crop", "crop-flip"]
