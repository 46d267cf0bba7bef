"""Penalties: what was important to past experiences must not move (EWC, MAS, SI, ALASSO, K-FAC, XK-FAC)."""
