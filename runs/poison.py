"""What an adversary has altered: kept, measured, written into the run's directory beside a manifest, and read back by a resumed run.

poison/manifest.json        adversary, options, seed; for each experience how much was altered, and hashes of clean and poisoned data
poison/experience-3.npz     the altered examples alone: `x`, `y`, and `poisoned`, by which whoever loads them as data is told
poison/experience-3.pt      which rows the experience's examples are, so that a resumed run goes on with the same
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy
import torch
from torch import Tensor

from metrics import robustness
from runs.recording import files
from scenarios.experience import Examples, Scenario
from scenarios.overlay import fingerprint

FOLDER = "poison"
SHOWN = 10
"""Altered images that are kept for a plot."""
CHUNK = 4096


class Poison:
    """The altered examples of a run.

    Args:
        scenario: the stream, as it is without the adversary.
        head: what the manifest says before it lists experiences: adversary, options, seed.
        folder: the run's directory; None to write nothing.
    """

    def __init__(self, scenario: Scenario, head: Mapping[str, Any], folder: Path | None) -> None:
        self.scenario = scenario
        self.head = head
        self.folder = folder
        self.examples: dict[int, Examples] = {}
        self.entries: list[dict[str, Any]] = []

    def keep(self, index: int, examples: Examples, before: int) -> None:
        """Take up what an adversary made of an experience.

        Args:
            index: the experience.
            examples: its training examples now.
            before: altered images that the storage's overlay had before.
        """
        clean = self.scenario.experiences[index].train
        self.examples[index] = examples
        changed = altered_positions(clean, examples)
        entry = {
            "experience": index,
            "altered": len(changed),
            "of": len(examples),
            **sizes(clean, examples, changed),
            "clean_sha256": fingerprint(clean.raw_pixels(), clean.targets),
            "poisoned_sha256": fingerprint(examples.raw_pixels(), examples.targets),
        }
        self.entries.append(entry)
        if self.folder is not None:
            self._write(self.folder / FOLDER, index, examples, before, entry)

    def _write(self, folder: Path, index: int, examples: Examples, before: int, entry: Mapping[str, Any]) -> None:
        overlay = examples.storage.overlay
        assert overlay is not None
        folder.mkdir(exist_ok=True)
        new = torch.nonzero(examples.rows >= overlay.first).flatten()
        images = examples.raw_pixels(new).cpu().numpy()
        said = json.dumps({**self.head, "experiences": [entry]})
        with files.replacing(folder / f"experience-{index}.npz") as file:
            numpy.savez(file, x=images, y=examples.targets[new].cpu().numpy(), poisoned=numpy.array(said))
        rows = {"rows": examples.rows, "targets": examples.targets, "tasks": examples.tasks, "base": overlay.base[before:]}
        files.write_tensors(folder / f"experience-{index}.pt", {**rows, "entry": dict(entry)})
        warning = "these images were altered by an adversary; they are not clean data"
        files.write_json(folder / "manifest.json", {"warning": warning, **self.head, "experiences": self.entries})

    def read(self, folder: Path) -> None:
        """Take up what a run has written.

        Args:
            folder: the run's directory.
        """
        for index, experience in enumerate(self.scenario.experiences):
            path = folder / FOLDER / f"experience-{index}.pt"
            if path.exists():
                clean = experience.train
                saved = torch.load(path, map_location=clean.rows.device, weights_only=True)
                with numpy.load(path.with_suffix(".npz"), allow_pickle=False) as arrays:
                    images = torch.from_numpy(arrays["x"]).to(clean.rows.device)
                self._restore(index, clean, saved, images)

    def _restore(self, index: int, clean: Examples, saved: Mapping[str, Any], images: Tensor) -> None:
        overlay = clean.storage.overlay
        assert overlay is not None
        examples = replace(clean, **{name: saved[name] for name in ("rows", "targets", "tasks")})
        new = torch.nonzero(examples.rows >= overlay.first).flatten()
        places = examples.rows[new] - overlay.first - len(overlay)
        origin = clean.storage.raw_pixels(saved["base"][places], examples.tasks[new], examples.task)
        order = places.argsort()
        overlay.add(saved["base"], (images - origin)[order])
        self.examples[index] = examples
        self.entries.append(saved["entry"])

    def pictures(self) -> dict[str, Tensor]:
        """Some images before and after the adversary, for a plot.

        Returns:
            `attack/clean` and `attack/poisoned`, uint8 [n, C, H, W]; empty where none were altered.
        """
        for index, examples in self.examples.items():
            clean = self.scenario.experiences[index].train
            changed = altered_positions(clean, examples)
            changed = changed[changed < len(clean)]
            if len(changed):
                picked = changed[torch.linspace(0, len(changed) - 1, min(SHOWN, len(changed))).long()]
                return {"attack/clean": clean.raw_pixels(picked).cpu(), "attack/poisoned": examples.raw_pixels(picked).cpu()}
        return {}


def altered_positions(clean: Examples, examples: Examples) -> Tensor:
    """Which examples an adversary has changed or added.

    Args:
        clean: what the stream gave.
        examples: what the adversary made of them: the same order, added ones last.

    Returns:
        int64, positions.
    """
    same = len(clean)
    differ = (clean.rows != examples.rows[:same]) | (clean.targets != examples.targets[:same])
    added = torch.arange(same, len(examples), device=differ.device)
    return torch.cat([torch.nonzero(differ).flatten(), added])


def sizes(clean: Examples, examples: Examples, changed: Tensor) -> dict[str, float]:
    """How large the changes of images are.

    Args:
        clean: what the stream gave.
        examples: what the adversary made of them.
        changed: int64, positions of examples that were changed or added.

    Returns:
        The largest change of a pixel, the mean Euclidean length, and the mean peak signal-to-noise ratio; empty where none was changed.
    """
    changed = changed[changed < len(clean)]
    if not len(changed):
        return {}
    parts = changed.split(CHUNK)
    found = [robustness.perturbation(clean.raw_pixels(part), examples.raw_pixels(part)) for part in parts]
    means = {name: sum(len(part) * each[name] for part, each in zip(parts, found)) / len(changed) for name in ("l2", "psnr")}
    return {"linf": max(each["linf"] for each in found), **means}
