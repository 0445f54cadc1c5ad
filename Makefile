# Every target does all its own set-up; caches are below $QUORATE_CACHE (default ~/.cache/quorate).
# What the targets do is written in bed/src/quorate_bed; this file only names it.
SHELL := /bin/sh
.DEFAULT_GOAL := help
BED := .venv/bin/quorate-bed
SEEDS ?= 200
SEED ?= 0
LAYER ?= core
MINUTES ?= 20
NODES ?= 1

.PHONY: help setup demo demo-down cluster cluster-down kubeconfig images test test-unit test-sim \
	test-process test-charts test-e2e test-conformance test-full lint generate bench-quick sim \
	sim-replay sim-operator sim-operator-replay chaos

help: ## What can be made
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | \
		awk -F ':.*## ' '{ printf "  make %-18s %s\n", $$1, $$2 }'

setup: ## uv and the Python environment (every target does this by itself)
	@bed/setup

demo: setup ## A cluster on a real Kubernetes: produce, consume, kill the leader
	@$(BED) demo

demo-down: setup ## Remove everything that the demo made
	@$(BED) down

cluster: setup ## A Kubernetes with CRDs and operator, and no resource yet: make cluster [NODES=3]
	@$(BED) cluster --nodes $(NODES)

cluster-down: setup ## Remove that Kubernetes
	@$(BED) down

kubeconfig: setup ## Print the path of its kubeconfig (make -s kubeconfig)
	@$(BED) kubeconfig

images: setup ## Build the images whose inputs changed
	@$(BED) images

test: setup ## Everything once: lint, unit, simulation, processes, charts, Kubernetes
	@$(BED) test

test-unit: setup ## Unit and property tests, on the images' Python and on the one that is here
	@$(BED) test unit unit-here

test-sim: setup ## The deterministic simulator
	@$(BED) test simulation

test-process: setup ## Real broker processes
	@$(BED) test chaos processes

test-charts: setup ## Helm charts and resource definitions
	@$(BED) test charts

test-e2e: setup ## The test bed and the product on a real Kubernetes
	@$(BED) test kubernetes

test-conformance: setup ## Against other people's code (brings Maven and Java where missing)
	@$(BED) test conformance

test-full: setup ## Everything of `make test`, and the long ones
	@$(BED) test --full

lint: setup ## ruff, mypy, layers, the code base about itself
	@$(BED) test lint

generate: setup ## Write what is generated from code: crds/, the schema of a chart
	@.venv/bin/python -m quorate_operator.crds crds/quorate.dev_brokerclusters.yaml \
		charts/quorate-crds/files/quorate.dev_brokerclusters.yaml
	@.venv/bin/python -m quorate_operator.values_schema charts/quorate-cluster/values.schema.json

bench-quick: setup ## Throughput and CPU beside a pass-through probe
	@.venv/bin/python tests/bench/quick.py

sim: setup ## Simulator seeds: make sim SEEDS=10000 [SEED=first] [LAYER=whole] [JOBS=1] [TWICE=10]
	@.venv/bin/python -m quorate_broker.testing.simulate --layer $(LAYER) --seeds $(SEEDS) \
		--first $(SEED) $(JOBS:%=--jobs %) $(TWICE:%=--twice %)

sim-replay: setup ## One seed of the simulator, told line by line: make sim-replay SEED=892
	@.venv/bin/python -m quorate_broker.testing.simulate --layer $(LAYER) --replay $(SEED)

sim-operator: setup ## Seeds of the operator's simulation: make sim-operator SEEDS=2000 [SEED=first]
	@.venv/bin/python -m quorate_operator.testing.simulate --seeds $(SEEDS) --first $(SEED)

sim-operator-replay: setup ## One of them, told line by line: make sim-operator-replay SEED=7
	@.venv/bin/python -m quorate_operator.testing.simulate --replay $(SEED)

chaos: setup ## Faults on three real brokers, as root: make chaos MINUTES=20 [ARGUMENTS="--seed 7"]
	@.venv/bin/python -m quorate_broker.testing.chaos --minutes $(MINUTES) $(ARGUMENTS)
