"""Options that another option leaves without effect: giving them is a mistake, and told."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from scenarios.errors import UserError

OF_OPTIMIZER = (
    "optimizer", "optimizer_options", "learning_rate", "momentum", "weight_decay",
    "schedule", "schedule_milestones", "schedule_factor", "warmup", "reset_optimizer",
)  # fmt: skip
"""Options of `train` about the optimiser."""

MEASURED_IN_EPISODES = {"batch_size": "a step of a learner of episodes is a meta-batch; set strategy.meta_batch instead"}
"""What a learner of episodes does not read of `train`."""


def refuse_unread(config: Any, section: str, readers: Mapping[str, tuple[bool, str]]) -> None:
    """Refuse options that were given and are not read.

    Args:
        config: the options, an instance of a dataclass with defaults.
        section: what they are called for the user.
        readers: for an option, whether it is read, and the setting that reads it.

    Raises:
        UserError: an option that is not read differs from its default.
    """
    for field in dataclasses.fields(config):
        read, where = readers.get(field.name, (True, ""))
        if not read and getattr(config, field.name) != field.default:
            raise UserError(f"{section}.{field.name} is read with {section}.{where} alone; leave it out, or set that")
