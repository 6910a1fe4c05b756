# One page of verbs; `make` alone prints them. Everything is set up when it is first needed.

PY      := .venv/bin/python
PYTEST  := $(PY) -m pytest
LOCK    := images/python-dev.lock
DEBIAN  := images/debian-packages.txt
MASKED  := coturn kea-dhcp4-server prometheus # packages whose service must not run on the machine that installs them
# Stamps are named by the content they stand for: what has not changed is not done again.
STAMP_DEBIAN := build/setup/debian-$(shell sha256sum $(DEBIAN) | cut -c1-16)
STAMP_VENV   := .venv/setup-$(shell cat $(LOCK) pyproject.toml | sha256sum | cut -c1-16)
PIP_COMPILE  := .venv/bin/pip-compile --quiet --generate-hashes --allow-unsafe --strip-extras \
	--no-emit-index-url --no-emit-find-links --no-emit-trusted-host --no-header \
	$(if $(UPGRADE),--upgrade)
SUITES  := test-e2e test-asan test-netns test-c test-unit
CORES   := $(shell nproc)
# The tests start programs some hundred times; each would compile itself anew.
unexport PYTHONDONTWRITEBYTECODE
C_FILES = $(wildcard datapath_c/src/*.[ch] datapath_c/xdp/*.c datapath_c/include/*.h)

.DEFAULT_GOAL := help
.PHONY: help setup build build-asan demo figures test test-unit test-c test-asan test-netns test-e2e \
	lint format fuzz soak bench bench-dhcp bench-peers lab-up lab-down lock clean

help: ## this page
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "  make %-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

setup: $(STAMP_DEBIAN) $(STAMP_VENV) ## install what is missing: Debian packages (as root), .venv

$(STAMP_DEBIAN): $(DEBIAN)
	@missing=$$(sed 's/#.*//' $(DEBIAN) | xargs -n1 | while read -r p; do \
		dpkg-query -W -f '$${Status}' "$$p" 2>/dev/null | grep -q 'ok installed' || echo "$$p"; \
	done | xargs); \
	if [ -n "$$missing" ]; then \
		if [ "$$(id -u)" != 0 ]; then \
			echo "Debian packages missing:" $$missing "- install them, or run make as root" >&2; exit 1; \
		fi; \
		for p in $(MASKED); do case " $$missing " in *" $$p "*) \
			mkdir -p /etc/systemd/system && ln -sn /dev/null /etc/systemd/system/$$p.service || true;; \
		esac; done; \
		export DEBIAN_FRONTEND=noninteractive; \
		apt-get -q update && \
		apt-get -q install -y --no-install-recommends -o DPkg::Lock::Timeout=300 $$missing; \
	fi
	@mkdir -p $(@D) && rm -f build/setup/debian-* && touch $@

$(STAMP_VENV): $(LOCK) pyproject.toml | $(STAMP_DEBIAN)
	@test -x $(PY) || /usr/bin/python3 -m venv .venv
	$(PY) -m pip install --quiet --disable-pip-version-check --require-hashes -r $(LOCK)
	PYTHONWARNINGS=ignore $(PY) -m pip install --quiet --disable-pip-version-check --no-deps \
		--no-build-isolation -e .
	@rm -f .venv/setup-* && touch $@

build: setup ## compile the datapath (only what changed)
	@$(PY) -m pcg.datapath.build

build-asan: setup ## the same with AddressSanitizer and UBSan
	@$(PY) -m pcg.datapath.build --asan

demo: build ## the lab on real packets, as root; KEEP=1 leaves it up
	$(PY) -m pcg.lab demo $(if $(KEEP),--keep)

figures: build ## latency, throughput and CPU time beside Open vSwitch in the lab, as root
	$(PY) -m pcg.lab figures $(ARGS)

# As many at once as there are cores, the longest first: no test judges how fast something is, and
# each has names of its own. What one prints comes when it ends; the others go on if it fails. All is
# built before: while something is being built, what waits for it loses its place in the order.
test: build build-asan ## every test, as root; CORES=1: one folder after the other
	@echo "$(CORES) at a time, shown when they end: $(SUITES)"
	@$(MAKE) --no-print-directory --jobs=$(CORES) --output-sync=target --keep-going \
		--assume-old=build --assume-old=build-asan $(SUITES)

test-unit: build ## the tests without root
	$(PYTEST) tests/unit $(ARGS)

test-c: build ## the C packet path, through its border
	$(PYTEST) tests/c $(ARGS)

test-asan: build-asan ## the same and 200,000 random frames with AddressSanitizer and UBSan
	CASES=200 $(PY) -m pcg.datapath.build --asan --run -m pytest -q -p no:cacheprovider tests/c tests/fuzz

test-netns: build ## tests on the kernel's network namespaces, as root
	$(PYTEST) tests/netns $(ARGS)

test-e2e: build ## the scenario with real Open vSwitch hosts, as root
	$(PYTEST) tests/e2e $(ARGS)

lint: setup ## ruff, and the C code with every warning an error
	.venv/bin/ruff check .
	.venv/bin/ruff format --check .
	$(PY) -m pcg.datapath.build --strict

format: setup ## put the Python code into its form
	.venv/bin/ruff check --fix .
	.venv/bin/ruff format .

fuzz: build build-asan ## libFuzzer for FUZZ_SECONDS (3600), then FRAMES (200,000) random ones of SEED; sanitized
	$(PY) -m tests.fuzz.libfuzzer --seconds $(or $(FUZZ_SECONDS),3600)
	$(PY) -m pcg.datapath.build --asan --run -m pytest -q -p no:cacheprovider tests/fuzz $(ARGS)

soak: build ## the path against its twin, CASES (100,000) new ones; the scenario ROUNDS times (10)
	HYPOTHESIS_PROFILE=default CASES=$(or $(CASES),100000) $(PYTEST) -q tests/c/test_twin_gateway.py
	HYPOTHESIS_PROFILE=default $(PYTEST) -q tests/unit/proto tests/unit/wire tests/unit/reconcile tests/unit/model
	@for round in $$(seq $(or $(ROUNDS),10)); do \
		echo "round $$round"; $(PY) -m pcg.lab demo || exit 1; done

bench: build ## figures of the packet path; QUICK=1: the shorter parts, in a minute; ARGS="--only north --sessions 1000"
	$(PY) -m bench.run $(if $(QUICK),--quick) $(ARGS)

bench-dhcp: build ## DHCP under load, tunnel to Kea and back, as root
	$(PY) -m bench.run --only dhcp $(ARGS)

bench-peers: build ## the same packets through Linux and Open vSwitch, in turns, as root; ARGS="--only memory"
	$(PY) -m bench.peers $(ARGS)

lab-up: build ## raise the lab and leave it up
	$(PY) -m pcg.lab up

lab-down: setup ## take down a lab that was left up
	$(PY) -m pcg.lab down

lock: setup ## pin the Python packages of pyproject.toml; UPGRADE=1 moves to the newest
	$(PIP_COMPILE) -o images/python.lock pyproject.toml
	$(PIP_COMPILE) --extra dev -c images/python.lock -o $(LOCK) pyproject.toml

clean: ## remove what was built; .venv stays
	rm -rf build pcg/datapath/_pcgdp*.so .pytest_cache .ruff_cache .hypothesis
	find pcg tests bench -name __pycache__ -type d -prune -exec rm -rf {} +
