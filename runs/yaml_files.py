"""YAML that strangers wrote: read in bounded time and memory, and refused in one line where it is not plain values."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

import yaml

from scenarios.errors import UserError, shortened

LARGEST = 8 * 2**20
"""Bytes of a file that is read."""
MOST_VALUES = 200_000
"""Values of a file, each counted as often as it is referred to: nine lists of nine aliases of each other are four hundred million."""


class _Loader(yaml.SafeLoader):
    """The safe loader; a key that is given twice is an error, and so are values that grow without bound."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            name = (key.tag, key.value) if isinstance(key, yaml.ScalarNode) else None
            if name in seen and key.tag != "tag:yaml.org,2002:merge":
                raise yaml.constructor.ConstructorError(None, None, f"'{shortened(key.value)}' is given twice", key.start_mark)
            seen.add(name)
        return super().construct_mapping(node, deep)

    def get_single_node(self) -> Any:
        node = super().get_single_node()
        if node is not None and _count(node, {}) > MOST_VALUES:
            raise yaml.YAMLError(f"it holds more than {MOST_VALUES} values, repeated ones counted")
        return node


def load(path: Path, purpose: str) -> Any:
    """Read a YAML file.

    Args:
        path: the file.
        purpose: what to give instead, the end of a message.

    Returns:
        Plain values.

    Raises:
        UserError: it cannot be read, or is not YAML of a reasonable size.
    """
    try:
        with path.open("rb") as file:
            content = file.read(LARGEST + 1)
    except (OSError, ValueError) as error:
        raise UserError(f"cannot read {shortened(path, 200)} ({getattr(error, 'strerror', None) or error}); {purpose}") from error
    if len(content) > LARGEST:
        raise UserError(f"{path} is larger than {LARGEST // 2**20} MiB; {purpose}")
    try:
        return yaml.load(content.decode("utf-8-sig"), _Loader)
    except yaml.MarkedYAMLError as error:
        where = f"line {error.problem_mark.line + 1}: " if error.problem_mark else ""
        raise UserError(f"{path} is not YAML ({where}{shortened(error.problem, 100)}); {purpose}") from error
    except RecursionError as error:
        raise UserError(f"{path} is not YAML that can be used (it is nested too deeply); {purpose}") from error
    except (yaml.YAMLError, ValueError, OverflowError, TypeError, AttributeError) as error:
        # Not the first three alone: a date of month 13 is a ValueError of the loader's, a key that is a list a TypeError.
        raise UserError(f"{path} is not YAML ({shortened(error, 100)}); {purpose}") from error


def _count(node: yaml.Node, known: dict[int, int]) -> int:
    # A node that contains itself counts as too many.
    if id(node) not in known:
        known[id(node)] = MOST_VALUES + 1
        parts = node.value if isinstance(node, yaml.CollectionNode) else ()
        flat = [part for pair in parts for part in pair] if isinstance(node, yaml.MappingNode) else parts
        known[id(node)] = 1 + sum(_count(part, known) for part in flat)
    return known[id(node)]
