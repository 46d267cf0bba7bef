"""The adversaries that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

attacks = Registry(
    "attack",
    [
        Row(
            "task-poison",
            "damages a chosen earlier experience through a later one's images (after Han et al. 2023)",
            "strategies.attacks.task_poison:TaskPoison",
            label="reconstruction",
        ),
        Row("noise", "control: random signs of size epsilon, or a random direction of that length", "strategies.attacks.noise:Noise"),
        Row("availability", "control: raises the loss of the altered experience itself", "strategies.attacks.availability:Availability"),
        Row(
            "label-flip",
            "control: the target's images join a later experience, wrongly labelled",
            "strategies.attacks.label_flip:LabelFlip",
        ),
        Row(
            "corruption", "control: common image corruptions, severity 1 to 5, knowing nothing", "strategies.attacks.corruption:Corruption"
        ),
    ],
)
