"""Reading pickles of strangers: builtin containers, numbers, text and plain numeric arrays, and nothing else.

What it holds is bounded as well: a container that is in several places is read once, and those who read it on must not walk through all
places; a memo is not larger than the pickle, for which a few bytes could ask otherwise.

A pickle is a program that may call whatever it can name. Here it can name five things, and none of them is numpy's or Python's own: each is
a stand-in that only collects what the pickle says about an array, from which `np.frombuffer` then makes it.
"""

from __future__ import annotations

import io
import pickle
import pickletools
from collections.abc import Callable
from typing import IO, Any

import numpy as np

_NUMERIC = {"b1", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8"}


class _DType:
    """What a pickle says about an element type."""

    def __init__(self, code: str | bytes, *_: object) -> None:
        self.code = code.decode("ascii") if isinstance(code, bytes) else code
        self.order = "|"
        if self.code not in _NUMERIC:
            raise pickle.UnpicklingError(f"it holds an array of '{self.code}', not of numbers")

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        order = state[1]
        self.order = order.decode("ascii") if isinstance(order, bytes) else order

    def numpy(self) -> np.dtype[Any]:
        return np.dtype(self.order.replace("|", "=") + self.code)


class _Array:
    """What a pickle says about an array; `finish` makes it."""

    array: np.ndarray

    def __setstate__(self, state: tuple[Any, ...]) -> None:
        _, shape, dtype, fortran, raw = state
        data = raw.encode("latin-1") if isinstance(raw, str) else raw
        self.array = np.frombuffer(data, dtype.numpy()).reshape(shape, order="F" if fortran else "C")


class _Callable:
    """All that a pickle can name: it may be called, and that leaves no trace."""

    __slots__ = ("function",)

    def __init__(self, function: Callable[..., object]) -> None:
        self.function = function

    def __call__(self, *arguments: object) -> object:
        return self.function(*arguments)

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("it tries to change a function")


def _array(*_: object) -> _Array:
    return _Array()


def _from_buffer(data: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> _Array:
    made = _Array()
    made.array = np.frombuffer(data, dtype.numpy()).reshape(shape, order="F" if order == "F" else "C")
    return made


def _latin(text: str, encoding: str = "latin1") -> bytes:
    if encoding not in ("latin1", b"latin1"):
        raise pickle.UnpicklingError(f"it encodes text as '{encoding}'")
    return text.encode("latin-1")


_ADMITTED = {
    ("multiarray", "_reconstruct"): _Callable(_array),
    ("numeric", "_frombuffer"): _Callable(_from_buffer),
    ("numpy", "ndarray"): _Callable(_array),
    ("numpy", "dtype"): _Callable(_DType),
    ("_codecs", "encode"): _Callable(_latin),
}


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        short = module.rpartition(".")[2] if module.startswith(("numpy.core.", "numpy._core.")) else module
        if (short, name) not in _ADMITTED:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which a data file has no use for, so it was not read further")
        return _ADMITTED[short, name]


def unpickle(file: IO[bytes]) -> Any:
    """Read a pickle that may come from anybody; to be used inside `reading`.

    Args:
        file: the pickle; one of Python 2 is read with its strings as bytes.

    Returns:
        What it holds: builtin containers, numbers, text, bytes and numeric arrays (read-only). Dictionaries' keys are text.
    """
    data = file.read()
    _check_memo(data)
    return _finish(_Unpickler(io.BytesIO(data), encoding="bytes").load(), {})


def _check_memo(data: bytes) -> None:
    # The unpickler makes room for twice the number that a memo's entry is called by.
    for opcode, argument, _ in pickletools.genops(data):
        if opcode.name in ("PUT", "BINPUT", "LONG_BINPUT") and isinstance(argument, int) and argument > len(data):
            raise pickle.UnpicklingError("it asks for more room than it can fill")


def _finish(value: Any, done: dict[int, Any]) -> Any:
    # Each container once, however often it occurs: in a list of itself twice over it would occur without end.
    if isinstance(value, _Array):
        return value.array
    if isinstance(value, (dict, list, tuple)):
        if id(value) not in done:
            done[id(value)] = None  # what holds itself
            if isinstance(value, dict):
                finished: Any = {}
                for key, item in value.items():
                    finished[key.decode("latin-1") if isinstance(key, bytes) else key] = _finish(item, done)
            else:
                plain = not any(isinstance(item, (_Array, dict, list, tuple)) for item in value)
                finished = value if plain else type(value)(_finish(item, done) for item in value)
            done[id(value)] = finished
        elif done[id(value)] is None:
            raise pickle.UnpicklingError("it holds a list of itself, which has no end")
        return done[id(value)]
    return value
