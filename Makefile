.DEFAULT_GOAL := help
.PHONY: help setup run swift test coverage test-fast test-long lint types docs bench dist try-install clean

PYTHON ?= python3
BENCH ?= --publish
VENV := .venv
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PLAIN_PILLOW := build/plain-pillow
MANUAL := luna_image_store/manual/index.html
VIEWER := luna_image_store/static/redoc.standalone.js
PIP := $(BIN)/pip --disable-pip-version-check install --quiet --constraint constraints.txt --build-constraint constraints.txt
CODE := luna_image_store tests benchmarks docs/conf.py gunicorn.conf.py setup.py \
	deploy/container/is_alive.py scripts/try_install.py
TEXTS := $(CODE) docs deploy scripts README.md CHANGELOG.md CONTRIBUTING.md Makefile

help: ## Show this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | awk -F':.*## ' '{printf "  make %-12s %s\n", $$1, $$2}'

setup: $(INSTALLED) $(VIEWER) $(MANUAL) ## Create .venv with all required packages, and build the documents

run: setup ## Start the service on 127.0.0.1:5020, with data under ./var
	$(BIN)/luna-image-store serve

swift: setup ## Start an S3 server for experiments on 127.0.0.1:5030, with data under ./var; Ctrl+C stops it
	scripts/need-tools python3-swift
	$(BIN)/python -m tests.swift var/swift

test: setup $(PLAIN_PILLOW)/.installed ## Run all tests; takes about ten minutes
	scripts/need-tools nginx rsync strace python3-swift systemd python3-seccomp chromium chromium-driver prometheus victoria-metrics
	$(BIN)/pytest --numprocesses 4 --dist loadfile --no-loadscope-reorder $(PYTEST)

coverage: ## Run all tests, and report the lines and branches that they do not reach; takes 1.5 times as long
	$(MAKE) test PYTEST="--cov --cov-report=term"

test-fast: setup ## Run unit tests, and tests of the HTTP interface and the storage on a disk; takes less than a minute
	$(BIN)/pytest --numprocesses 2 --quiet -m 'not moto' tests/test_*.py tests/api tests/commands tests/http tests/server \
		tests/storage/test_disk.py tests/storage/test_probe.py tests/storage/test_record.py

test-long: setup ## Run long versions of tests: damaged images, reloads, kills, a slow upload; takes half an hour
	MUTATED_FILES=20000 RELOADS=200 KILLS=20 KILLS_ON_S3=3 LONG_UPLOAD=1024 MIGRATED_TO_S3=200 $(BIN)/pytest -s \
		tests/system/test_mutation.py tests/system/test_restarts.py tests/system/test_kill.py \
		tests/system/test_large.py tests/system/test_migrate.py

lint: $(INSTALLED) ## Check style, format, spelling and words
	$(BIN)/ruff check $(CODE)
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/codespell -D - -D docs/plain-words.txt $(TEXTS)

types: $(INSTALLED) ## Check types
	$(BIN)/mypy

docs: $(INSTALLED) ## Build the manual
	rm -rf luna_image_store/manual
	$(BIN)/sphinx-build --fail-on-warning --quiet --fresh-env --doctree-dir build/doctrees docs luna_image_store/manual

bench: setup ## Compare the service with rendering alone and with other programs; BENCH="..." for options
	scripts/need-tools wrk nginx nodejs npm python3-swift
	PYTHONPATH=. $(BIN)/python benchmarks/run.py $(BENCH)

dist: setup ## Build the wheel and the source archive, with the documents
	$(BIN)/python -m build --quiet --outdir dist

try-install: dist ## Run the steps of deploy/README.md in a clean Debian; needs root, takes some minutes
	scripts/need-tools debootstrap systemd-container
	$(BIN)/python scripts/try_install.py

clean: ## Remove all generated files, except the data under ./var
	rm -rf $(VENV) build dist luna_image_store.egg-info luna_image_store/manual $(VIEWER)* .coverage .pytest_cache .mypy_cache .ruff_cache .hypothesis

# Pillow-SIMD is installed first and alone. It is built from source and requires each library, so that no library can be missing.
$(INSTALLED): constraints.txt setup.cfg
	scripts/need-headers $(PYTHON)
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip --disable-pip-version-check install --quiet --constraint constraints.txt --upgrade pip
	[ "$$(uname -m)" != x86_64 ] || $(PIP) --no-binary pillow-simd \
		-C jpeg=enable -C zlib=enable -C tiff=enable -C lcms=enable Pillow-SIMD
	$(PIP) --editable .[dev]
	touch $@

# Tests compare Pillow-SIMD with plain Pillow. Plain Pillow needs a separate environment: both install the same files.
$(PLAIN_PILLOW)/.installed: constraints.txt
	$(PYTHON) -m venv --clear $(PLAIN_PILLOW)
	$(PLAIN_PILLOW)/bin/python -m pip --disable-pip-version-check install --quiet \
		"$$(sed -n 's/^\(Pillow==[0-9.]*\);.*/\1/p' constraints.txt)"
	touch $@

# The viewer of the OpenAPI document is a file of this package. Without the replacement it would load a logo from the internet.
$(VIEWER): $(INSTALLED)
	$(PIP) --no-deps --upgrade --target build/viewer drf-spectacular-sidecar
	sed 's|https://cdn.redoc.ly/redoc/logo-mini.svg|data:,|' \
		build/viewer/drf_spectacular_sidecar/static/drf_spectacular_sidecar/redoc/bundles/redoc.standalone.js > $@.new
	cp build/viewer/drf_spectacular_sidecar/static/drf_spectacular_sidecar/redoc/LICENSE $@.LICENSE.txt
	mv $@.new $@

$(MANUAL): $(INSTALLED) $(wildcard docs/* docs/static/*) luna_image_store/settings.py luna_image_store/errors.py \
		luna_image_store/monitoring/metric_definitions.py CHANGELOG.md deploy/README.md
	$(MAKE) docs
