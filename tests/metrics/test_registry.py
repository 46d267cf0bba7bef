import importlib
import subprocess
import sys

import pytest

import metrics
from metrics.registry import metrics as registry


def test_reading_the_registry_imports_no_torch():
    code = "import sys, metrics, metrics.registry, metrics.statistics; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("name", registry.names())
def test_every_row_leads_to_a_documented_function(name):
    row, _ = registry.find(name)
    module, _, function = row.place.partition(":")
    assert getattr(importlib.import_module(module), function).__doc__
    assert len(row.line) <= 100


def test_a_family_is_reached_by_its_name():
    assert metrics.continual.average_accuracy.__name__ == "average_accuracy"
    with pytest.raises(AttributeError, match="no family 'nonsense'"):
        _ = metrics.nonsense
