"""The defences that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

defences = Registry(
    "defence",
    [
        Row("noise", "Gaussian noise on the training images", "strategies.defences.noise:Noise"),
    ],
)
