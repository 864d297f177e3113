# The course in one word each; `make help` lists them. Override PRESET and RUN on the command line.
PRESET ?= quick
RUN ?= demo
PYTHON := .venv/bin/python

# A step of training frees what the next one asks for again. glibc returns it to the system in between, and up to a tenth
# of the step goes by until every page is there again: let it keep what is smaller than 1 GB.
export MALLOC_TRIM_THRESHOLD_ := 1073741824
export MALLOC_MMAP_THRESHOLD_ := 33554432

.PHONY: demo course book lab test labtest booktest bench coverage remote clean help

demo: .venv/ready  ## set up, run the course on the practice archive, build the book (runs/demo)
	$(PYTHON) notebooks/run_course.py --preset notebooks/presets/quick.yml --run demo
	$(PYTHON) jupyter-book/build.py --run demo

course: .venv/ready  ## run the notebooks: make course PRESET=quick RUN=name
	$(PYTHON) notebooks/run_course.py --preset notebooks/presets/$(PRESET).yml --run $(RUN)

book: .venv/ready  ## build the book from a run: make book RUN=name
	$(PYTHON) jupyter-book/build.py --run $(RUN)

lab: .venv/ready  ## open the notebooks in JupyterLab
	$(PYTHON) -m jupyterlab --notebook-dir=. notebooks/

test: .venv/ready  ## run every test, on two cores
	OMP_NUM_THREADS=1 LOKY_MAX_CPU_COUNT=1 $(PYTHON) -m pytest -n 2 --dist loadfile --no-loadscope-reorder

labtest: .venv/ready  ## run the notebooks of a preset in JupyterLab, as a reader does: make labtest PRESET=quick
	$(PYTHON) -m pytest tests/test_jupyterlab.py --preset $(PRESET)

booktest: .venv/ready  ## look at the book of a run in a browser, and leave pictures of its pages: make booktest RUN=name
	$(PYTHON) -m pytest tests/test_book_in_browser.py --book runs/$(RUN)/book/_build/html

bench: .venv/ready  ## measure speed against peers and limits (runs/bench.json): takes hours, wants a quiet machine
	$(PYTHON) -c "import datasets, faiss" || $(PYTHON) -m pip install --quiet --editable ".[bench]"
	$(PYTHON) benchmarks/bench.py --out runs/bench.json $(if $(wildcard runs/demo/summary.json),--run runs/demo)

coverage: .venv/ready  ## run every test and say which lines of the packages none of them runs
	$(PYTHON) -m pytest --cov --cov-report=term

remote: .venv/ready  ## a few small requests to the real archives
	$(PYTHON) -m pytest --remote-data tests/data_fetch/test_remote.py

clean:  ## delete what tests and builds leave; keep .venv, the runs and what was fetched
	rm -rf build *.egg-info .pytest_cache .ruff_cache .mypy_cache .hypothesis .coverage*

help:  ## list the targets
	@sed -n 's/^\([a-z]*\):.*##/\1 \t/p' Makefile

# Also when the Python that .venv was made with has been upgraded away.
.venv/ready: pyproject.toml setup_env.py $(shell test -x $(PYTHON) || echo gone)
	python3 setup_env.py

.PHONY: gone
gone:
