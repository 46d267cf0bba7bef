"""Which code this process runs: version, commit, and whether the tree had changes that are in no commit.

In a checkout git is asked; without a git program its files are read (refs of their own or packed, worktrees), which cannot tell changes. An
installed package says its commit itself: in `direct_url.json` (PEP 610) where it was installed from a repository, else in its version
(`0.1.dev12+g1a2b3c4`, and `.d20250101` at its end where the tree had changes), which setuptools-scm writes when the package is built.
"""

from __future__ import annotations

import functools
import json
import re
import subprocess
from importlib import metadata
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
"""Where the code lies: a checkout, or the folder of installed packages."""
WRITTEN = ("RESULTS.md", "README.md", "docs", "runs/records")
"""What recording itself writes: a change there does not make a tree dirty."""
READ = (".py", ".yaml", ".yml", ".json", ".toml", ".npz")
"""Of files that git does not know, those of these kinds make a tree dirty: a run could have read them. A link or a note does not."""


@functools.cache
def code() -> dict[str, Any]:
    """The code of this process, as it was when this was first asked.

    Returns:
        `version`, `commit` (None where it cannot be known) and `dirty` (None where it cannot be known).
    """
    version = _version()
    commit, dirty = in_checkout(ROOT) or installed(version, _direct_url())
    return {"version": version, "commit": commit, "dirty": dirty}


def in_checkout(root: Path) -> tuple[str | None, bool | None] | None:
    """Commit and changes of a checkout.

    Args:
        root: the folder that holds `.git`.

    Returns:
        The commit, and whether the tree is dirty; None where the folder is no checkout's.
    """
    if not (root / ".git").exists():
        return None
    head = _git(root, "rev-parse", "HEAD")
    if head is None:
        return read_head(root / ".git"), None
    changes = _git(root, "status", "--porcelain", "--", ".", *(f":(exclude){path}" for path in WRITTEN))
    return head, None if changes is None else any(not line.startswith("??") or line.endswith((*READ, "/")) for line in changes.splitlines())


def read_head(git: Path) -> str | None:
    """Read the commit that is checked out, without git.

    Args:
        git: the folder `.git`, or the file of a worktree that leads to it.

    Returns:
        The commit, or None where it cannot be found.
    """
    try:
        if git.is_file():
            git = (git.parent / git.read_text().removeprefix("gitdir:").strip()).resolve()
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head
        name = head.removeprefix("ref: ")
        common = git / (git / "commondir").read_text().strip() if (git / "commondir").exists() else git
        for place in (git, common):
            if (place / name).is_file():
                return (place / name).read_text().strip()
        packed = (common / "packed-refs").read_text().splitlines()
        return next((line.split()[0] for line in packed if line.endswith(f" {name}")), None)
    except OSError:
        return None


def installed(version: str, direct_url: str | None) -> tuple[str | None, bool | None]:
    """Commit and changes of an installed package.

    Args:
        version: the package's.
        direct_url: content of its `direct_url.json`, if it has one.

    Returns:
        The commit, and whether the tree that it was built from was dirty; None for what is not told.
    """
    commit = json.loads(direct_url or "{}").get("vcs_info", {}).get("commit_id")
    if commit:
        return commit, False
    found = re.search(r"\+(?:.*\.)?g([0-9a-f]{7,40})(\.d\d{8})?$", version)
    return (found[1], found[2] is not None) if found else (None, None)


def _version() -> str:
    try:
        return metadata.version("palimpsest")
    except metadata.PackageNotFoundError:
        return "not installed"


def _direct_url() -> str | None:
    try:
        return metadata.distribution("palimpsest").read_text("direct_url.json")
    except metadata.PackageNotFoundError:
        return None


def _git(root: Path, *arguments: str) -> str | None:
    try:
        done = subprocess.run(["git", "-C", str(root), *arguments], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
