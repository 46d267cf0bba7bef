"""Probes: learners that measure another one, on copies of its network."""
