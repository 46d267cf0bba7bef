"""Time left, under a clock that the test moves."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from runs.showing.progress import Terminal
from runs.showing.remaining import Remaining, clock_face


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def carry_out(books: Remaining, clock: Clock, prices: dict[str, float], test: float, upto: tuple[int, int, int]) -> None:
    """Learn experiences as a run does, as far as (experience, phase, step)."""
    for experience in range(books.experiences):
        books.start_experience([("train", 100), ("curvature", 20)])
        for number, (name, steps) in enumerate([("train", 100), ("curvature", 20)]):
            books.start_phase(0)
            for step in range(1, steps + 1):
                clock.now += prices[name]
                books.advance(step)
                if (experience, number, step) == upto:
                    return
        clock.now += test
        books.tested(test)
        books.end_experience()


def test_before_the_first_step_nothing_is_claimed() -> None:
    books = Remaining(Clock())
    books.start_stream(5, 0)
    assert books.left() is None


@pytest.mark.parametrize("upto", [(1, 0, 50), (1, 1, 10), (4, 0, 99), (2, 0, 1)])
def test_with_known_prices_the_estimate_is_exact(upto: tuple[int, int, int]) -> None:
    clock = Clock()
    books = Remaining(clock)
    books.start_stream(5, 0)
    prices, test = {"train": 0.5, "curvature": 2.0}, 7.0
    carry_out(books, clock, prices, test, upto)
    one = 100 * 0.5 + 20 * 2.0
    experience, number, step = upto
    rest = (100 - step) * 0.5 + 40 if number == 0 else (20 - step) * 2.0
    assert books.left() == pytest.approx(rest + (4 - experience) * one + (5 - experience) * test)


def test_it_remembers_however_long_an_experience_takes_and_counts_down_between_looks() -> None:
    clock = Clock()
    books = Remaining(clock)
    books.start_stream(2, 0)
    books.start_experience([("train", 1000)])
    books.start_phase(0)
    clock.now += 600
    books.advance(10)  # a minute a step
    assert books.left() == pytest.approx(990 * 60 + 60_000)
    clock.now += 30
    assert books.left() == pytest.approx(990 * 60 + 60_000 - 30)


def test_a_run_taken_up_in_a_later_phase_counts_from_there() -> None:
    clock = Clock()
    books = Remaining(clock)
    books.start_stream(3, 1)
    books.start_experience([("train", 100), ("curvature", 20)])
    books.skip_phase()
    books.start_phase(5)
    clock.now += 10
    books.advance(10)
    assert books.left() == pytest.approx(10 * 2.0 + 120 * 2.0)


@pytest.mark.parametrize("width", [80, 120])
def test_at_80_columns_everything_can_be_read(width: int) -> None:
    clock, out = Clock(), io.StringIO()
    console = Console(file=out, force_terminal=True, width=width, color_system=None, legacy_windows=False)
    terminal = Terminal(console, clock)
    terminal.start_stream(10, 0)
    terminal._live.stop()
    terminal.start_experience(3, [("combine", 4000)], 0)
    terminal.start_phase("combine", 4000, 0)
    clock.now += 3700
    terminal.advance(1234, None)
    terminal._note = "loss 0.5321  accuracy 0.87"
    out.seek(0)
    out.truncate()
    console.print(terminal._draw())
    shown = out.getvalue()
    for part in ("experience 4/10", "combine", "1234/4000", "loss 0.5321", "accuracy 0.87", "1:01:40 gone", "left"):
        assert part in shown, shown
    assert "…" not in shown and all(len(line) <= width for line in shown.splitlines())


def test_times_are_written_as_people_read_them() -> None:
    assert [clock_face(seconds) for seconds in (0, 9.6, 61, 3599.7)] == ["0:00", "0:10", "1:01", "1:00:00"]
