"""Adaptation to episodes: networks as functions of their parameters, episodic normalisation, the inner loop, and its three engines."""
