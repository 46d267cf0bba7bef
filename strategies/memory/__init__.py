"""Memory: examples, generators or indices of past experiences are kept (replay, H-net/C-net)."""
