"""Streams: one set or several cut into experiences."""
