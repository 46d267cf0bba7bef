"""What a stream or a scenario of episodes recommends where the user says nothing: it follows from a few facts about the images.

A finished run names these facts, so that its whole configuration can be held against today's without the data.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def for_streams(data: Mapping[str, Any]) -> dict[str, object]:
    """What suits a stream of experiences.

    Args:
        data: with `shape`, that of an image (C, H, W), and `examples`, the number of training images; with `roles`, if it is a transfer,
            `kind`, if these are features, and `online`, if it is an online stream (batches of 10: Aljundi et al. 2019).

    Returns:
        Options of a run (path to value).
    """
    if "roles" in data:
        # What is left of the source is measured by someone who tries to steal it back; one of few passes would not have learned it at all.
        epochs = 10 if data["shape"][0] == 1 else 15
        plain = {key: value for key, value in data.items() if key != "roles"}
        return {**for_streams(plain), "train.epochs": epochs, "probe": "piggyback"}
    if data.get("online"):
        offline = for_streams({key: value for key, value in data.items() if key != "online"})
        return {**offline, "train.epochs": 1, "train.batch_size": 10, "train.schedule": "constant"}
    if data.get("kind") == "features":
        return {"network": "mlp", "train.optimizer": "adam", "train.learning_rate": 1e-3}
    if data["shape"][0] == 1:
        small = data["examples"] < 5000
        return {"network": "mlp", "train.optimizer": "adam", "train.learning_rate": 1e-3, "train.epochs": 20 if small else 2}
    recommended: dict[str, object] = {"network": "conv", "train.optimizer": "sgd", "train.learning_rate": 0.02}
    if data["examples"] < 50000:
        # So few steps at a constant rate end wherever the last ones throw the network: its accuracy changed by 10 points with the rounding.
        return {**recommended, "train.epochs": 4, "train.schedule": "cosine"}
    return {**recommended, "train.epochs": 5}


def for_episodes(data: Mapping[str, Any]) -> dict[str, object]:
    """What suits a scenario of episodes.

    Args:
        data: with `shape`, that of an image (C, H, W), and `origin`.

    Returns:
        Options of a run (path to value).
    """
    if data["shape"][1] < 16:
        return {"network": "mlp"}
    if data["origin"] != "embedded":
        return {"network": "conv4"}
    # What is embedded is there to be tried out at once: minutes on two cores, not hours.
    network = {"network": "conv4", "network.filters": 16, "network.downsample": "stride"}
    return {**network, "train.iterations": 480, "train.learning_rate": 0.003, "train.schedule": "cosine"}
