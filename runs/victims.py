"""The victims' table: one attack against several strategies, each with its clean twin and its noise control, over seeds."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from runs import config, looking, session
from runs.recording.seeds import Seeds
from runs.showing import terminal
from scenarios.errors import UserError

if TYPE_CHECKING:
    from rich.console import Console


def run(request: Mapping[str, Any], folder: Path, seeds: range, *, quiet: bool, resume: bool) -> None:
    """Attack one victim after another, each in a folder of its own, and put them side by side.

    Args:
        request: what is asked for; its strategy's name is a list of names, separated by commas.
        folder: of the victims' folders.
        seeds: which are run.
        quiet: print nothing.
        resume: go on with what is there.

    Raises:
        UserError: there is no attack, or no strategy can be its victim.
    """
    if not request.get("attack"):
        raise UserError(
            "several strategies are the victims of one attack; add --attack NAME, or run them one by one and `simulate compare`"
        )
    console = terminal.console(quiet)
    names, options = config.named(request, "strategy")
    refused: dict[str, str] = {}
    for name in dict.fromkeys(part.strip() for part in names.split(",") if part.strip()):
        try:
            asked = Seeds(folder / name, {**request, "strategy": {"name": name, **options}}, seeds)
            session.several(asked, console, quiet=quiet, resume=resume and (folder / name).exists(), whose=f"victim {name}, ")
        except UserError as error:
            refused[name] = str(error)
    if not any(folder.glob("*/*/summary.json")):
        raise UserError("; ".join(f"{name}: {why}" for name, why in refused.items()))
    _show(folder, refused, console)


def _show(folder: Path, refused: Mapping[str, str], console: Console) -> None:
    console.print("victims", style="bold")
    looking.compare([folder], folder / "table", mixed=False)
    for name, why in refused.items():
        console.print(f"not a victim here: {name}: {why}")
