# The two commands of the README: `make demo` and `make test`. Each makes what it needs (scripts/environment.sh).
.PHONY: demo test lint bench screenshots model docs clean

PYTHON := .venv/bin/python
# A screen for the GUI tests; other systems have one.
SCREEN := $(if $(filter Linux,$(shell uname)),xvfb-run -a,)
# Compiled modules are kept, whatever the shell says: without them each start of Python compiles torch and napari anew.
export PYTHONDONTWRITEBYTECODE =

demo: ## make a synthetic smear, count it with the model that ships, write demo-output/
	@scripts/environment.sh run
	@.venv/bin/napari-bloodcell demo --out demo-output

# The processes share the cores. With a thread of torch for each core in each they wait for one another, several
# times as long as they compute.
test: export OMP_NUM_THREADS = 1
test: ## all tests, those that open the real napari window included
	@scripts/environment.sh test
	@$(SCREEN) $(PYTHON) -m pytest -n logical --maxprocesses 4 --dist loadfile

lint: ## style, boundaries, types, spelling, manifest
	@scripts/environment.sh lint
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy
	@.venv/bin/typos
	@.venv/bin/npe2 validate src/napari_bloodcell/napari.yaml

bench: ## every benchmark, one after the other
	@scripts/environment.sh test
	@for file in benchmarks/[a-z]*.py; do \
		name=$$(basename $$file .py); echo "== $$name"; $(SCREEN) $(PYTHON) -m benchmarks.$$name --json || exit 1; \
	done

model: ## train the models that ship; all but "stain" need the real cells (BLOODCELL_DATA)
	@scripts/environment.sh test
	@$(PYTHON) training/make_stain.py
	@$(PYTHON) training/make_segmenter.py
	@$(PYTHON) training/make_nano.py

docs: ## the guide, as pages in build/site
	@scripts/environment.sh docs
	@.venv/bin/mkdocs build

screenshots: ## the pictures in docs/images
	@scripts/environment.sh test
	@$(SCREEN) $(PYTHON) docs/make_screenshots.py

clean: ## remove what was made here, results of yours excepted
	rm -rf .venv .tox build dist demo-output .pytest_cache .mypy_cache .ruff_cache .hypothesis
