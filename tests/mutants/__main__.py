"""Make each change of `table.yaml` in a copy of the tree and see whether a test notices: `python -m tests.mutants [WORD ...]`.

Exit code 1 where one survives. With words, only rows whose name or file holds one of them.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.mutants.table import ROOT, Mutant, read


def survives(mutant: Mutant, tree: Path) -> bool:
    """Whether the tests of a mutant pass in a tree that has it."""
    file = tree / mutant.file
    whole = file.read_text(encoding="utf-8")
    file.write_text(whole.replace(mutant.old, mutant.new), encoding="utf-8")
    try:
        return passes(mutant.tests, tree)
    finally:
        file.write_text(whole, encoding="utf-8")


def passes(tests: list[str], tree: Path) -> bool:
    """Whether tests pass in a tree."""
    command = [sys.executable, "-m", "pytest", "-x", "-q", "-p", "no:cacheprovider", *tests]
    environment = {**os.environ, "PYTHONPATH": str(tree), "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run(command, cwd=tree, env=environment, capture_output=True, check=False).returncode == 0


def main(words: list[str]) -> int:
    """Try the mutants and print what became of them."""
    chosen = [mutant for mutant in read() if not words or any(word in mutant.name or word in mutant.file for word in words)]
    alive = []
    with tempfile.TemporaryDirectory() as folder:
        tree = Path(folder) / "tree"
        shutil.copytree(ROOT, tree, ignore=shutil.ignore_patterns(".*", "simulations", "data", "scratch", "*.egg-info", "__pycache__"))
        if not passes(sorted({test for mutant in chosen for test in mutant.tests}), tree):
            print("the tests fail without any mutant: mend them first")
            return 1
        for number, mutant in enumerate(chosen, 1):
            alive += [mutant] if survives(mutant, tree) else []
            fate = "SURVIVED" if alive and alive[-1] is mutant else "noticed"
            print(f"{number:>3}/{len(chosen)} {fate:<9} {mutant.name} ({mutant.file})", flush=True)
    print(f"{len(chosen)} mutants, {len(alive)} survived")
    return 1 if alive else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
