# Everything a newcomer needs: `make demo` and `make test` set up their own .venv from pinned versions.

PYTHON ?= python3
VENV := .venv
PY := $(VENV)/bin/python
READY := $(VENV)/.ready
LITE := tests/fakes/cloud/node_modules/.package-lock.json
N ?= 100
ARGS ?=

export PIP_DISABLE_PIP_VERSION_CHECK := 1

.DEFAULT_GOAL := help
.PHONY: help demo test check cloud bench torture damage powercut models year mutants run test-lab test-versions faults install uninstall test-device

help:  ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

demo: $(READY)  ## record a made-up match with two simulated cameras and show the finished film (ARGS="--seconds 20")
	@$(PY) -m ezrec demo $(ARGS)

test: $(READY)  ## run all tests (ARGS="tests/test_config.py" for some)
	$(PY) -m pytest -n 3 $(ARGS)

test-versions:  ## the cameras with every version of Picamera2, PyAV and Python that is said to work
	tests/lab/versions.sh

test-lab:  ## as root: the recorder on real libcamera with virtual cameras, in a Debian tree that is built once
	tests/lab/run.sh

test-device: $(READY)  ## as root: the installation and upgrades under a real systemd, in a disk image (ARGS=--short)
	$(PY) tests/device/scenario.py $(ARGS)

cloud: $(LITE)  ## install the stand-in for Supabase, without which `make test` skips its tests (needs npm and Node 20)

check: $(READY)  ## ruff, mypy and the import rules
	$(PY) -m ruff check .
	$(PY) -m mypy
	$(VENV)/bin/lint-imports

bench: $(READY)  ## measure film making, delays and memory, and print a table
	$(PY) tests/bench/bench.py $(ARGS)

faults: $(READY)  ## make a camera's faults one by one and write what they cost into docs/cameras.md
	$(PY) tests/bench/faults.py $(ARGS)

damage: $(READY)  ## damage the data folder of the real program N times between kills (N=100) and look at what it makes of it
	$(PY) tests/whole/damage.py --runs $(N) $(ARGS)

torture: $(READY)  ## kill the real program at N moments (N=100) and look at what it leaves
	$(PY) tests/whole/torture.py --runs $(N) $(ARGS)

powercut: $(READY)  ## as root: cut the power of the real program on a slow disk at N moments (N=100) and look at what it leaves
	$(PY) tests/whole/powercut.py --runs $(N) $(ARGS)

models: N = 10000
models: $(READY)  ## N sequences (N=10000) of bookings, failures and restarts, on made-up time: every film comes to its end
	$(PY) tests/model/models.py --runs $(N) $(ARGS)

year: $(READY)  ## a year at a court on made-up time (SEED=1 for the same one again): each film once, nothing grows; draws year.svg
	$(PY) tests/year/year.py $(if $(SEED),--seed $(SEED)) $(ARGS)

mutants: N = 200
mutants: SEED = 1
mutants: $(READY)  ## put N small faults (N=200 SEED=1) into the program and see whether the tests notice nine of ten
	nice -n 10 $(PY) tests/mutants/mutants.py --n $(N) --seed $(SEED) $(ARGS)

install:  ## as root: install on this device, or upgrade it (ARGS="--now"; DESTDIR=folder to look at it)
	@/usr/bin/python3 -m ezrec.device install $(ARGS)

uninstall:  ## as root: take it away again; footage, films and settings stay (ARGS="--everything")
	@/usr/bin/python3 -m ezrec.device uninstall $(ARGS)

run: $(READY)  ## run the recorder with ./config.toml, or the defaults
	$(PY) -m ezrec run $(ARGS)

$(LITE): tests/fakes/cloud/package-lock.json
	@command -v npm >/dev/null || { echo "npm not found: install Node 20 or newer (https://nodejs.org)" >&2; exit 1; }
	npm ci --prefix tests/fakes/cloud --no-audit --no-fund
	@touch $(LITE)

$(READY): requirements/lock.txt requirements/servers.txt requirements/picamera2.txt pyproject.toml
	@command -v $(PYTHON) >/dev/null || { echo "$(PYTHON) not found: install Python 3.11 or newer, or name one: make PYTHON=/path/to/python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "EZREC needs Python 3.11 or newer, %s is %d.%d: name another one: make PYTHON=/path/to/python3" % (sys.executable, sys.version_info[0], sys.version_info[1]))'
	$(PYTHON) -m venv --clear $(VENV)
	$(PY) -m pip install --quiet --requirement requirements/lock.txt
	$(PY) -m pip install --quiet --no-deps --requirement requirements/servers.txt
	$(PY) -m pip install --quiet --no-deps --requirement requirements/picamera2.txt
	$(PY) -m pip install --quiet --no-deps --no-build-isolation --editable .
	@touch $(READY)
