"""What a run costs in memory and parameters."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor, nn


def peak_memory_bytes(device: torch.device) -> int:
    """The most memory that was in use so far.

    On a CPU: the process's resident set, from its start, libraries and data included. On a GPU: what torch had allocated there since
    the last `torch.cuda.reset_peak_memory_stats`.

    Args:
        device: where the run computes.

    Returns:
        Bytes.

    Example:
        >>> peak_memory_bytes(torch.device("cpu")) > 2**20
        True
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    if sys.platform == "win32":
        return _windows_peak()
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def forget_peak_memory() -> None:
    """Let the peak of the process's resident set begin anew, so that of several runs in one process each has its own.

    Linux alone can do this; elsewhere the peak stays that of the process so far.
    """
    # On Linux getrusage tells the greater of what /proc can reset and of what earlier programs of this process had.
    with contextlib.suppress(OSError), open("/proc/self/clear_refs", "w", encoding="ascii") as file:
        file.write("5")


def _windows_peak() -> int:
    # PROCESS_MEMORY_COUNTERS on 64 bits: two fields of half a word, then eight words, of which the first is the peak of the working set.
    import ctypes

    fields = (ctypes.c_size_t * 9)()
    size = ctypes.sizeof(fields)
    library: Any = ctypes
    library.windll.psapi.GetProcessMemoryInfo(ctypes.c_void_p(library.windll.kernel32.GetCurrentProcess()), fields, size)
    return int(fields[1])


def parameter_count(parameters: Iterable[nn.Parameter]) -> int:
    """How many numbers can be learned; a shared parameter counts once.

    Args:
        parameters: for instance `network.parameters()`.

    Returns:
        The number of elements.

    Example:
        >>> parameter_count(nn.Linear(3, 2).parameters())
        8
    """
    return sum(parameter.numel() for parameter in {id(parameter): parameter for parameter in parameters}.values())


def state_bytes(state: Any) -> int:
    """The memory that the tensors of a nested state hold; tensors that share memory count once.

    Args:
        state: mappings, lists and tuples of tensors and plain values, as a `state_dict` gives them.

    Returns:
        Bytes.

    Example:
        >>> weights = torch.zeros(10)
        >>> state_bytes({"weights": weights, "views": [weights[:5]], "step": 3})
        40
    """
    storages = {tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(state)}
    return sum(storages.values())


def _tensors(state: Any) -> Iterable[Tensor]:
    if isinstance(state, Tensor):
        yield state
    elif isinstance(state, Mapping):
        for value in state.values():
            yield from _tensors(value)
    elif isinstance(state, (list, tuple)):
        for value in state:
            yield from _tensors(value)
