# make demo   sets up .venv and runs the main job on a phantom cohort, in demo/
# make test   sets up .venv, then format, lint, types, import lines and every test that needs no GPU
# make lint   the same without the tests
# make bench  the benchmarks (tests/benchmarks), an hour; prints ratios, and writes docs/measurements/benchmarks.*
# make docs   the documentation, to docs/_build; its reference pages are made from the code first
# make pictures  the README's pictures, from demo/ (needs Debian's Chromium)
# make test-cluster  three hosts, Slurm on this machine; needs root, and what its tests name
# make clean  removes .venv and demo/

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
DEMO := demo

export PIP_DISABLE_PIP_VERSION_CHECK = 1
export MLFLOW_DISABLE_TELEMETRY = true
export RAY_USAGE_STATS_ENABLED = 0

.PHONY: demo test test-cluster lint bench docs pictures clean
.DELETE_ON_ERROR:

# Rebuilt only when its inputs change. torch is in the same command as the constraints, or pip takes a CUDA build.
$(STAMP): pyproject.toml constraints.txt
	rm -rf $(VENV)
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --upgrade "pip>=25.1"
	$(BIN)/pip install --quiet --constraint constraints.txt --editable ".[cluster,dicom]" --group dev
	touch $(STAMP)

demo: $(STAMP)
	test -f $(DEMO)/cohort/cohort.json || $(BIN)/tissueclock phantom $(DEMO)/cohort --preset easy --patients 400 --holdout 600 --grid 12x48x24 --seed 2026 --jobs 2
	cp infra/studies/demo.yaml $(DEMO)/demo.yaml
	$(BIN)/tissueclock plan $(DEMO)/demo.yaml
	$(BIN)/tissueclock sweep $(DEMO)/demo.yaml

lint: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	MYPYPATH=platform $(BIN)/mypy --config-file tests/benchmarks/mypy.ini tests/benchmarks
	$(BIN)/lint-imports --no-cache

test: lint
	$(BIN)/python -m pytest

bench: $(STAMP)
	$(BIN)/python -m pytest tests/benchmarks -m benchmark -s --timeout 3600

test-cluster: $(STAMP)
	$(BIN)/python -m pytest tests/infra tests/test_wheel.py -m cluster --timeout 1800

docs: $(STAMP)
	$(BIN)/python -m tissueclock.cli.reference_pages docs/reference
	$(BIN)/python -m sphinx -q -W -n --keep-going -b html docs docs/_build
	@echo docs/_build/index.html

pictures: $(STAMP)
	test -f $(DEMO)/qc/qc.html || { $(BIN)/tissueclock phantom $(DEMO)/bids --raw --preset easy --patients 6 --seed 1 && \
	$(BIN)/tissueclock preprocess $(DEMO)/bids $(DEMO)/qc; }
	$(BIN)/python docs/pictures.py $(DEMO)/study/report/index.html docs/pictures/report.png 1180 1060
	$(BIN)/python docs/pictures.py $(DEMO)/qc/qc.html docs/pictures/quality.png 1180 930

clean:
	rm -rf $(VENV) $(DEMO) docs/_build
