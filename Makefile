.PHONY: check test lint types benchmark speed sweeps mutants matrix fuzz docs

check: lint types test

test:
	python -m pytest -n auto

lint:
	ruff check .

types:
	mypy

benchmark:
	python tests/benchmarks/training_speed.py

speed:
	python -m tests.benchmarks.speed

sweeps:
	python tests/benchmarks/sweeps.py

mutants:
	python -m tests.mutants

fuzz:
	FUZZ=1000 python -m pytest tests/runs/test_fuzz.py tests/runs/test_moments.py --timeout 3600

docs:
	mkdocs build

matrix:
	python -m pytest tests/matrix -m "full or not full" -n auto
