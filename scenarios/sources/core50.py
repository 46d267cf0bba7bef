"""CORe50 (Lomonaco and Maltoni 2017, arXiv:1705.03550): 50 hand-held objects of 10 categories, filmed in 11 sessions, 128x128 colour.

Sessions 3, 7 and 10 are the test, as published. Frames lie at `s1/o1/C_01_01_000.png` ... `s11/o50/...` in a folder `core50` (or
`core50_128x128`). The objects are the classes, the categories the groups. Training images lie session by session, and `instances-core50`
brings one session an experience, as the benchmark's first scenario (NI) does; `split-core50` is like its second (NC).
"""

from __future__ import annotations

from pathlib import Path

from scenarios.sources.base import check
from scenarios.sources.listed import Listed, Listing
from scenarios.sources.walk import content

TEST_SESSIONS = (3, 7, 10)
CATEGORIES = ("plug adapter", "mobile phone", "scissors", "light bulb", "can", "glasses", "ball", "marker", "cup", "remote control")


class Core50(Listed):
    """CORe50: 164,866 frames, 119,894 of them to learn from."""

    name = "core50"
    folders = ("core50/core50_128x128", "core50_128x128", "core50")
    needed = ("s1", "s3")
    origin_url = "https://vlomonaco.github.io/core50/"
    side = 128

    def listing(self, folder: Path) -> Listing:
        """Read the folders of sessions and objects.

        Args:
            folder: of the set.

        Returns:
            Its files, session by session.
        """
        train: list[tuple[Path, int]] = []
        test: list[tuple[Path, int]] = []
        sections = []
        objects = _numbered(folder / "s1", "o")
        check(objects == list(range(1, len(objects) + 1)), "its first session lacks objects")
        for session in _numbered(folder, "s"):
            before = len(train)
            for number in _numbered(folder / f"s{session}", "o"):
                frames = [(path, number - 1) for path in content(folder / f"s{session}" / f"o{number}").images]
                (test if session in TEST_SESSIONS else train).extend(frames)
            if len(train) > before:
                sections.append(len(train) - before)
        names = tuple(f"{CATEGORIES[(number - 1) // 5 % 10]} {(number - 1) % 5 + 1}" for number in objects)
        groups = tuple(CATEGORIES[(number - 1) // 5 % 10] for number in objects)
        return Listing(train, test, names, groups, tuple(sections))


def _numbered(folder: Path, letter: str) -> list[int]:
    return sorted(int(path.name[1:]) for path in folder.iterdir() if path.is_dir() and path.name[:1] == letter and path.name[1:].isdigit())
