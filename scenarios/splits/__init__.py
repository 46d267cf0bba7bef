"""Published class splits: which classes a learner trains on, is selected on and is tested on. One versioned file each."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).parent


@dataclass(frozen=True)
class ClassList:
    """A published split.

    Attributes:
        about: the set and the publication.
        version: of the file.
        by: whether the names are those of `classes` or of `groups` of classes.
        train: names to meta-train on.
        validation: names to select on.
        test: names to test on.
    """

    about: str
    version: int
    by: str
    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]


def class_list(name: str) -> ClassList | None:
    """Read a published split.

    Args:
        name: of the scenario.

    Returns:
        The split, or None where no file of this name is shipped.

    Example:
        >>> cifar_fs = class_list("cifar-fs")
        >>> [len(part) for part in (cifar_fs.train, cifar_fs.validation, cifar_fs.test)]
        [64, 16, 20]
    """
    path = FOLDER / f"{name}.json"
    if not path.is_file():
        return None
    values = json.loads(path.read_text(encoding="utf-8"))
    parts = {part: tuple(values[part]) for part in ("train", "validation", "test")}
    return ClassList(about=values["about"], version=values["version"], by=values["by"], **parts)
