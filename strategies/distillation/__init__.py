"""Distillation and combination: the network of before teaches, or is merged into, the network of now (LwF, ResCL)."""
