"""Starting quickly. Importing torch makes a million objects, and none of them is garbage that would be worth looking for."""

from __future__ import annotations

import atexit
import contextlib
import gc
import sys
from collections.abc import Iterator


@contextlib.contextmanager
def importing() -> Iterator[None]:
    """While it lasts, there is no search for garbage; where torch has come meanwhile, what is there by then is never searched again."""
    was, new = gc.isenabled(), "torch" not in sys.modules
    gc.disable()
    try:
        yield
    finally:
        if new and "torch" in sys.modules:
            gc.freeze()
        if was:
            gc.enable()


def ending_quickly() -> None:
    """Leave out the search for garbage when the process ends: its memory goes back to the system anyway."""
    atexit.register(gc.freeze)
