"""A scenario to select options on: its test streams are replaced by its validation streams, so that nothing can read a test example.

Protocols (a run's entry `selection`): `final` and `target-only` keep the whole stream, `first-K` its first K experiences. What is made of
the accuracies is told by `runs.sweep.protocols`.
"""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from scenarios.errors import UserError, nearest, shortened

PROTOCOLS = ("final", "target-only", "first-K")


def first(protocol: str) -> int | None:
    """How many experiences a protocol looks at.

    Args:
        protocol: its name.

    Returns:
        The number; None for all.

    Raises:
        UserError: there is no such protocol.

    Example:
        >>> first("first-3"), first("final")
        (3, None)
    """
    found = re.fullmatch(r"first-([1-9]\d{0,5})", protocol)
    if not found and protocol not in PROTOCOLS[:2]:
        raise UserError(f"there is no selection protocol '{shortened(protocol)}'{nearest(protocol, PROTOCOLS)}")
    return int(found[1]) if found else None


def held_out(scenario: Any, protocol: str) -> Any:
    """Replace what a scenario is judged on.

    Args:
        scenario: a stream of experiences, or of domains of episodes.
        protocol: how options are selected.

    Returns:
        The scenario, tested on what its experiences hold for validation.

    Raises:
        UserError: the stream is shorter than the protocol needs, or has nothing for validation.
    """
    count = first(protocol)
    if count is not None and count > len(scenario.experiences):
        raise UserError(f"selection {protocol} needs {count} experiences, and '{scenario.name}' has {len(scenario.experiences)}")
    kept = scenario.experiences[:count]
    if scenario.setting != "episodic" and any(not len(experience.validation) for experience in kept):
        raise UserError("options are selected on validation examples, and there are none; add scenario.validation_share=0.1")
    return replace(scenario, experiences=tuple(replace(experience, test=experience.validation) for experience in kept))
