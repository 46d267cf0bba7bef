"""Isolation: each experience has parameters of its own inside one network (packnet)."""
