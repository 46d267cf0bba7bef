"""Pictures of attacks: what is written on the map of victims and defences can be read."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from runs.plots import attacks, style


def group(defence: str | None, drop: float) -> SimpleNamespace:
    run = SimpleNamespace(strategy="ewc", options={"defence.name": defence}, summary={"attack": {"drop": drop}})
    return SimpleNamespace(runs=[run])


@pytest.mark.parametrize(("drops", "white"), [((0.008, 0.005), 0), ((0.4, 0.02), 1)])
def test_numbers_are_white_on_dark_cells_alone(monkeypatch, drops, white):
    monkeypatch.setattr(attacks, "_caption", lambda groups: "")
    figure = attacks._heat([group(None, drops[0]), group("replay-guard", drops[1])])
    cells = figure.findobj(lambda artist: artist.get_gid() == style.CELL)
    assert len(cells) == 2 and sum(cell.get_color() == "white" for cell in cells) == white
