.PHONY: check test lint types benchmark mutants

check: lint types test

test:
	python -m pytest -n auto

lint:
	ruff check .

types:
	mypy

benchmark:
	python tests/benchmarks/training_speed.py

mutants:
	python -m tests.mutants
