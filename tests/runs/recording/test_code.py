"""The commit is found wherever the code lies, and changes that are in no commit are told."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from runs.recording.code import in_checkout, installed, read_head


def git(folder: Path, *arguments: str) -> str:
    who = ["-c", "user.name=somebody", "-c", "user.email=somebody@example.org"]
    return subprocess.run(["git", *who, "-C", str(folder), *arguments], check=True, capture_output=True, text=True).stdout.strip()


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "runs" / "records").mkdir(parents=True)
    (folder / "code.py").write_text("one = 1\n")
    git(folder, "init", "-q", "-b", "main")
    git(folder, "add", ".")
    git(folder, "commit", "-q", "-m", "first")
    return folder


@pytest.mark.parametrize("how", ["loose", "packed", "worktree", "worktree of packed refs", "detached"])
def test_the_commit_is_found_with_and_without_git(checkout: Path, tmp_path: Path, how: str) -> None:
    if "packed" in how:
        git(checkout, "pack-refs", "--all")
        assert not (checkout / ".git" / "refs" / "heads" / "main").exists()
    if how == "detached":
        git(checkout, "checkout", "-q", "--detach")
    if "worktree" in how:
        git(checkout, "worktree", "add", "-q", "-b", "feature/one", str(tmp_path / "tree"))
        checkout = tmp_path / "tree"
        if "packed" in how:
            git(checkout, "pack-refs", "--all")
    commit = git(checkout, "rev-parse", "HEAD")
    assert len(commit) == 40
    assert read_head(checkout / ".git") == commit
    assert in_checkout(checkout) == (commit, False)


def test_a_changed_or_new_file_makes_a_tree_dirty_but_records_do_not(checkout: Path) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    (checkout / "runs" / "records" / "one.jsonl").write_text("{}\n")
    (checkout / "RESULTS.md").write_text("# Results\n")
    (checkout / "environment").symlink_to(checkout.parent)
    (checkout / "notes.txt").write_text("nothing that a run reads")
    assert in_checkout(checkout) == (commit, False)
    (checkout / "new.py").write_text("two = 2\n")
    assert in_checkout(checkout) == (commit, True)
    (checkout / "new.py").unlink()
    (checkout / "code.py").write_text("one = 2\n")
    assert in_checkout(checkout) == (commit, True)


def test_without_a_git_program_the_commit_is_read_and_changes_are_unknown(checkout: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    commit = git(checkout, "rev-parse", "HEAD")
    monkeypatch.setenv("PATH", "")
    assert in_checkout(checkout) == (commit, None)


def test_a_folder_inside_another_checkout_is_not_that_checkout(checkout: Path) -> None:
    assert in_checkout(checkout / "runs") is None


@pytest.mark.parametrize(
    ("version", "direct_url", "found"),
    [
        ("0.1.0", None, (None, None)),
        ("0.1.dev12+g1a2b3c4", None, ("1a2b3c4", False)),
        ("0.1.dev12+g1a2b3c4d5.d20250131", None, ("1a2b3c4d5", True)),
        ("0.1.0", json.dumps({"url": "https://x", "vcs_info": {"vcs": "git", "commit_id": "f" * 40}}), ("f" * 40, False)),
        ("0.1.dev12+g1a2b3c4", json.dumps({"url": "file:///here", "dir_info": {"editable": True}}), ("1a2b3c4", False)),
    ],
)
def test_an_installed_package_tells_its_commit(version: str, direct_url: str | None, found: tuple[str | None, bool | None]) -> None:
    assert installed(version, direct_url) == found
