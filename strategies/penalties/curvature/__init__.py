"""Curvature: Fisher information and its Kronecker factors, exact and estimated."""
