import subprocess
import sys

import pytest
import torch
from torch import nn

from metrics import resources


def test_peak_memory_grows_by_a_large_allocation_and_stays():
    code = """
import torch
from metrics.resources import peak_memory_bytes
before = peak_memory_bytes(torch.device("cpu"))
block = torch.ones(before // 4)
during = peak_memory_bytes(torch.device("cpu"))
del block
after = peak_memory_bytes(torch.device("cpu"))
assert during >= before + before // 2 and after >= during, (before, during, after)
"""
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU")
def test_peak_memory_of_a_gpu_is_what_was_allocated_there():
    device = torch.device("cuda")
    torch.cuda.reset_peak_memory_stats(device)
    torch.ones(2**20, device=device)
    assert resources.peak_memory_bytes(device) >= 2**22


def test_a_shared_parameter_counts_once():
    first, second = nn.Linear(4, 4, bias=False), nn.Linear(4, 4, bias=False)
    assert resources.parameter_count([*first.parameters(), *second.parameters()]) == 32
    second.weight = first.weight
    assert resources.parameter_count([*first.parameters(), *second.parameters()]) == 16


def test_state_bytes_add_up_over_nested_states():
    network = nn.Linear(4, 2)
    buffer = [torch.zeros(3, dtype=torch.uint8), (torch.zeros(2, dtype=torch.int64),)]
    state = {"network": network.state_dict(), "buffer": buffer, "seen": 2}
    assert resources.state_bytes(state) == (4 * 2 + 2) * 4 + 3 + 16


def test_tensors_that_share_memory_count_once():
    flat = torch.zeros(100, dtype=torch.float64)
    assert resources.state_bytes([flat, flat[10:], flat.view(10, 10)]) == 800
