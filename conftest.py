"""Tests side by side take one thread each: two processes with two threads each on two cores take three times as long."""

import os

if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")
