# The verbs of this repository; continuous integration calls the same ones.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: install demo test integrations accelerator fuzz check lint pages kill bench docs clean
.DEFAULT_GOAL := install

# Modules are compiled once, also where the machine says not to, and not anew in each of the hundreds of processes that the tests start.
export PYTHONDONTWRITEBYTECODE :=

# Everything, for developing.
install: .venv/installed-dev

# The main job: which schedule gets the most out of ten epochs of digits? Prints where the report is.
demo: .venv/installed-lab
	$(BIN)/lehr compare --task digits --budget 10ep --seeds 5 --lr-grid 0.03,0.1,0.3,1 --budgets 5%,10%,25%,50%,100% \
		--methods linear,cosine,rex,knee,one_cycle,step,triangular,constant --out demo

test: .venv/installed-dev
	$(BIN)/python -m pytest -q

# The leaves for other people's trainers, with the real ones, in an environment of their own.
integrations: .venv-integrations/installed
	folder=$$(mktemp -d); KERAS_BACKEND=jax TRACKIO_DIR=$$folder WANDB_MODE=offline WANDB_SILENT=true WANDB_DIR=$$folder MLFLOW_ALLOW_FILE_STORE=true \
		MLFLOW_TRACKING_URI=file:$$folder/mlruns \
		.venv-integrations/bin/python -m pytest -q -n 0 -W ignore tests/integrations src/lehr/integrations docs/trainers.md \
		docs/experiments.md

# The contract on an accelerator, where there is one: make accelerator DEVICE=cuda
accelerator: .venv/installed-dev
	LEHR_DEVICE=$(or $(DEVICE),cuda) $(BIN)/python -m pytest -q tests/accelerator tests/contract

# Many more random inputs than the tests take, for a quarter of an hour or more.
fuzz: .venv/installed-dev
	LEHR_FUZZ=10000 $(BIN)/python -m pytest -q tests/fuzz

check: lint pages

lint: .venv/installed-dev
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports --no-cache

# The documentation, without running its notebooks, which the tests do.
pages: .venv/installed-dev
	LEHR_NOTEBOOKS=off $(BIN)/sphinx-build --quiet --nitpicky --fail-on-warning --fresh-env docs docs/_build/html

# Every policy, killed two hundred times in all, must end with the weights of a run that was never killed.
kill: .venv/installed-dev
	LEHR_KILLS=200 $(BIN)/python -m pytest -q tests/state/test_kills.py tests/lab/test_suite.py tests/lab/test_ranks.py

bench: .venv/installed-dev
	$(BIN)/python bench/scheduler_step.py
	$(BIN)/python bench/agreement.py
	$(BIN)/python bench/range_test.py
	$(BIN)/python bench/freezing.py
	$(BIN)/python bench/looking.py
	$(BIN)/python bench/learned.py
	$(BIN)/python bench/long_run.py
	$(BIN)/python bench/training.py

docs: .venv/installed-dev
	$(BIN)/sphinx-build --nitpicky docs docs/_build/html

clean:
	rm -rf .venv .venv-integrations docs/_build docs/_pictures docs/_evidence demo

.venv/bin/python:
	$(PYTHON) -m venv .venv

.venv/installed-lab: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[lab]'
	touch $@

.venv/installed-dev: pyproject.toml constraints.txt | .venv/bin/python
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt --editable '.[lab,dev]'
	touch $@ .venv/installed-lab

# torch first, so that nothing pulls another one; timm would pull torchvision, and trackio an older Pillow.
.venv-integrations/installed: pyproject.toml constraints.txt constraints-integrations.txt
	$(PYTHON) -m venv .venv-integrations
	.venv-integrations/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt torch
	.venv-integrations/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --constraint constraints.txt \
		--constraint constraints-integrations.txt --editable '.[lab,keras,lightning,optax,ray,transformers]' \
		hypothesis pytest pytest-benchmark pytest-xdist sybil hydra-core mlflow-skinny optuna pytorch-ignite \
		tensorboard wandb
	.venv-integrations/bin/python -m pip install --quiet --disable-pip-version-check --no-compile --no-deps \
		--constraint constraints-integrations.txt gradio_client orjson timm trackio
	touch $@
