# Vitne: `make help` says what is here.
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
MAKEFLAGS += --no-print-directory

# The first of these that there is; PYTHON=… chooses another.
PYTHON ?= $(firstword $(foreach name,python3.11 python3.12 python3.13 python3 python,$(shell command -v $(name) 2>/dev/null)))
RUN := .venv/bin/python
export PATH := $(CURDIR)/.venv/bin:$(PATH):$(CURDIR)/build/promtool/usr/bin
export PYTHONPATH := $(CURDIR):$(CURDIR)/clients/python
# Where the embedded stack keeps its state: the only folder besides .venv and build/.
VITNE_HOME ?= $(CURDIR)/.vitne
export VITNE_HOME
# How the stack of demo, up and soak is wanted: TLS=1 protects all that its parts say to each other.
on = $(filter 1 yes on true,$(1))
STACK = $(if $(call on,$(TLS)),--tls) $(if $(KAFKA),--kafka $(KAFKA))

# What may be said on the command line: a misspelt name would be passed over in silence. Values: tools/variables.py.
VARIABLES := ARGS EVENTS GRAPHS KAFKA KEEP KILLS MINUTES ONLY PROFILE PYTHON QUICK SECONDS SIZE TARGET TLS VERBOSE VITNE_HOME WORKERS
GIVEN := $(foreach name,$(.VARIABLES),$(if $(findstring command line,$(origin $(name))),$(name)))
MISSPELT := $(filter-out $(VARIABLES),$(GIVEN))
$(if $(MISSPELT),$(error nothing here is called $(MISSPELT); known are $(VARIABLES)))

# What may be asked for: a name that is none, as ONLY without its =, would be found out when the others have run.
TARGETS := help setup demo up test unit lint proto-check format test-docs test-browser test-operate test-kills \
	test-kafka test-alerts test-deploy-crds conformance oracles interop fuzz soak record bench bench-long \
	bench-portal-scale bench-million client rules formats asyncapi monitoring contexts lock sbom clean \
	distclean
UNKNOWN := $(filter-out $(TARGETS),$(MAKECMDGOALS))
$(if $(UNKNOWN),$(error no target is called $(UNKNOWN): $(or $(patsubst %,write %=…,$(filter $(VARIABLES),$(UNKNOWN))),make help lists them)))
.PHONY: $(TARGETS)

##@ Begin

help: ## Show this help
	@awk 'BEGIN {FS = ":.*## "} /^##@ / {printf "\n%s\n", substr($$0, 5)} \
		/^[a-z][a-z-]*:.*## / {printf "  make %-18s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Install what the locks pin, generate the stubs (every target does this first)
	@command -v "$(PYTHON)" > /dev/null || { echo "setup: $(or $(PYTHON),Python) is not on the PATH; Vitne needs Python 3.11 or newer (PYTHON=… says where)" >&2; exit 1; }
	@$(PYTHON) tools/variables.py $(GIVEN)
	@$(PYTHON) tools/bootstrap.py

demo: setup ## Run the whole road once on the embedded stack, show the result, end (VERBOSE=1, TLS=1, KAFKA=apache)
	@$(RUN) -m vitne.dev demo $(STACK) $(if $(call on,$(VERBOSE)),--verbose)

up: setup ## Start the embedded stack with the demo's data, print its pages, run until Ctrl-C (TLS=1, KAFKA=apache)
	@$(RUN) -m vitne.dev up $(STACK)

##@ Change something

# Tests wait more than they compute, so two processes at a time take little more than half as long.
WORKERS ?= 2
test: setup ## Pass all tests on the embedded stack (ARGS=… goes to pytest, WORKERS=0 runs them one by one)
	@$(RUN) -m pytest --numprocesses $(WORKERS) --ignore tests/faults/test_kills.py --ignore tests/operate --ignore tests/docs --ignore tests/browser $(ARGS)

unit: setup ## Only the tests that need no stack
	@$(RUN) -m pytest -m "not stack" $(ARGS)

lint: setup ## ruff, mypy --strict, the import rules, buf
	@ruff check .
	@ruff format --check .
	@mypy
	@lint-imports
	@$(MAKE) proto-check

proto-check: setup ## Lint the protos; refuse changes that break what was released
	@buf lint
	@buf format --diff --exit-code proto
	@buf breaking proto --against proto/released.binpb

format: setup ## Format the code and the protos
	@ruff format .
	@ruff check --fix-only .
	@buf format --write proto

##@ Test what takes longer

test-docs: setup ## Run every command of docs/ as it is written, on the stack and with kubectl
	@$(RUN) -m pytest tests/docs $(ARGS)

test-browser: setup ## Drive headless Chromium through the portal's pages, axe on each; pictures in build/screenshots
	@$(PYTHON) tools/bootstrap.py browser
	@$(RUN) -m tools.chromium
	@$(RUN) -m pytest tests/browser $(ARGS)

test-operate: setup ## Lose and restore databases; upgrade from the release before, and back, under load
	@$(RUN) -m pytest tests/operate $(ARGS)

test-kills: setup ## End real processes with SIGKILL, 200 times, while they work
	@$(RUN) -m pytest tests/faults/test_kills.py $(ARGS)

test-kafka: setup ## Pass all tests that touch messaging on a real Apache Kafka, kills too (Java 17, Maven)
	@VITNE_TEST_KAFKA=apache $(RUN) -m pytest --ignore tests/browser --ignore tests/docs --ignore tests/unit $(or $(ARGS),-m kafka)

test-alerts: setup ## Try every alert with promtool (of Debian's package prometheus, unpacked into build/ unless it is there)
	@command -v promtool > /dev/null || $(RUN) -m tools.promtool
	@$(RUN) -m pytest tests/deploy/test_deploy_alerts_promtool.py $(ARGS)

test-deploy-crds: setup ## Check custom resources against their makers' schemas (needs Go)
	@VITNE_TEST_CRDS=1 $(RUN) -m pytest tests/deploy/test_deploy_crds.py $(ARGS)

conformance: setup ## Official test data (../shared/vectors): a line of JSON a suite, and the table in docs/conformance.md
	@$(RUN) -m tests.conformance

oracles: setup ## RDFC-1.0 against other implementations: GRAPHS=20000 random graphs
	@VITNE_ORACLE_GRAPHS=$(or $(GRAPHS),20000) $(RUN) -m pytest tests/unit/test_w3c_oracles.py $(ARGS)

interop: setup ## Node programs read the hub's topic, verify our credentials and issue theirs; Go walks the log, and has its own cosigned (Node 20, npm; Go)
	@for folder in tests/interop clients/examples; do npm ci --prefix $$folder --ignore-scripts --silent --no-audit --no-fund; done
	@$(RUN) -m tests.interop.credentials
	@$(RUN) -m tests.interop.asyncapi
	@$(RUN) -m tests.interop.witnesses
	@$(RUN) -m vitne.dev interop

fuzz: setup ## Fuzz every parser, guided by coverage: SECONDS=600 of CPU each, TARGET=elmo, KEEP=1 keeps what reached new code
	@$(PYTHON) tools/bootstrap.py fuzz
	@$(RUN) -m tests.fuzz --seconds $(or $(SECONDS),600) $(if $(TARGET),--target $(TARGET)) $(if $(call on,$(KEEP)),--keep)

soak: setup ## test-kills for longer: KILLS=1000, TLS=1, KAFKA=apache
	@$(RUN) -m vitne.dev soak --kills $(or $(KILLS),1000) $(STACK)

record: setup ## 10,000 simulated faults and 1,000 kills; what came of it into docs/recorded-run.md (Java 17, Maven)
	@$(RUN) -m tests.faults.record $(ARGS)

##@ Measure

bench: setup ## What it costs: ONLY=issue (names that begin so), PROFILE=1, QUICK=1, KAFKA=apache
	@$(PYTHON) tools/bootstrap.py bench
	@$(RUN) -m bench $(if $(ONLY),--only $(ONLY)) $(if $(call on,$(PROFILE)),--profile) $(if $(call on,$(QUICK)),--quick) $(if $(KAFKA),--kafka $(KAFKA))

bench-long: setup ## What an append costs up to 10,000,000 leaves, drawn (SIZE=…, MINUTES=30; called again it goes on)
	@$(PYTHON) tools/bootstrap.py bench
	@$(RUN) -m bench.long $(if $(SIZE),--size $(SIZE)) $(if $(MINUTES),--minutes $(MINUTES))

bench-portal-scale: setup ## Pages and memory of a portal with 100,000 learners of 20 credentials (SIZE=learners, MINUTES=15; 9 GB)
	@$(PYTHON) tools/bootstrap.py bench
	@$(RUN) -m bench.scale $(if $(SIZE),--learners $(SIZE)) $(if $(MINUTES),--minutes $(MINUTES))

bench-million: setup ## A portal that begins with nothing catches up with a million events (EVENTS=…, KAFKA=apache; 12 GB)
	@$(PYTHON) tools/bootstrap.py bench
	@$(RUN) -m bench.million $(if $(EVENTS),--events $(EVENTS)) $(if $(KAFKA),--kafka $(KAFKA))

##@ Write what is made from something else

client: setup ## Build the wheel of clients/python, for portals and institutions, into build/client
	@$(RUN) -m tools.client

rules: setup ## Write docs/rules.md from the national rules
	@$(RUN) -m tools.rules

formats: setup ## Write docs/formats.md: where each element of a credential goes
	@$(RUN) -m tools.formats

asyncapi: setup ## Write docs/asyncapi.json: topics, keys, headers, messages
	@$(RUN) -m tools.asyncapi

monitoring: setup ## Make alerts on objectives and dashboards anew, from what tools/monitoring has
	@$(RUN) -m tools.monitoring

contexts: setup ## Compile the pinned JSON-LD contexts anew, from the official documents in ../shared/vectors
	@$(RUN) -m tools.contexts

lock: setup ## Renew the hash-pinned locks from pyproject.toml
	@uv pip compile -q --upgrade pyproject.toml --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -o requirements/run.txt
	@uv pip compile -q --upgrade pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -c requirements/run.txt -o requirements/dev.txt
	@uv pip compile -q --upgrade pyproject.toml --extra build --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -c requirements/dev.txt -o requirements/build.txt
	@uv pip compile -q --upgrade --group pyproject.toml:bench --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -c requirements/dev.txt -o requirements/bench.txt
	@uv pip compile -q --upgrade --group pyproject.toml:fuzz --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -c requirements/dev.txt -o requirements/fuzz.txt
	@uv pip compile -q --upgrade --group pyproject.toml:browser --universal --python-version 3.11 --generate-hashes \
		--no-emit-index-url --no-header --no-annotate -c requirements/dev.txt -o requirements/browser.txt

sbom: setup ## CycloneDX list of what the lock pins, into build/sbom.cdx.json
	@cyclonedx-py requirements requirements/run.txt --of JSON --sv 1.6 --output-reproducible -o build/sbom.cdx.json

##@ Clear away

clean: ## Remove what was made here, but .venv and what may be your own: figures, credentials, bundles, keys (it says which)
	@$(PYTHON) tools/clean.py "$(VITNE_HOME)"

distclean: clean ## Remove .venv, too
	@rm -rf .venv
