"""Who may import whom: rooms, and the families inside `strategies`."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
ROOMS = {
    "scenarios": {"scenarios"},
    "metrics": {"metrics", "scenarios"},
    "strategies": {"strategies", "scenarios"},
    "runs": {"runs", "strategies", "metrics", "scenarios"},
}
FAMILIES = sorted(path.name for path in (ROOT / "strategies").iterdir() if (path / "__init__.py").exists() and path.name != "networks")
HEAVY = {"avalanche", "learn2learn", "ray", "submitit", "optuna", "timm", "tensorboard"}


def modules(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def imports(path: Path, *, only_top: bool = False) -> Iterator[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in tree.body if only_top else ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


@pytest.mark.parametrize("room", ROOMS)
def test_arrows_between_rooms_point_one_way(room):
    found = {(str(path.relative_to(ROOT)), name) for path in modules(room) for name in imports(path) if name.split(".")[0] in ROOMS}
    assert not {(path, name) for path, name in found if name.split(".")[0] not in ROOMS[room]}


@pytest.mark.parametrize("family", FAMILIES)
def test_a_family_imports_no_other_family(family):
    others = tuple(f"strategies.{other}" for other in FAMILIES if other != family)
    for path in modules(f"strategies/{family}"):
        wrong = [name for name in imports(path) if any(name == other or name.startswith(other + ".") for other in others)]
        assert not wrong, f"{path.relative_to(ROOT)} imports {wrong}: what two families use lives above them"


def test_what_all_families_share_imports_none_of_them():
    for path in [*(ROOT / "strategies").glob("*.py"), *modules("strategies/networks")]:
        assert not [name for name in imports(path) if name.startswith(tuple(f"strategies.{family}" for family in FAMILIES))], path


def test_optional_packages_are_imported_where_they_are_used_and_not_before():
    for room in ROOMS:
        for path in modules(room):
            assert not HEAVY & {name.split(".")[0] for name in imports(path, only_top=True)}, path
