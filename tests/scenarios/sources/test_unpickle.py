"""Pickles of strangers: numbers are read, and nothing is ever called."""

from __future__ import annotations

import io
import os
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from scenarios.errors import UserError
from scenarios.sources import load
from scenarios.sources.unpickle import unpickle
from tests.scenarios.sources import files


class Call:
    """Pickles as a call of whatever is named."""

    def __init__(self, function: Any, *arguments: Any) -> None:
        self.function, self.arguments = function, arguments

    def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
        return self.function, self.arguments


@pytest.mark.parametrize("protocol", range(pickle.HIGHEST_PROTOCOL + 1))
@pytest.mark.parametrize("array", [np.arange(12, dtype=np.uint8).reshape(3, 4), np.asfortranarray(np.eye(3)), np.array([1, -2], ">i4")])
def test_arrays_of_every_protocol_are_read(protocol: int, array: np.ndarray) -> None:
    read = unpickle(io.BytesIO(pickle.dumps({"data": array, "labels": [1, 2]}, protocol=protocol)))
    assert np.array_equal(read["data"], array) and read["labels"] == [1, 2]


@pytest.mark.parametrize(
    "function, arguments",
    [(os.system, ("touch {}",)), (open, ("{}", "w")), (exec, ("open('{}', 'w')",)), (eval, ("open('{}', 'w')",))],
)
@pytest.mark.parametrize("protocol", [0, 2, 5])
def test_a_pickle_that_would_run_something_is_refused_before_it_does(
    tmp_path: Path, function: Any, arguments: tuple[str, ...], protocol: int
) -> None:
    mark = tmp_path / "executed"
    evil = pickle.dumps({"data": Call(function, *(argument.format(mark) for argument in arguments))}, protocol=protocol)
    with pytest.raises(pickle.UnpicklingError, match="which a data file has no use for"):
        unpickle(io.BytesIO(evil))
    assert not mark.exists()


def test_a_malicious_batch_is_one_line_for_the_user(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))
    files.write_cifar(tmp_path, 10, "py")
    mark = tmp_path / "executed"
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    batch.write_bytes(pickle.dumps({"data": Call(os.system, f"touch {mark}"), "labels": [0]}))
    with pytest.raises(UserError) as caught:
        load("cifar10", root=tmp_path)
    assert "\n" not in str(caught.value) and str(batch) in str(caught.value) and not mark.exists()


def test_arrays_of_objects_are_refused() -> None:
    with pytest.raises(pickle.UnpicklingError, match="not of numbers"):
        unpickle(io.BytesIO(pickle.dumps(np.array([{}, []], dtype=object), protocol=2)))


def test_a_pickle_cannot_change_what_later_pickles_may_name() -> None:
    with pytest.raises(pickle.UnpicklingError, match="tries to change"):
        unpickle(io.BytesIO(b"\x80\x02cnumpy\ndtype\n}X\x04\x00\x00\x00codeK\x01sb."))


def doubled(times: int, container: type) -> Any:
    value: Any = container([1, 1])
    for _ in range(times):
        value = container([value, value])
    return value


@pytest.mark.parametrize("container", [list, tuple])
def test_what_holds_itself_many_times_over_is_read_once(container: type) -> None:
    read = unpickle(io.BytesIO(pickle.dumps({"labels": doubled(45, container)}, protocol=2)))
    assert read["labels"][0] is read["labels"][1]


@pytest.mark.parametrize("key", ["data", "labels", "elsewhere"])
def test_a_batch_of_a_list_that_doubles_is_refused_or_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, key: str) -> None:
    monkeypatch.setenv("PALIMPSEST_CACHE", str(tmp_path / "cache"))
    files.write_cifar(tmp_path, 10, "py")
    batch = tmp_path / "cifar-10-batches-py" / "data_batch_3"
    content = {"data": np.zeros((2, 3072), np.uint8), "labels": [0, 1]}
    batch.write_bytes(pickle.dumps({**content, key: doubled(45, list)}, protocol=2))
    if key == "elsewhere":
        load("cifar10", root=tmp_path)
    else:
        with pytest.raises(UserError, match="data_batch_3"):
            load("cifar10", root=tmp_path)


@pytest.mark.parametrize(
    "evil",
    [
        b"\x80\x02]r\xff\xff\xff\x7f.",  # a memo of 2 billion entries
        b"]p999999999999\n.",
        b"\x80\x02]q\x00h\x00a.",  # a list of itself
        b"\x80\x04\x8e\xff\xff\xff\xff\xff\xff\xff\x7f.",  # 9 exabytes of text
        b"(" * 100_000,
        b"]" * 3000 + b"a" * 2999 + b".",
        b"\x80\x02\x8a\xff" + b"\xff" * 100 + b".",
    ],
)
def test_a_few_bytes_that_ask_for_much_are_refused(evil: bytes) -> None:
    with pytest.raises(Exception) as caught:
        unpickle(io.BytesIO(evil))
    assert isinstance(caught.value, (pickle.UnpicklingError, ValueError, EOFError, RecursionError, MemoryError, OverflowError))
