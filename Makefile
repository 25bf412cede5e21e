# Two commands for newcomers: `make demo` and `make test`. Both set everything up first.
.DEFAULT_GOAL := help
SHELL := /bin/bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
RUNS := runs
# The dependency group `peers` stays out of the environment: see tools/peers.sh.
# Tests side by side, a file each; every process may hold a GB and more of libraries. In the order of
# names: by numbers of tests the longest would come last, and one process would wait for the other.
PARALLEL := -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder
EXTRAS := --extra s3prl --extra espnet --extra demo --extra onnx
# Some environments forbid compiled modules; without them every process starts seconds later.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help setup demo demo-real paper-mini evidence evidence-gpu audit-demo test test-slow test-browser test-install lint docs docs-serve peers bench bench-gpu notebook lock clean

help:  ## Show this list.
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*##/\t/' | expand -t 14

setup: $(STAMP)  ## Find Python 3.12 or 3.13, make .venv, install what requirements.lock pins.

$(STAMP): requirements.lock pyproject.toml setup.py tools/setup.sh
	@bash tools/setup.sh $(VENV)
	@touch $@

demo: setup  ## Run the main job on synthetic Arabic speech; ends with a table and a page.
	@$(BIN)/harness-bench demo

demo-real: setup  ## The same on real Arabic speech (egs/demo/real_arabic.toml says where it lies).
	@$(BIN)/harness-bench demo --data egs/demo/real_arabic.toml

paper-mini: setup  ## The paper's whole study on made corpora with tiny models; ends with its tables.
	@$(BIN)/python -m tests.study.paper.miniature $(RUNS)/paper-mini
	@. $(RUNS)/paper-mini/environment && $(BIN)/harness-bench study \
	  $(RUNS)/paper-mini/egs/paper/study.toml --out $(RUNS)/paper-mini/study

evidence: setup  ## What pretraining is worth on real Arabic speech; 75 minutes on two cores.
	@$(BIN)/harness-bench demo --data egs/evidence/evidence.toml

evidence-gpu: setup  ## The same on one GPU, in 8 minutes; DATA_ROOT=DIR says where the speech lies.
	@HARNESS_PYTHON=$(BIN)/python bash egs/evidence/gpu.sh $(if $(DATA_ROOT),--data-root $(DATA_ROOT))

audit-demo: setup  ## Plant a leak of every kind in a made corpus and show that the audit finds each.
	@$(BIN)/python egs/audit/planted.py $(RUNS)/audit-demo

test: setup  ## Run the tests (not those marked slow).
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not slow" $(PARALLEL)

test-slow: setup  ## Run the tests that take minutes each.
	@$(BIN)/python -m pytest -m slow

test-browser: setup  ## Prove the leaderboard's page in an installed Chromium (HB_CHROMIUM names one).
	@$(BIN)/python -m pytest -m browser -s

test-install: setup  ## Install into empty environments of Python 3.12 and 3.13, core and extras; PYTHONS="3.12 PATH" names others.
	@rm -rf build/dist && mkdir -p build && $(BIN)/python -m build --no-isolation --outdir build/dist . > build/dist.log
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python tools/check_install.py --dist build/dist $(if $(PYTHONS),--python $(PYTHONS))

lint: setup  ## Check style, types and import directions.
	@$(BIN)/ruff check . && $(BIN)/ruff format --check . && $(BIN)/mypy && $(BIN)/lint-imports

docs: setup  ## Build the documentation site into build/site; it opens from the disk.
	@# Not -q: strict mode counts the warnings that are shown.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build && echo $(CURDIR)/build/site/index.html

docs-serve: setup  ## Show the documentation to writers, built anew at each change.
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs serve

peers: setup  ## Install fairseq beside the environment, for its tests and benchmarks.
	@bash tools/peers.sh $(VENV) build/peers

bench: setup  ## Measure against the peers; writes build/bench.json.
	@bash tools/peers.sh $(VENV) build/peers || true
	@$(BIN)/python benchmarks/run.py

bench-gpu: setup  ## What pretraining does on one GPU, in 8 minutes; build/gpu_step.json and .md.
	@$(BIN)/python benchmarks/bench_gpu_step.py

notebook: setup  ## Run notebooks/quickstart.ipynb and keep its outputs in it.
	@$(BIN)/python tools/execute_notebook.py notebooks/quickstart.ipynb

lock:  ## Pin anew what pyproject.toml asks for.
	@$(BIN)/uv pip compile -q --universal --python-version 3.12 $(EXTRAS) --group dev \
	  pyproject.toml -o requirements.lock

clean:  ## Remove what runs and builds made, not the environment.
	rm -rf build dist $(RUNS) *.egg-info
