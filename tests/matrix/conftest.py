"""Registers the tiny components while the matrix is tested, and no longer: other tests look at all that are registered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.matrix import tiny


@pytest.fixture(scope="package", autouse=True)
def components() -> Iterator[None]:
    with tiny.registered():
        yield


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Leave out the cells that are for the full matrix alone, unless `-m` speaks of it."""
    if "full" not in config.option.markexpr:
        rest = [item for item in items if item.get_closest_marker("full")]
        items[:] = [item for item in items if not item.get_closest_marker("full")]
        config.hook.pytest_deselected(items=rest)
