# Every task of the project; `make help` lists them.
#
# The active virtual environment is used; without one, .venv is made. Each task installs what it needs into it, but
# never the package: tasks work in the source tree. DEBUG=1 builds without optimisation.

VENV := $(or $(VIRTUAL_ENV),$(CURDIR)/.venv)
PYTHON ?= python3
JOBS ?= $(shell getconf _NPROCESSORS_ONLN)
APP ?= fastwsgi.demo:app
ARGS ?=

export PATH := $(VENV)/bin:$(PATH)
export FASTWSGI_DEBUG := $(DEBUG)
# The package is found in the source tree, wherever a task runs.
export PYTHONPATH := $(CURDIR)

need = @python scripts/extra.py build run $(1)

.DEFAULT_GOAL := help
.PHONY: help build serve test thorough ctest stress strict-apps py314 py313t lint sanitize fuzz bench publish soak fleet conformance conformance-tls tls-audit profile coverage settings tutorial docs map dist dist-test clean

help: ## list the tasks
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## /{printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

build: $(VENV)/bin/python ## compile the modules in place
	$(call need)
	@python setup.py --quiet build_ext --inplace --parallel $(JOBS)

serve: build ## serve APP (the demo by default), with ARGS
	python -m fastwsgi $(ARGS) $(APP)

test: build ## run the suite, with ARGS
	$(call need,test)
	python -m pytest $(ARGS)

thorough: build ## run what the suite takes samples of, whole: states of the models, allocations that fail
	$(call need,test)
	FASTWSGI_THOROUGH=1 python -m pytest tests/threads/test_model.py tests/process/test_injection.py $(ARGS)

ctest: build ## run the C core's unit tests under sanitizers, and check the models of its protocols
	$(call need,test)
	python -m pytest tests/threads/test_c_units.py tests/threads/test_races.py tests/threads/test_model.py $(ARGS)

stress: $(VENV)/bin/python ## run the programs that look for races 200 times each, cores oversubscribed, with ARGS
	$(call need,test)
	python scripts/stress.py $(ARGS)

lint: $(VENV)/bin/python ## check the style and the types of all sources
	$(call need,lint)
	ruff check .
	mypy
	cython-lint fastwsgi
	scripts/lint-c

sanitize: $(VENV)/bin/python ## run the suite under ASan and UBSan, with ARGS
	$(call need,test)
	scripts/sanitize $(ARGS)

conformance: build ## play the specifications against this server and its peers: docs/conformance.md
	$(call need,test)
	python tests/conformance $(ARGS)

conformance-tls: build ## play the specifications through TLS, in every way
	$(call need,test)
	EVERY_WAY=1 python -m pytest tests/tls/test_tls_conformance.py $(ARGS)

tls-audit: build ## let testssl.sh look at the server, with ARGS for testssl.sh
	$(call need,test)
	python scripts/tls_audit.py $(ARGS)

fuzz: $(VENV)/bin/python ## let fuzzers loose on parser, bodies, connections and responses, each for SECONDS_TO_FUZZ
	$(call need)
	scripts/fuzz $(ARGS)

bench: build ## measure, beside other servers; bench/README.md says how
	$(call need,bench)
	python -m bench.run $(ARGS)

publish: $(VENV)/bin/python ## make the last measurement the published one, in README and docs
	python -m bench.publish $(ARGS)

soak: build ## reload, upgrade, recycle and kill workers under load, again and again, and lose no request
	python -m bench.soak $(ARGS)

fleet: build ## deploy two releases over three hosts behind HAProxy, kill a host, and lose no request (needs root)
	python -m bench.fleet $(ARGS)

profile: build ## tell where the instructions of a request go, with callgrind
	python -m bench.profile $(ARGS)

coverage: $(VENV)/bin/python ## tell which lines of Python and C the suite runs
	$(call need,test coverage)
	scripts/coverage $(ARGS)

settings: build ## bring documents and types into step with the table of settings
	$(call need)
	@python scripts/settings_page.py --write

tutorial: build ## do what docs/tutorial.md says: Django behind nginx with TLS, metrics, a deployment, a rollback
	$(call need,test)
	FASTWSGI_TUTORIAL=1 python -m pytest -n 0 tests/project/test_pages.py -k can_be_done $(ARGS)

docs: settings ## render the documentation to site/, strictly: every link leads somewhere
	$(call need,docs)
	NO_MKDOCS_2_WARNING=1 mkdocs build --strict

map: $(VENV)/bin/python ## draw the wings and what imports what, docs/map.svg, and report arrows that point up
	@python scripts/map.py --write

dist: $(VENV)/bin/python ## build sdist and wheel into dist/
	$(call need,dist)
	python -m build

dist-test: $(VENV)/bin/python ## build, install and start the package on every Python found
	$(call need,test)
	FASTWSGI_EVERY_PYTHON=1 python -m pytest tests/project/test_packaging.py $(ARGS)

strict-apps: build ## run applications from PyPI under --strict-wsgi; ARGS=--write renews the table in docs/strict.md
	python scripts/strict_apps $(ARGS)

py314: ## build and test with Python 3.14, in Debian's unstable suite in a folder of its own (needs root)
	scripts/py314 $(ARGS)

py313t: ## build and test with a free-threaded Python 3.13, built from Debian's source package, without its lock
	scripts/py313t $(ARGS)

clean: ## remove what the tasks made
	rm -rf build dist site *.egg-info fastwsgi/_core/*.so .coverage* callgrind.out.*
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -not -path './.venv/*' -prune -exec rm -rf {} +
