# Needs Python 3.11 or newer with venv and pip, and make. Everything is installed into .venv.
PYTHON ?= python3
BIN := .venv/bin
TRAINS := .venv/.trains
READY := .venv/.ready

.PHONY: help env study data derived learned test test-slow faults test-gpu lint format bench driver-scale clean

help:  ## List the targets
	@grep -E '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

env: $(READY)  ## Virtual environment with everything, at the pinned versions

# --no-compile saves most of a minute: most of what is installed is never imported. What is imported is compiled once, and
# not by each of a study's ten processes, as it would be where PYTHONDONTWRITEBYTECODE is set; and what every worker
# imports before there are several at a time.
unexport PYTHONDONTWRITEBYTECODE
WORKER_IMPORTS := import deepspeed, kornia, plotly.graph_objects, ray.tune, scipy.optimize; from transformers import RoFormerForMaskedLM

$(TRAINS): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[train]'
	@$(BIN)/python -c '$(WORKER_IMPORTS)' >/dev/null 2>&1 || true
	@touch $@

# A study needs nothing of what developers do: the second half of the packages waits until a test or a check is run.
$(READY): $(TRAINS)
	$(BIN)/python -m pip install --quiet --no-compile -c constraints.txt -e '.[dev]'
	@touch $@

data: $(TRAINS)  ## Fetch the quick study's text (1 archive, checked)
	$(BIN)/batchlaw data fetch rotten-tomatoes

study: data  ## Run the quick study on real data; prints the answer and the report's path
	$(BIN)/batchlaw run quick

derived: data  ## Derived laws against fitted ones on real data (40 minutes on 2 cores); writes the reference table
	$(BIN)/batchlaw run derived
	cp results/derived/tables/derived_vs_fitted.csv results/reference/derived_vs_fitted.csv

learned: $(TRAINS)  ## What every workload learns at its preset's middle cell, beside baselines; writes the table
	$(BIN)/python -m benchmarks.learned

test: $(READY)  ## The whole default test suite
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 3

test-slow: $(READY)  ## Campaigns of many minutes
	$(BIN)/python -m pytest -m slow

faults: $(READY)  ## A hundred seeded faults in a running study on three nodes (half an hour); writes the table
	$(BIN)/batchlaw data fetch rotten-tomatoes
	OMP_NUM_THREADS=1 $(BIN)/python -m tests.cluster.campaign --faults 100 --seed 0 --csv results/reference/faults.csv

test-gpu: $(READY)  ## What needs a CUDA device
	$(BIN)/python -m pytest -m gpu tests/trainers tests/study/test_gpu_packing.py

lint: $(READY)  ## Format, lint and types, as CI checks them
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(READY)  ## Put the code into form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY)  ## Measure what the README claims about speed, beside the alternative
	$(BIN)/python -m benchmarks

driver-scale: $(READY)  ## What a trial costs the driver, 100 to 100,000 trials, beside stock Ray Tune (40 minutes); writes the table
	OMP_NUM_THREADS=1 $(BIN)/python -m benchmarks.driver_scale 100 1000 10000 100000

clean:  ## Remove the environment and caches; results stay
	rm -rf .venv build *.egg-info .pytest_cache .mypy_cache .ruff_cache
