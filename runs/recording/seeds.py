"""A folder of seeds: `seeds.yaml` holds what was asked for and how many seeds, so that all are run even where the first was interrupted."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runs import config, yaml_files
from runs.recording import files
from scenarios.errors import UserError

FILE = "seeds.yaml"


@dataclass(frozen=True)
class Seeds:
    """Runs that differ in the seed, one folder each.

    Attributes:
        folder: the folder of the seeds' folders.
        request: what is asked for, but for the seed.
        seeds: which are run.
    """

    folder: Path
    request: Mapping[str, Any]
    seeds: range

    def place(self, seed: int) -> Path:
        """Where one run is written.

        Args:
            seed: its seed.

        Returns:
            A path.
        """
        return self.folder / f"seed-{seed}"

    @property
    def written(self) -> bool:
        """Whether it is written down what is asked for."""
        return (self.folder / FILE).exists()

    def write(self) -> None:
        """Write down what is asked for."""
        with files.making(self.folder):
            self.folder.mkdir(parents=True, exist_ok=True)
        content = {"first_seed": self.seeds.start, "seeds": len(self.seeds), "request": config.absolute(config.checked(self.request))}
        files.write_text(self.folder / FILE, config.to_yaml(content))


def read(folder: Path) -> Seeds | None:
    """Read what was asked for in a folder of seeds.

    Args:
        folder: the folder.

    Returns:
        The seeds, or None where it is no such folder.

    Raises:
        UserError: the file is not one that `Seeds.write` wrote.
    """
    path = folder / FILE
    if not path.exists():
        return None
    content = yaml_files.load(path, "give the first command again with --resume")
    numbers = [content.get(name) if isinstance(content, dict) else None for name in ("first_seed", "seeds")]
    first, count = (number if isinstance(number, int) else -1 for number in numbers)
    if not isinstance(content, dict) or first < 0 or count < 1:
        raise UserError(f"{path} does not say which seeds to run; give the first command again with --resume")
    return Seeds(folder, config.checked(content.get("request"), f"{path}: "), range(first, first + count))


def found(folder: Path) -> Seeds | None:
    """Find out what was asked for in a folder of seeds, where there is no file of the seeds from the runs in it.

    Args:
        folder: the folder.

    Returns:
        The seeds, or None where it is no such folder.
    """
    asked = read(folder)
    begun = sorted(folder.glob("seed-*/config.yaml"))
    numbers = [int(path.parent.name[5:]) for path in begun if path.parent.name[5:].isdecimal()]
    if asked is None and numbers:
        asked = Seeds(folder, config.from_file(begun[0]), range(min(numbers), max(numbers) + 1))
    return asked
