.PHONY: check test lint types benchmark

check: lint types test

test:
	python -m pytest -n auto

lint:
	ruff check .

types:
	mypy

benchmark:
	python tests/benchmarks/training_speed.py
