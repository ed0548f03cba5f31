# The entry points. `make help` lists them.
SHELL := /bin/bash
PYTHON ?= python3
INVENTORY ?= inventories/local
SCENARIO ?= $(or $(LLMD_WIDE_EP_SCENARIO),$(if $(findstring gateway_provider=istio,$(EXTRA)),istio,$(if $(findstring benchmark_enabled=true,$(EXTRA)),benchmark,standalone)))
EXTRA ?=
STAGES ?=
BUDGET ?=

BUILDER := .venv/bin/python roles/rehearsal_cluster/files/builder
PLAYBOOK := .venv/bin/ansible-playbook

.PHONY: help setup setup-test binaries site check rehearse test test-all test-rdma bench bench-cold lock docs release clean

help: ## List the entry points
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## Set up what a real cluster needs: no root, no Go, Linux or macOS
	@$(PYTHON) tools/setup.py

setup-test:
	@$(PYTHON) tools/setup.py --for test

binaries: setup ## Build the programs and images of the rehearsal cluster (cached outside the checkout)
	@$(BUILDER) ensure --scenario $(SCENARIO)

# Only the rehearsal cluster needs programs built here.
site: $(if $(filter inventories/local%,$(INVENTORY)),binaries,setup) ## Do the whole guide
	@LLMD_WIDE_EP_SCENARIO=$(SCENARIO) $(PLAYBOOK) site.yml -i $(INVENTORY) $(EXTRA)

check: setup ## Show what `make site` would change
	@$(PLAYBOOK) site.yml -i $(INVENTORY) --check --diff $(EXTRA)

rehearse: setup-test binaries ## Rehearse a provider's inventory, from an empty account to an empty account
	@LLMD_WIDE_EP_SCENARIO=$(SCENARIO) .venv/bin/python tests/integration/rehearse \
	  --inventory $(if $(filter inventories/local,$(INVENTORY)),inventories/gke,$(INVENTORY))

test: setup-test ## Run the tests; STAGES=static,unit selects, BUDGET=60 leaves out what would take longer
	@.venv/bin/python tools/test.py $(if $(STAGES),--stages $(STAGES)) $(if $(BUDGET),--budget $(BUDGET))

test-all: setup-test ## Run the tests and what takes long; STAGES=extended selects
	@.venv/bin/python tools/test.py --extended $(if $(STAGES),--stages $(STAGES))

test-rdma: setup-test ## Check the mesh prober on soft-RoCE guests; needs root, 4 GiB and some minutes
	@.venv/bin/python tests/rdma/run.py

bench: setup-test binaries ## Measure the deployment against bare helm and kubectl, in one run
	@$(PLAYBOOK) playbooks/rehearsal_cluster.yml playbooks/lws.yml playbooks/gateway.yml -i inventories/local
	@.venv/bin/python tests/bench/site.py

bench-cold: setup-test ## Measure each phase from empty caches and from no cluster
	@.venv/bin/python tests/bench/cold.py --from caches
	@.venv/bin/python tests/bench/cold.py --from cluster

lock: ## Compile the locked requirements of both Python lanes
	@.venv/bin/python tools/lock.py

release: setup-test ## Build the collection and its bill of materials into dist/
	@.venv/bin/python tools/release.py

clean: setup ## Take the rehearsal clusters and everything else of ours off the machine
	@$(PLAYBOOK) playbooks/rehearsal_cluster_remove.yml -i inventories/local -e rehearsal_cluster_remove_all=true
	@$(BUILDER) clean
	@$(PYTHON) tools/setup.py --remove

docs: setup ## Write docs/reference from the sources
	@.venv/bin/python tools/reference.py
	@.venv/bin/python tools/upstream_differences.py
	@.venv/bin/python tools/runbooks.py
