# dualdiff: two commands, `make book` and `make test`. Works with GNU make 3.81 and newer.
# What they do is in make.py, which needs no make: `python make.py book`.

PYTHON ?= python3
# A Python that is asked for must be the one of the environment.
RUN    := $(PYTHON) make.py $(if $(filter-out file,$(origin PYTHON)),--this-python)

.DEFAULT_GOAL := help
.PHONY: help book test lab labs grade bench clean install system

help: ## show this list
	@echo "make TARGET, with TARGET one of"
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' Makefile | awk -F'|' '{ printf "  %-7s  %s\n", $$1, $$2 }'
	@echo "PYTHON=python3.12 chooses the interpreter, ARGS='--profile smoke' goes to book, test, labs, grade, bench or clean."

book: ## execute all chapters and build the HTML book
	@$(RUN) book $(ARGS)

test: system ## style, types and tests
	@$(RUN) test $(ARGS)

# Tests of pages need Chromium, tests of marking bubblewrap. Where they are missing they are installed if
# that asks nobody (a container of Debian's, as root); elsewhere those tests are skipped and say so.
system:
	@{ command -v chromium || command -v google-chrome || command -v chrome; } >/dev/null && \
		{ command -v bwrap >/dev/null || [ "$$(uname)" != Linux ]; } || \
		{ [ "$$(id -u)" -eq 0 ] && command -v apt-get >/dev/null && \
		  apt-get update -qq && apt-get install -y -qq --no-install-recommends chromium bubblewrap; } || \
		echo "no Chromium or no bubblewrap: the tests that need them are skipped" >&2

lab: ## open the notebooks in JupyterLab
	@$(RUN) lab

labs: ## make the labs: notebooks for students, solutions, tests
	@$(RUN) labs $(ARGS)
	@echo "_build/labs/student is what students get, _build/labs/solutions and autograder are yours."

grade: ## mark labs: make grade SUBMISSIONS=folder
	@test -n "$(SUBMISSIONS)" || { echo "which folder? make grade SUBMISSIONS=folder" >&2; exit 2; }
	@$(RUN) grade "$(SUBMISSIONS)" $(ARGS)

bench: ## measure the speed of sampling and training
	@$(RUN) bench $(ARGS)

clean: ## remove what was built, but not .venv (ARGS=--keep-store keeps trained networks, too)
	@$(RUN) clean $(ARGS)

install: ## only make .venv
	@$(RUN) install
