"""Streams whose domain shifts by common corruptions: the same classes, under another corruption in every experience.

Corruptions after Hendrycks & Dietterich 2019 (arXiv:1903.12261), made with a generator keyed by the seed and the experience, once: an
image looks the same in every pass, as in CIFAR-10-C. The altered images lie in a temporary file, not in memory.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from scenarios.corruptions import STRENGTHS, Kind, corrupted
from scenarios.errors import UserError
from scenarios.experience import Examples, Scenario, Setting
from scenarios.images import ImageSet
from scenarios.options import option
from scenarios.random import Randomness
from scenarios.recommended import for_streams
from scenarios.sources.pictures import room
from scenarios.storage import Storage, View
from scenarios.streams.cutting import Cut, StreamConfig, build_stream, class_rows, data_of, stream_randomness
from scenarios.streams.request import Request
from scenarios.streams.selecting import limit, limit_by_class, shared_out
from scenarios.streams.shaping import require_images

_ROWS = 1024  # images corrupted at once


@dataclass(frozen=True, kw_only=True)
class CorruptedConfig(StreamConfig):
    """Options of corrupted streams.

    Attributes:
        kinds: corruptions, in order: gaussian-noise, shot-noise, impulse-noise, blur, brightness, contrast, pixelate.
        severity: from 1 to 5; several (1,3,5) make an experience of each corruption and each severity.
        clean_first: begin with images as they are.
        shared: give every experience all training images, instead of a share of them that no other has.
    """

    setting: Setting = "domain"
    kinds: tuple[Kind, ...] = tuple(STRENGTHS)
    severity: tuple[int, ...] = option((3,), low=1, high=5)
    clean_first: bool = True
    shared: bool = False


Step = tuple[Kind, int] | None
"""A corruption and its severity; None for none."""


class Corrupted:
    """A set under one corruption after another."""

    Config = CorruptedConfig

    @staticmethod
    def make(config: CorruptedConfig, request: Request) -> Scenario:
        """Build the stream. Each experience is tested on all test images, under its corruption.

        Args:
            config: its options.
            request: name, seed, data.

        Returns:
            The scenario.

        Raises:
            UserError: there are more experiences than training images.
        """
        train, test = request.sized(config.size).load(request.parts["set"])
        require_images(train, "corrupted-SET alters pixels")
        pairs: list[Step] = [(kind, severity) for kind in config.kinds for severity in config.severity]
        steps = ([None] if config.clean_first else []) + pairs
        if len(steps) > len(train):
            raise UserError(f"{len(steps)} experiences are more than the {len(train)} training images; choose fewer scenario.kinds")
        randomness = stream_randomness(config, request)
        learned = _rows(train, steps, config.shared, randomness)
        learned = [_limited(train, rows, config.train_examples, randomness, i, by_class=True) for i, rows in enumerate(learned)]
        tested = [_limited(test, torch.arange(len(test)), config.test_examples, randomness, i, by_class=False) for i in range(len(steps))]
        sides = [_altered(images, rows, steps, randomness, request) for images, rows in ((train, learned), (test, tested))]
        (seen, trains), (asked, tests) = sides
        names = [f"{step[0]} {step[1]}" if step else "clean" for step in steps]
        classes = tuple(range(len(train.class_names)))
        cuts = [Cut(classes, name, train=rows, test=others) for name, rows, others in zip(names, trains, tests)]
        stream = build_stream(config, request, seen, asked, cuts)
        # The data are those that were corrupted, whatever the seed and the noise on them are.
        data = {**stream.data, **data_of(train, test)}
        return replace(stream, data=data, recommended=for_streams(data))


def _rows(train: ImageSet, steps: list[Step], shared: bool, randomness: Randomness) -> list[Tensor]:
    if shared:
        return [torch.arange(len(train))] * len(steps)
    return [rows.sort().values for rows in shared_out(class_rows(train), len(steps), randomness, "shares")]


def _limited(images: ImageSet, rows: Tensor, count: int | None, randomness: Randomness, i: int, *, by_class: bool) -> Tensor:
    # Before anything is altered: what nobody looks at need not be.
    nothing = torch.zeros(images.shape[0], 1, 1)
    examples = Examples(Storage(images, View(), nothing, nothing), rows, images.labels[rows], torch.full_like(rows, i), i)
    draw = limit_by_class if by_class else limit
    return draw(examples, count, randomness.generator("train examples" if by_class else "test examples", i)).rows


def _altered(
    images: ImageSet, chosen: list[Tensor], steps: list[Step], randomness: Randomness, request: Request
) -> tuple[ImageSet, list[Tensor]]:
    total = sum(map(len, chosen))
    pixels = torch.from_numpy(room((total, *images.shape), request.report or (lambda line: None)))
    side, start, places = hashlib.sha256(images.fingerprint.encode()), 0, []
    for i, (rows, step) in enumerate(zip(chosen, steps)):
        generator = randomness.generator("corruption", images.fingerprint, i)
        for part in rows.split(_ROWS):
            taken = images.images[part]
            pixels[start : start + len(part)] = corrupted(taken, *step, generator) if step else taken
            start += len(part)
        side.update(f"{i} {step} {generator.initial_seed()}".encode() + rows.numpy().tobytes())
        places.append(torch.arange(start - len(rows), start))
    labels = images.labels[torch.cat(chosen)]
    return replace(images, images=pixels, labels=labels, fingerprint=side.hexdigest(), sections=None, _copies={}), places
