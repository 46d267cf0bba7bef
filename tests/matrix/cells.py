"""The matrix: every learner with every variant of a run, and the cells that are refused with their reasons."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from strategies.registry import strategies

QUICK: dict[str, dict[str, Any]] = {
    "naive": {},
    "joint": {},
    "replay": {"memory": 10, "batch_size": 3},
    "der": {"memory": 10, "batch_size": 3},
    "der++": {"memory": 10, "batch_size": 3},
    "er-ace": {"memory": 10, "batch_size": 3},
    "mir": {"memory": 10, "batch_size": 3, "candidates": 5},
    "agem": {"memory": 10, "batch_size": 3},
    "gem": {"memory": 9},
    "icarl": {"memory": 10},
    "bic": {"memory": 14, "bias_iterations": 2},
    "lucir": {"memory": 10},
    "gdumb": {"memory": 10},
    "cumulative": {},
    "packnet": {},
    "ewc+replay": {"memory": 10, "batch_size": 3},
    "lwf+replay": {"memory": 10, "batch_size": 3},
    "ncm": {},
    "slda": {},
    "ranpac": {"projections": 10},
    "dgr": {"latent": 2, "width": 4, "batch_size": 4},
    "lwf": {},
    "ewc": {},
    "online-ewc": {},
    "si": {},
    "mas": {},
    "kfac": {"factor_batches": 1},
    "xkfac": {"factor_batches": 1},
    "alasso": {},
    "rescl": {},
    "hnet-cnet": {"generator_iterations": 1, "index_iterations": 1, "index_width": 4, "latent": 2, "index_batch_size": 4},
}
"""Strategies for streams, with what makes them quick."""
MLP = {"name": "mlp", "hidden": (8,)}
NORMED = {**MLP, "norm": "batch"}
DEEP = {"name": "mlp", "hidden": (8, 8), "norm": "batch"}
BLURRED, ONE = {"blurry": 0.4}, {"classes": 3, "tasks": 3, "train_examples": 1}

STREAMS: dict[str, dict[str, Any]] = {
    "plain": {},
    "blurry": {"scenario": BLURRED},
    "blurry with norms": {"scenario": BLURRED, "network": NORMED},
    "gaussian": {"scenario": {"gaussian": 0.4}},
    "unequal": {"scenario": {"tasks": None, "classes_per_task": (3, 2, 1)}},
    "unbalanced and mislabelled": {"scenario": {"long_tail": 3.0, "label_noise": 0.25}},
    "repetition": {"scenario": {"name": "tiny-repetition", "slots": 2}},
    "online": {"scenario": {"online": True}, "train": {"batch_size": 8}},
    "validation share": {"scenario": {"validation_share": 0.25}},
    "few examples": {"scenario": {"train_examples": 3}},
    "one example": {"scenario": ONE},
    "one example with norms": {"scenario": ONE, "network": NORMED},
    "norms": {"network": NORMED},
    "a last batch of one": {"scenario": {"train_examples": 17}, "network": NORMED},
    "batches of one": {"train": {"batch_size": 1}, "scenario": {"train_examples": 4}},
    "batches of one with norms": {"train": {"batch_size": 1}, "network": NORMED},
    "bf16": {"train": {"precision": "bf16"}},
    "augmentation": {"train": {"augmentation": "crop-flip"}},
    "convolutions": {"network": {"name": "conv", "channels": (6, 6)}},
    "one experience": {"scenario": {"tasks": 1}},
    "one class an experience": {"scenario": {"classes": 3, "tasks": 3}},
    "permuted": {"scenario": {"name": "tiny-permuted", "tasks": 2}},
    "permuted and augmented": {"scenario": {"name": "tiny-permuted", "tasks": 2}, "train": {"augmentation": "crop"}},
    "own network without units": {"network": {"name": "tiny-plain"}},
    "own network with a frozen unit": {"network": {"name": "tiny-frozen"}},
    "own network of other layers": {"network": {"name": "tiny-attention"}},
    "first layer frozen": {"network": {**DEEP, "freeze": ("backbone.1",)}},
    "backbone frozen": {"network": {**MLP, "freeze": ("backbone",)}},
    "biases frozen": {"network": {**MLP, "freeze": ("*.bias",)}},
    "head frozen": {"network": {**MLP, "freeze": ("head",)}},
}
"""Variants of a run over a stream."""

ONLY_IN = {"packnet": ("task",), "rescl": ("task",), "er-ace": ("class",), "icarl": ("class",), "bic": ("class",), "lucir": ("class",)}
"""Strategies that do not work in every setting."""

UNTRAINED = ("ncm", "slda", "ranpac")
"""Strategies that leave the network as it is."""

CURVED, UNITS = ("kfac", "xkfac"), ("kfac", "xkfac", "rescl", "hnet-cnet")


def refusal(strategy: str, setting: str, variant: str) -> str | None:
    """What a cell is refused with; None where it runs."""
    if variant == "online" and setting == "task":
        return "a task label would"
    if variant == "repetition" and setting == "task":
        return "no task to be labelled"
    if variant == "unequal" and setting == "domain":
        return "equally many classes in every experience"
    if setting not in ONLY_IN.get(strategy, setting):
        return "does not work in setting"
    if variant == "online" and strategies.load(strategy)[0].needs_boundaries:
        return "must be told where an experience ends"
    if variant == "repetition" and strategy == "hnet-cnet" and setting == "class":
        return "here classes come back"
    if STREAMS[variant].get("scenario", {}).get("classes") == 3 and setting != "class":
        return "right by construction"
    if variant in ("batches of one", "one example", "one example with norms", "batches of one with norms") and strategy in CURVED:
        return "at least 2 examples"
    by_variant = {
        "batches of one with norms": "batch norm has nothing to normalise by in batches of one example",
        "one example with norms": "the only training example of experience 0",
    }
    by_cell = {
        **dict.fromkeys(
            ("blurry", "gaussian"),
            {"rescl": "two tasks that do not mix", "hnet-cnet": "one task at a time", "packnet": "one task at a time"},
        ),
        "own network without units": dict.fromkeys(UNITS, "lies in none; wrap each layer and its batch norm"),
        "own network of other layers": {
            **dict.fromkeys(UNITS, "lies in none; wrap each layer and its batch norm"),
            **dict.fromkeys(("ewc", "ewc+replay", "online-ewc", "mas"), "known for Linear, Conv2d and BatchNorm, not LayerNorm"),
        },
        "biases frozen": {**dict.fromkeys(UNITS, "or nothing of it"), "hnet-cnet": "leave network.freeze out"},
        "backbone frozen": {"rescl": "units that are trained, and this network has none", "hnet-cnet": "leave network.freeze out"},
        **dict.fromkeys(
            ("own network with a frozen unit", "first layer frozen", "head frozen"), {"hnet-cnet": "leave network.freeze out"}
        ),
    }
    if variant == "backbone frozen" and strategy in CURVED and setting == "task":
        return "none of them is trained"
    return by_cell.get(variant.removesuffix(" with norms"), {}).get(strategy) or by_variant.get(variant)


EPISODES = {"name": "digits", "ways": 2, "shots": 1, "queries": 2, "test_queries": 2, "test_episodes": 2}
SMALL = {"meta_batch": 1}
STEPS = {"inner_steps": 1, "test_steps": 1, **SMALL}
LEARNERS: dict[str, dict[str, Any]] = {
    **dict.fromkeys(("maml", "anil", "l2f", "cxgrad", "tapl", "metasgd", "reptile", "l2f+cxgrad+tapl"), STEPS),
    **dict.fromkeys(("protonet", "protonet-soft", "protonet-cluster", "protonet-masked", "label-propagation"), SMALL),
    **dict.fromkeys(("baseline", "baseline++"), {"test_steps": 2}),
    **dict.fromkeys(("ridge", "matchingnet", "relationnet", "tpn"), SMALL),
}
"""Learners of episodes, with what makes them quick."""
CONV4 = {"name": "conv4", "filters": 4}

EPISODIC: dict[str, dict[str, Any]] = {
    "plain": {},
    "no norms": {"network": MLP},
    "bn_mode support": {"strategy": {"bn_mode": "support"}, "network": CONV4},
    "bn_mode per-example": {"strategy": {"bn_mode": "per-example"}},
    "bn_mode running": {"strategy": {"bn_mode": "running"}},
    "unlabelled images": {"scenario": {"unlabelled": 1}},
    "distractors": {"scenario": {"unlabelled": 1, "distractors": 1}},
    "few labels": {"scenario": {"label_ratio": 0.5}},
    "varied ways and shots": {"scenario": {"ways": 3, "min_ways": 2, "shots": 2, "min_shots": 1, "imbalance": "dirichlet"}},
    "two domains": {"scenario": {"name": "episodes-digits-digits"}},
    "ensemble": {"evaluate": {"ensemble": 2, "validate_every": 1}},
    "bf16": {"train": {"precision": "bf16"}},
    "augmentation": {"train": {"augmentation": "crop"}},
    "batch size": {"train": {"batch_size": 8}},
    "residual network": {"network": {"name": "resnet32", "width": 4}},
    "own network that is no chain": {"network": {"name": "tiny-plain"}},
    "own network of other layers": {"network": {"name": "tiny-attention"}},
    "first layer frozen": {"network": {**DEEP, "freeze": ("backbone.1",)}},
    "own network with a frozen unit": {"network": {"name": "tiny-frozen"}},
}
"""Variants of a run over episodes."""


def episodic_refusal(strategy: str, variant: str) -> str | None:
    """What a cell is refused with; None where it runs."""
    if variant == "no norms":
        return "set network.norm=batch" if "cxgrad" in strategy else None
    return {
        "bf16": "compute in float32 alone",
        "augmentation": "leave train.augmentation out",
        "batch size": "set strategy.batch_size instead" if strategy.startswith("baseline") else "set strategy.meta_batch instead",
        "residual network": "cannot take Block apart",
        "own network that is no chain": "cannot take Plain apart",
        "own network of other layers": "cannot take LayerNorm apart",
        "first layer frozen": "leave network.freeze out",
        "own network with a frozen unit": "leave network.freeze out",
    }.get(variant)


def merged(*parts: Mapping[str, Any]) -> dict[str, Any]:
    """Put requests on top of each other, section by section."""
    sections = {name for part in parts for name in part}
    return {name: {key: value for part in parts for key, value in part.get(name, {}).items()} for name in sections}
