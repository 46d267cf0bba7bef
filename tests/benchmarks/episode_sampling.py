"""How long a meta-batch of episodes takes: drawing its indices, and gathering and normalising its images.

    PALIMPSEST_DATA=... python tests/benchmarks/episode_sampling.py [--threads 1] [--rounds 200]

Claim: 32 episodes (5 ways, 1 shot, 15 queries) are drawn in less than 2 ms on one CPU core. Medians over rounds in which the columns take
turns, after 10 rounds of warm-up; sets that are not on disk are left out. The last column gathers the same images one at a time and stacks
them, as a data set of items does.
"""

from __future__ import annotations

import argparse
import platform
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

import torch

import scenarios
from scenarios.episodes.episodes import EpisodeSpec, EpisodeStream
from scenarios.errors import DataUnavailableError

SETS = ("digits", "glyphs", "omniglot", "cifar-fs")
EPISODES = 32
SPECS = {
    "1 shot, 1 query": EpisodeSpec(shots=1, queries=1),
    "1 shot, 15 queries": EpisodeSpec(shots=1, queries=15),
    "5 shots, 15 queries": EpisodeSpec(shots=5, queries=15),
    "1 shot, 15 queries, Dirichlet": EpisodeSpec(shots=1, queries=15, imbalance="dirichlet"),
    "1 shot, 5 queries, 5 unlabelled, 5 distractors": EpisodeSpec(shots=1, queries=5, unlabelled=5, distractors=5),
    "2-5 ways, 1-5 shots, 15 queries": EpisodeSpec(shots=5, queries=15, min_ways=2, min_shots=1),
}
"""The compositions measured."""


def one_by_one(stream: EpisodeStream, rows: torch.Tensor) -> torch.Tensor:
    """Gather images as a loader of items does.

    Args:
        stream: where from.
        rows: which.

    Returns:
        The images.
    """
    storage = stream.storage
    return torch.stack([storage.images.images[row].float() * storage.scale + storage.shift for row in rows.tolist()])


def measure(actions: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Time actions in turns.

    Args:
        actions: what to time.
        rounds: how often.

    Returns:
        Median milliseconds.
    """
    times: dict[str, list[float]] = {name: [] for name in actions}
    for i in range(rounds + 10):
        for name, action in actions.items():
            begin = time.perf_counter()
            action()
            if i >= 10:
                times[name].append(1000 * (time.perf_counter() - begin))
    return {name: statistics.median(values) for name, values in times.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    print(f"torch {torch.__version__}, {platform.machine()}, threads {arguments.threads}, {arguments.rounds} rounds, {EPISODES} episodes")
    print(f"{'set':10} {'episode':48} {'images':>7} {'draw ms':>8} {'gather ms':>10} {'one by one ms':>14}")
    for name in SETS:
        try:
            scenario = scenarios.make(name, queries=1, test_queries=1)
        except DataUnavailableError as error:
            print(f"{name:10} left out: {error}")
            continue
        base = scenario.experiences[0].train  # type: ignore[union-attr]
        for label, spec in SPECS.items():
            if len(base.table) < spec.ways + spec.distractors:
                continue
            stream = EpisodeStream(base.storage, base.table, spec, base.key)
            draw = stream.draw(0, EPISODES)
            rows = torch.cat([torch.from_numpy(part).flatten() for part in (draw.support, draw.query)]) % len(base.storage.images)
            actions: dict[str, Callable[[], object]] = {
                "draw": lambda stream=stream: stream.draw(0, EPISODES),
                "gather": lambda stream=stream, draw=draw: stream.gather(draw),
                "items": lambda stream=stream, rows=rows: one_by_one(stream, rows),
            }
            median = measure(actions, arguments.rounds)
            print(f"{name:10} {label:48} {len(rows):7} {median['draw']:8.2f} {median['gather']:10.2f} {median['items']:14.2f}")


if __name__ == "__main__":
    main()
