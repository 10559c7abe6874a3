# Each target sets up what it needs in .venv, once; a second run needs no network.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test setup data clean

demo: data  ## Train plain, recognition-aware and unsupervised networks on CIFAR-10 and compare them.
	$(BIN)/python tools/demo.py

test: data  ## All tests; one thread, since the networks in them are tiny.
	OMP_NUM_THREADS=1 $(BIN)/python -m pytest

setup: $(VENV)/ready

data: setup
	@$(BIN)/python tools/prepare_data.py cifar10

$(VENV)/ready: setup.cfg constraints.txt tools/setup_venv.sh
	sh tools/setup_venv.sh $(PYTHON) $(VENV)
	touch $@

clean:
	rm -rf $(VENV)
