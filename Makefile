# make demo | test | test-slow | test-llamafactory | test-rllm | lint | bench | soak | clean
# Each sets up what it needs and can be run again at any time.

PYTHON ?= python3
VENV ?= .venv
# Two requirements that belong together. On a machine with a GPU name the build that fits its driver, for example
#   make demo TORCH=torch==2.11.0 TORCHVISION=torchvision==0.26.0
TORCH ?= torch==2.13.0
TORCHVISION ?= torchvision==0.28.0
# demo, or long for the same run with more data and more steps.
SCALE ?= demo

BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check -qq
# Its name holds what was asked for, so that another TORCH is installed and not overlooked.
STAMP := $(VENV)/.installed-$(shell printf '%s' '$(PYTHON) $(TORCH) $(TORCHVISION)' | cksum | cut -d ' ' -f 1)

# LLaMA-Factory has an environment of its own: its pins and verl's exclude each other.
FACTORY ?= .venv-llamafactory
FACTORY_BIN := $(abspath $(FACTORY))/bin
FACTORY_PIP := $(FACTORY_BIN)/python -m pip --disable-pip-version-check -qq
FACTORY_PACKAGES := transformers==5.5.3 datasets==4.0.0 accelerate==1.11.0 peft==0.18.1 trl==0.24.0 deepspeed==0.19.8 \
	omegaconf pillow wrapt setuptools wheel
# The rest of what it asks for is for sounds, a web page and a server.
FACTORY_ALONE := llamafactory==0.9.5 $(TORCHVISION)
FACTORY_STAMP := $(FACTORY)/.installed-$(shell \
	printf '%s' '$(PYTHON) $(TORCH) $(FACTORY_PACKAGES) $(FACTORY_ALONE)' | cksum | cut -d ' ' -f 1)

# rLLM has one, too: it pins another verl. It is not on PyPI; RLLM_SRC is a checkout of it.
RLLM ?= .venv-rllm
RLLM_BIN := $(abspath $(RLLM))/bin
RLLM_PIP := $(RLLM_BIN)/python -m pip --disable-pip-version-check -qq
RLLM_REQUIREMENTS := examples/rllm/requirements.txt
RLLM_STAMP := $(RLLM)/.installed-$(shell \
	{ printf '%s' '$(PYTHON) $(TORCH) $(TORCHVISION) $(RLLM_SRC)'; cat $(RLLM_REQUIREMENTS); } | cksum | cut -d ' ' -f 1)

# Threads that wait by spinning take the cores from the other processes of a run.
export OMP_WAIT_POLICY := PASSIVE
export TOKENIZERS_PARALLELISM := false
export HF_HUB_OFFLINE := 1

.PHONY: demo test test-slow test-llamafactory test-rllm lint bench soak clean
.DEFAULT_GOAL := test

demo: $(STAMP)
	$(BIN)/osvl demo --scale $(SCALE)

test: $(STAMP)
	$(BIN)/python -m pytest -m 'not slow'

test-slow: $(STAMP)
	$(BIN)/python -m pytest -m slow

test-llamafactory: $(STAMP) $(FACTORY_STAMP)
	LLAMAFACTORY_PYTHON=$(FACTORY_BIN)/python $(BIN)/python -m pytest tests/test_llamafactory.py

test-rllm: $(RLLM_STAMP)
	RLLM_SRC=$(abspath $(RLLM_SRC)) $(RLLM_BIN)/python -m pytest tests/rllm

lint: $(STAMP)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(STAMP)
	$(BIN)/osvl atlas build
	$(BIN)/python benchmarks/import_cost.py
	$(BIN)/python benchmarks/dispatch.py .cache/atlas
	$(BIN)/python benchmarks/tools_load.py .cache/atlas
	$(BIN)/python benchmarks/text_search.py
	$(BIN)/python benchmarks/image_search.py .cache/atlas
	$(BIN)/python benchmarks/image_tools.py .cache/atlas
	$(BIN)/python benchmarks/sandbox.py
	$(BIN)/python benchmarks/cache.py
	$(BIN)/python benchmarks/advantage.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/sft_dataset.py
	$(BIN)/python benchmarks/memory_estimate.py
	$(BIN)/python benchmarks/curation.py .cache/atlas
	$(BIN)/python benchmarks/viewer.py
	$(BIN)/python benchmarks/eval_throughput.py

# 20,000 tool calls; fails when memory, descriptors or processes grew.
soak: $(STAMP)
	$(BIN)/osvl atlas build
	$(BIN)/python benchmarks/soak.py .cache/atlas

# The corpus in .cache stays: it is a download.
clean:
	rm -rf $(VENV) $(FACTORY) $(RLLM) build dist outputs *.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(STAMP): pyproject.toml
	@echo "creating $(VENV) with $(PYTHON)"
	@$(PYTHON) -m venv $(VENV)
	@rm -f $(VENV)/.installed-*
	@$(PIP) install -U pip
	@echo "installing $(TORCH) …"
	@$(PIP) install '$(TORCH)'
	@echo "installing osvl-plugins with verl and the development tools …"
	@# Named, because verl and TransferQueue agree on this one tensordict only, and pip searches for it for very long.
	@$(PIP) install -e '.[demo,dev]' 'tensordict==0.10.0'
	@# The OCR packages bring opencv-python, whose files lie in the same place and need a display's libraries.
	@$(PIP) install --force-reinstall --no-deps opencv-python-headless
	@# Its wheel pins a CUDA build of torch; transformers' Qwen3-VL processors need it and work with any.
	@echo "installing $(TORCHVISION) …"
	@$(PIP) install --no-deps '$(TORCHVISION)'
	@touch $@

$(FACTORY_STAMP):
	@echo "creating $(FACTORY) with $(PYTHON)"
	@$(PYTHON) -m venv $(FACTORY)
	@rm -f $(FACTORY)/.installed-*
	@$(FACTORY_PIP) install -U pip
	@echo "installing $(TORCH) and LLaMA-Factory …"
	@$(FACTORY_PIP) install '$(TORCH)' setuptools wheel
	@# DeepSpeed's build asks the torch that is there; nothing is compiled.
	@DS_BUILD_OPS=0 $(FACTORY_PIP) install --no-build-isolation $(FACTORY_PACKAGES)
	@$(FACTORY_PIP) install --no-deps $(FACTORY_ALONE)
	@touch $@

$(RLLM_STAMP): $(RLLM_REQUIREMENTS) pyproject.toml
	@test -n '$(RLLM_SRC)' || { echo 'name a checkout of rLLM: make test-rllm RLLM_SRC=…'; exit 1; }
	@echo "creating $(RLLM) with $(PYTHON)"
	@$(PYTHON) -m venv $(RLLM)
	@rm -f $(RLLM)/.installed-*
	@$(RLLM_PIP) install -U pip
	@echo "installing $(TORCH), verl 0.8.0 and rLLM …"
	@$(RLLM_PIP) install '$(TORCH)'
	@$(RLLM_PIP) install -r $(RLLM_REQUIREMENTS) -e .
	@# Its wheel pins a CUDA build of torch, as above; rLLM asks for servers and backends that nothing here needs.
	@$(RLLM_PIP) install --no-deps '$(TORCHVISION)' '$(RLLM_SRC)' '$(RLLM_SRC)/rllm-model-gateway'
	@touch $@
