"""Frozen features: the network is not trained, and a classifier of its features is kept in closed form (ncm, slda, ranpac)."""
