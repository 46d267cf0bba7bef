"""The strategies that there are. Reading this imports no torch."""

from __future__ import annotations

from scenarios.registry import Registry, Row

strategies = Registry(
    "strategy",
    [
        Row("naive", "fine-tuning on each experience in turn", "strategies.naive:Naive"),
        Row("joint", "the upper bound: retrained on all data seen so far", "strategies.joint:Joint"),
        Row("replay", "experience replay from a reservoir", "strategies.replay:Replay"),
        Row("lwf", "Learning without Forgetting: distillation from the old network", "strategies.lwf:Lwf"),
        Row("rescl", "ResCL: residual combination of source and target, merged at the end", "strategies.rescl:ResCL"),
    ],
)
