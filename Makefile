# make book       build the HTML from the notebooks as they are, and say where it is
# make test       unit tests, doctests, every cell of every notebook, the built site in a browser (JOBS=3: processes)
# make lab        open JupyterLab on learn/, the chapters as plain notebooks (FRESH=1: new copies beside those you changed)
# make notebooks  execute the notebooks in place and normalize them (NOTEBOOKS="book/activations.ipynb" for one)
# make clean      remove what was built; .venv stays
#
# Each makes .venv first. PYTHON names the interpreter to make it with (3.11 to 3.13).

PYTHON ?= python3
JOBS ?= auto
NOTEBOOKS ?=
LAB_ARGS ?=
FRESH ?=
PYTEST_ARGS ?=
# Names without a folder in front: this file works in a folder whose name has a space.
PY := .venv/bin/python

.PHONY: book test lab notebooks lint clean environment

book: environment
	@$(PY) tools/build_book.py

test: environment
	@OMP_NUM_THREADS=1 MPLBACKEND=agg $(PY) -m pytest -n $(JOBS) --maxprocesses 8 --dist loadscope \
	    --nbval-lax --nbval-current-env --nbval-cell-timeout 600 --nbval-sanitize-with tests/nbval_sanitize.cfg \
	    tests src benchmarks book $(PYTEST_ARGS)

lab: environment
	@[ -f _build/names.json ] || $(PY) tools/build_book.py --quiet --no-check
	@$(PY) tools/learners_edition.py $(if $(FRESH),--fresh)
	@$(PY) -m jupyterlab $$([ "$$(id -u)" = 0 ] && echo --allow-root) $(LAB_ARGS) learn

notebooks: environment
	@OMP_NUM_THREADS=1 $(PY) tools/run_notebooks.py --limit 90 $(NOTEBOOKS)

lint: environment
	@$(PY) -m ruff check src benchmarks tests tools examples
	@$(PY) -m mypy

clean:
	rm -rf _build build src/convcraft.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis

environment:
	@sh tools/environment.sh "$(PYTHON)"
