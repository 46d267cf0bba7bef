"""Bridges to other libraries of continual learning. Nothing here is imported before it is used."""
