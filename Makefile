# One entry for everything. Each target makes its own virtual environment first; nothing else has to be installed by
# hand on a Debian machine (fuse3 is installed where that is allowed, else the script says in one line what to do).

VENV ?= .venv
PYTHON ?= python3
BIN := $(VENV)/bin

.PHONY: help demo test slow lint types sim crash machine bench judges clean lock editing retention view view-lives view-bucket day outside

help:
	@echo "make demo    set up, then mount a home twice and watch a note travel (embedded default, no server)"
	@echo "make test    set up, then run every test (about 15 minutes)"
	@echo "make slow    the tests that make test leaves out, because each takes long (about ten minutes)"
	@echo "make bench   set up, then measure a mount beside the local file system"
	@echo "make day     what a day of agent work asks of a store, and what that costs (about ten minutes)"
	@echo "make sim     the seeded simulation, many seeds on all cores (SEEDS=10000 FIRST=0 PROCESSES=$(PROCESSES))"
	@echo "make crash   kill -9 under load, many rounds (ROUNDS=200)"
	@echo "make machine the tree beside a real directory, long (EXAMPLES=3000)"
	@echo "make retention  the model of clean-ups beside writers, pins and sleepers, many walks (RETENTION_SEEDS=2000)"
	@echo "make editing two mounts, editors at work on the same files, cut off and connected (EDITING_SECONDS=60)"
	@echo "make outside two mounts and an outsider with an S3 client at work on the same files (OUTSIDE_SECONDS=60)"
	@echo "make view    Markdown files of all kinds to objects of the view and back (VIEW_VARIANTS=100000)"
	@echo "make view-lives  random lives of keepers of a view, by seeds (VIEW_LIVES=0-300)"
	@echo "make view-bucket  the same through a mount, an S3 server, another client and another machine (BUCKET_VARIANTS=10000)"
	@echo "make judges  stress-ng, dbench, fio, git, SQLite, rsync and tar on a real mount"
	@echo "make lock    renew the pinned requirements"

$(VENV)/.ready: pyproject.toml requirements/dev.txt scripts/setup
	@PYTHON=$(PYTHON) VENV=$(VENV) scripts/setup
	@touch $@

demo: $(VENV)/.ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/demo

test: $(VENV)/.ready lint types
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test

slow: $(VENV)/.ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/test -m slow

lint: $(VENV)/.ready
	@$(BIN)/ruff check --quiet . && $(BIN)/ruff format --check --quiet .

types: $(VENV)/.ready
	@$(BIN)/mypy --no-error-summary

SEEDS ?= 10000
FIRST ?= 0
PROCESSES ?= $(shell nproc)
sim: $(VENV)/.ready
	@$(BIN)/python -m tests.sim.run --seeds $(SEEDS) --first $(FIRST) --processes $(PROCESSES)

RETENTION_SEEDS ?= 2000
retention: $(VENV)/.ready
	@RETENTION_SEEDS=$(RETENTION_SEEDS) $(BIN)/python -m pytest -q --timeout=0 tests/model/test_retention_protocol.py -k kept

ROUNDS ?= 200
crash: $(VENV)/.ready
	@$(BIN)/python -m tests.crash.run --rounds $(ROUNDS)

EDITING_SECONDS ?= 60
OUTSIDE_SECONDS ?= 60
outside: $(VENV)/.ready
	@OUTSIDE_SECONDS=$(OUTSIDE_SECONDS) $(BIN)/python -m pytest -q tests/system/test_outside.py

editing: $(VENV)/.ready
	@EDITING_SECONDS=$(EDITING_SECONDS) $(BIN)/python -m pytest -q -m "" tests/system/test_editing.py

VIEW_VARIANTS ?= 100000
view: $(VENV)/.ready
	@VIEW_VARIANTS=$(VIEW_VARIANTS) $(BIN)/python -m pytest -q -s --timeout=0 tests/unit/test_view_objects.py -k "variants or same"

VIEW_LIVES ?= 0-300
view-lives: $(VENV)/.ready
	@AGENTFS_VIEW_SEEDS=$(VIEW_LIVES) $(BIN)/python -m pytest -q --timeout=0 tests/unit/test_view_random.py

BUCKET_VARIANTS ?= 10000
view-bucket: $(VENV)/.ready
	@BUCKET_VARIANTS=$(BUCKET_VARIANTS) $(BIN)/python -m pytest -q --timeout=0 tests/system/test_variants_in_bucket.py

EXAMPLES ?= 3000
machine: $(VENV)/.ready
	@HYPOTHESIS_PROFILE=machine EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest -q tests/model/test_tree_machine.py

bench: $(VENV)/.ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench $(BENCH)

day: $(VENV)/.ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" $(BIN)/python -m bench --only day $(BENCH)

judges: $(VENV)/.ready
	@PATH="$(CURDIR)/$(BIN):$$PATH" scripts/judges

lock: $(VENV)/.ready
	$(BIN)/pip install --quiet uv
	$(BIN)/uv pip compile -q --upgrade --no-emit-index-url --no-header --generate-hashes --universal pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile -q --upgrade --no-emit-index-url --no-header --generate-hashes --universal --all-extras --group dev pyproject.toml -o requirements/dev.txt

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
