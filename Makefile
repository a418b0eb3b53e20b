# dualdiff: two commands, `make book` and `make test`. Works with GNU make 3.81 and newer.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
PIP    := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt
NEEDS  := requirements.txt constraints.txt pyproject.toml

.DEFAULT_GOAL := help
.PHONY: help book test lab labs grade bench clean system sound

help: ## show this list
	@echo "make TARGET, with TARGET one of"
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  %-6s  %s\n", $$1, $$2 }'
	@echo "PYTHON=python3.12 chooses the interpreter, ARGS='--profile smoke' goes to book, test, labs, grade, bench or clean."

book: $(VENV)/.installed ## execute all chapters and build the HTML book
	@$(BIN)/dualdiff book $(ARGS)

test: $(VENV)/.installed-dev system ## style, types and tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy dualdiff
	$(BIN)/lint-imports --no-logo
	$(BIN)/python -m pytest --numprocesses 2 --dist loadfile --no-loadscope-reorder $(ARGS)

# Tests of pages need Chromium, tests of marking bubblewrap. Where they are missing they are installed if
# that asks nobody (a container of Debian's, as root); elsewhere those tests are skipped and say so.
system:
	@{ command -v chromium || command -v google-chrome || command -v chrome; } >/dev/null && \
		{ command -v bwrap >/dev/null || [ "$$(uname)" != Linux ]; } || \
		{ [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && \
		  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium bubblewrap; } || \
		echo "no Chromium or no bubblewrap: the tests that need them are skipped" >&2

lab: $(VENV)/.installed ## open the notebooks in JupyterLab
	$(BIN)/jupyter lab --notebook-dir=notebooks

labs: $(VENV)/.installed ## make the labs: notebooks for students, solutions, tests
	@$(BIN)/dualdiff labs $(ARGS)
	@echo "_build/labs/student is what students get, _build/labs/solutions and autograder are yours."

grade: $(VENV)/.installed ## mark labs: make grade SUBMISSIONS=folder
	@test -n "$(SUBMISSIONS)" || { echo "which folder? make grade SUBMISSIONS=folder" >&2; exit 2; }
	@$(BIN)/dualdiff grade "$(SUBMISSIONS)" $(ARGS)

bench: $(VENV)/.installed-dev ## measure the speed of sampling and training
	@$(BIN)/python tests/bench.py $(ARGS)
	@$(BIN)/python tests/widget_speed.py

clean: ## remove what was built, but not .venv (ARGS=--keep-store keeps trained networks, too)
	@if [ -x $(BIN)/dualdiff ]; then $(BIN)/dualdiff clean $(ARGS); fi
	@# The command may be missing, and what --keep-store keeps stays, however short it is written.
	@if [ -d _build ]; then \
		find _build -mindepth 1 -maxdepth 1 $(if $(findstring --k,$(ARGS)),! -name store) -exec rm -rf {} +; \
		rmdir _build 2>/dev/null || true; \
	fi
	rm -rf .import_linter_cache .mypy_cache .pytest_cache .ruff_cache .hypothesis *.egg-info
	find dualdiff tests -name __pycache__ -type d -prune -exec rm -rf {} +

# An installation breaks when its folder is moved or copied, or when the Python that made it goes.
sound:
	@[ ! -e $(VENV)/pyvenv.cfg ] || $(BIN)/python -c '$(RECENT)' || \
		$(call unfit,has no Python 3.11 or newer that runs)
	@[ ! -e $(VENV)/.installed ] || { $(BIN)/python -I -c '$(OURS)' && $(BIN)/dualdiff --version; } >/dev/null 2>&1 || \
		$(call unfit,was made in another folder or by another Python)
ifneq ($(origin PYTHON),file)
	@[ ! -e $(VENV)/pyvenv.cfg ] || $(BIN)/python -c "import sys; sys.exit($$($(PYTHON) -c '$(KIND)') != sys.version_info[:2])" || \
		$(call unfit,has another version of Python than $(PYTHON))
endif

unfit   = { echo "$(VENV) $(1): remove it, and call make again" >&2; exit 1; }
RECENT := import sys; sys.exit(sys.version_info < (3, 11))
KIND   := import sys; print(sys.version_info[:2])
OURS   := import dualdiff, os; assert os.path.samefile(os.path.dirname(dualdiff.__file__), "dualdiff")

# A stamp says that the installation is newer than what it was made from. Some tools make
# environments without pip.
$(VENV)/.installed: $(NEEDS) | sound $(VENV)/pyvenv.cfg
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(BIN)/python -m ensurepip >/dev/null 2>&1 || \
		$(call unfit,has no pip and cannot get it (with uv: uv pip install --python $(BIN)/python pip))
	@echo "Installing into $(VENV): some minutes the first time."
	@$(PIP) --editable ".[labs,sweep]"
	@touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	@echo "Installing what the tests need."
	@$(PIP) --editable ".[dev]"
	@touch $@

$(VENV)/pyvenv.cfg:
	@[ ! -e $(VENV) ] || $(call unfit,is not an environment that Python made)
	@$(PYTHON) -c '$(RECENT)' || { \
		echo "dualdiff needs Python 3.11 or newer: make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; \
		exit 1; }
	@$(PYTHON) -m venv $(VENV) || { rm -rf $(VENV); exit 1; }
