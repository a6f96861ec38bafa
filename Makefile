# Two commands: `make quickstart` shows what facekd does, `make test` whether it works.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
QUICK := runs/quickstart

.PHONY: quickstart test test-long lint clean

$(BIN)/facekd-train: setup.cfg pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/dev: setup.cfg pyproject.toml $(BIN)/facekd-train
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@

quickstart: $(BIN)/facekd-train
	$(BIN)/facekd-train quickstart output=$(QUICK)
	$(BIN)/facekd-eval --bench synthetic --out $(QUICK)/eval \
		--model alone=$(QUICK)/alone.pt --model student=$(QUICK)/student.pt \
		--model teacher=$(QUICK)/teacher.pt

# a file's tests stay in one process, and two files run side by side
test: $(VENV)/dev
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m "not long" \
		--numprocesses 2 --dist loadfile --no-loadscope-reorder

# real-data training and whatever else takes longer; docs/testing.md keeps the last result
test-long: $(VENV)/dev
	$(BIN)/python -m pytest -m long

lint: $(VENV)/dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

clean:
	rm -rf $(VENV) build dist *.egg-info runs
