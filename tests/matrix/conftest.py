"""Registers the tiny components while the matrix is tested, and no longer: other tests look at all that are registered."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.matrix import tiny


@pytest.fixture(scope="package", autouse=True)
def components() -> Iterator[None]:
    with tiny.registered():
        yield
