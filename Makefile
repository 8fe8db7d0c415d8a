# What each target does stands in CONTRIBUTING.md; the plain commands behind `demo` and `test` in README.md.
#
#   make demo PYTHON=python3.12     another interpreter (3.11, 3.12 or 3.13)
#   make light VENV=build/light PYTHON=python3.13  engine, report and statistics, with no TensorFlow to install
#   make test PYTEST_ARGS="-k zoo"  part of the tests

VENV ?= .venv
PYTHON ?=
UV := $(shell command -v uv 2>/dev/null)
PYTEST_ARGS ?=
# Two processes, a file to each: tests of one file share its models and stores, and TensorFlow is imported twice, not often.
WORKERS ?= -n 2 --dist loadfile

.PHONY: demo test full light lint notebooks constraints clean

demo: $(VENV)/demo.stamp
	$(VENV)/bin/python -m ablate +sweep=pe_type

test: $(VENV)/test.stamp
	$(VENV)/bin/python -m pytest $(WORKERS) $(PYTEST_ARGS)

full: $(VENV)/test.stamp
	$(VENV)/bin/python -m pytest -m full $(WORKERS) $(PYTEST_ARGS)

# Of those rooms the tests that read no images and build no model.
LIGHT := $(addprefix tests/unit/,stats design report $(addprefix config/test_config_,document.py leaves.py overrides.py))
light: $(VENV)/light.stamp
	$(VENV)/bin/python -m pytest $(PYTEST_ARGS) $(LIGHT)

lint: $(VENV)/test.stamp
	$(VENV)/bin/python -m ruff check .
	$(VENV)/bin/python -m ruff format --check .
	$(VENV)/bin/python -m mypy

# Those that read records; seqpool.ipynb wants a model (analysis/README.md).
NOTEBOOKS := $(filter-out analysis/seqpool.py,$(wildcard analysis/*.py))
notebooks: $(VENV)/test.stamp
	$(VENV)/bin/jupytext --quiet --to ipynb $(NOTEBOOKS)
	$(VENV)/bin/jupyter-execute --inplace $(NOTEBOOKS:.py=.ipynb)

# One file for 3.11 to 3.13: what differs between them carries a marker.
constraints:
	@test -n "$(UV)" || { echo "make constraints needs uv on PATH: pip install uv." >&2; exit 2; }
	$(UV) pip compile --quiet --universal --python-version 3.11 --upgrade --all-extras --no-annotate \
		--no-emit-index-url --no-emit-find-links --custom-compile-command "make constraints" \
		pyproject.toml --output-file constraints.txt

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis

# The first interpreter that runs and is new enough; a pyenv shim may exist and not run.
define find_python
for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python); do \
	if $$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then \
		found=$$python; break; fi; \
done; \
if test -z "$$found"; then \
	echo "ablate needs Python 3.11, 3.12 or 3.13, got $(or $(PYTHON),none of python3 python3.13 python3.12 python3.11 python);" \
		"install one, and name it with PYTHON=/path/to/python." >&2; exit 2; fi
endef

$(VENV)/bin/python:
	@$(find_python); rm -rf "$(VENV)"; \
	if test -n "$(UV)"; then $(UV) venv --quiet --seed --python "$$found" "$(VENV)"; \
	else $$found -m venv "$(VENV)"; fi

install = $(if $(UV),$(UV) pip install --python $(VENV)/bin/python,$(VENV)/bin/python -m pip install) -c constraints.txt

$(VENV)/demo.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(install) -e '.[keras,figures]'
	@touch $@

$(VENV)/light.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(install) -e '.[figures]' hypothesis pytest pytest-timeout statsmodels
	@touch $@

$(VENV)/test.stamp: pyproject.toml constraints.txt | $(VENV)/bin/python
	$(install) -e '.[test]'
	@touch $@ $(VENV)/demo.stamp $(VENV)/light.stamp
