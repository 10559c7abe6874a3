# Each target sets up what it needs in .venv, once; a second run needs no network.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin

.PHONY: demo test fast lint soak gpu gpu-dry gpu-pack setup data browser clean

demo: data  ## Train plain, recognition-aware and unsupervised networks on CIFAR-10 and compare them.
	$(BIN)/python tools/demo.py

# Two processes of one thread each: the networks in the tests are tiny. A process works through a run of neighboring
# tests, which share what a file sets up once, and takes over part of the other's when it has none left.
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n 2 --dist worksteal

test: data browser  ## All tests.
	$(PYTEST)

fast: data  ## The tests without a marker, of a fifth of a second at most: two minutes.
	$(PYTEST) -m 'not (slow or browser or mm or distributed)'

lint: setup  ## Style, likely mistakes and types.
	$(BIN)/ruff check .
	$(BIN)/basedpyright --pythonpath $(BIN)/python

soak: data  ## Ten times as many kills and damaged inputs as make test, and others in each run; half an hour.
	RA_PLUGIN_SOAK=10 OMP_NUM_THREADS=1 $(BIN)/python -m pytest tests/training/test_exact_resume.py tests/training/test_faults.py \
		tests/test_fuzz.py tests/training/test_distributed.py tests/evaluation/statistics/test_audit.py tests/studies/test_sweep.py

gpu:  ## What is right and what is fast on a GPU, in eight minutes: results/gpu/gpu_check.md.
	PYTHON=$(PYTHON) sh dev/gpu_check.sh results/gpu

gpu-dry: data  ## The same on the CPU, small: whether it would run there.
	OMP_NUM_THREADS=1 sh dev/gpu_check.sh results/gpu_dry --dry

gpu-pack: data  ## What a machine with PyTorch for CUDA and no network needs besides: .gpu, some 30 MB.
	sh dev/gpu_pack.sh

setup: $(VENV)/ready

browser:
	@sh tools/setup_browser.sh

data: setup
	@$(BIN)/python tools/prepare_data.py cifar10

$(VENV)/ready: setup.cfg constraints.txt tools/setup_venv.sh
	sh tools/setup_venv.sh $(PYTHON) $(VENV)
	touch $@

clean:
	rm -rf $(VENV)
