# GNU make 3.81 and bash 3.2, which macOS brings, are enough.

# The first Python for which the pinned versions have wheels; another one: make live
# PYTHON=/path/to/python3
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	"$$p" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && \
	{ echo "$$p"; break; }; done)
VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt
FLAGS ?=

# Without compiled files every program that a test starts compiles rtvc again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help live test parallel sound serial quick soak soak-live coverage quality operators mkl check format lint types layers pictures stills dist wheel clean

help:
	@echo "make live           install rtvc into $(VENV) and run it live"
	@echo "make live FLAGS=... the same with flags, such as FLAGS='--preset robot'"
	@echo "make test           run all tests; FLAGS='-k presets' runs some"
	@echo "make quick          run those that take little time and no sound: 90 seconds on two cores"
	@echo "make parallel       run the tests that measure no time, one worker for each core"
	@echo "make sound          run the tests that use the sound server, two at a time"
	@echo "make serial         run the tests that measure time, one after the other"
	@echo "make soak           run the long versions of some tests"
	@echo "make soak-live      run rtvc live for SOAK_S seconds, by default 180; nothing may be late or grow"
	@echo "make coverage       like make parallel, and print the coverage of rtvc/"
	@echo "make quality        rate the sound of the built-in voice with each preset (installs 1.2 GB)"
	@echo "make operators      run the networks' tests with the operators of the other device type"
	@echo "make mkl            run the networks' tests with MKL (installs 280 MB)"
	@echo "make check          formatting, lint, types, layers, tests"
	@echo "make pictures       render the pictures and the recording of the panel in docs/"
	@echo "make stills         render the pictures that the tests compare the panel with"
	@echo "make dist           build the wheel and the source archive into dist/"
	@echo "make wheel          like make dist, then install the wheel elsewhere and try it"
	@echo "make clean          remove $(VENV) and the files of tools"

# On a synchronised disk macOS marks what is in a folder such as .venv as hidden, and Python then
# passes over the file that tells where rtvc is.
live: $(VENV)/.installed
	@.ci/system-packages live || echo "Continuing without them."
	@[ "$$(uname -s)" != Darwin ] || chflags nohidden $(VENV)/lib/python*/site-packages/*.pth || true
	@$(BIN)/rtvc run $(FLAGS)

# All parts run, even after a failure: what failed can then be run again.
test: $(VENV)/.installed-dev
	@failed=0; for part in parallel sound serial; do \
		$(MAKE) --no-print-directory $$part || failed=1; \
	done; exit $$failed

# pytest ends with 5 where it has nothing to run, as with FLAGS that choose from the other part.
PYTEST := $(BIN)/python -m pytest
# One worker more than cores, at most 8: many tests wait for a process or a clock.
COUNT := $(shell n=$$(($$(getconf _NPROCESSORS_ONLN) + 1)); echo $$((n < 8 ? n : 8)))
WORKERS := --numprocesses $(COUNT) --dist worksteal
# Each of these workers starts a sound server. The tests mostly wait, but a third one would
# disturb the measurements among them on two cores.
PAIR := --numprocesses 2 --dist worksteal

parallel: $(VENV)/.installed-dev
	@.ci/system-packages test
	@$(PYTEST) -m "not (serial or sound)" $(WORKERS) $(FLAGS) || [ $$? = 5 ]

serial: $(VENV)/.installed-dev
	@.ci/system-packages test
	@$(PYTEST) -m serial $(FLAGS) || [ $$? = 5 ]

sound: $(VENV)/.installed-dev
	@.ci/system-packages test
	@$(PYTEST) -m "sound and not serial" $(PAIR) $(FLAGS) || [ $$? = 5 ]

quick: $(VENV)/.installed-dev
	@$(PYTEST) -m "not (serial or sound or full_size or slow or soak)" $(WORKERS) $(FLAGS)

soak: $(VENV)/.installed-dev
	@$(PYTEST) -m soak --timeout 0 $(WORKERS) $(FLAGS)

SOAK_S ?= 180
soak-live: $(VENV)/.installed-dev
	@.ci/system-packages test
	@$(BIN)/python -m benchmarks.soak --seconds $(SOAK_S) || [ $$? = 75 ] # the machine was held up

coverage: $(VENV)/.installed-dev
	@.ci/system-packages test
	@$(PYTEST) -m "not (serial or sound)" $(WORKERS) --cov=rtvc --cov-report= $(FLAGS) || [ $$? = 5 ]
	@echo "Lines of rtvc/ that these tests reach: $$($(BIN)/python -m coverage report --format=total) %"

# Minutes: on a CPU the GPU's operators are its slow ones, and what they fuse is compiled.
operators: $(VENV)/.installed-dev
	@CI=true RTVC_OPERATORS=$$($(BIN)/python -c "from rtvc.engine.models.ops.backend import OPERATORS; \
		print({'cpu': 'gpu', 'gpu': 'cpu'}[OPERATORS])") $(BIN)/python -m pytest \
		tests/engine/models tests/engine/dsp/test_pitch.py tests/engine/rvc/test_stream.py \
		tests/engine/rvc/test_traces.py $(FLAGS)

# MKL stays installed, and rtvc then uses it by itself on a processor from Intel.
mkl: $(VENV)/.installed-dev
	@$(PIP) mkl
	@RTVC_BLAS=mkl $(BIN)/python -m pytest tests/system/test_blas.py tests/engine/models \
		tests/engine/dsp/test_pitch.py tests/engine/rvc $(FLAGS)

# Resemblyzer's own list of dependencies names a package that is only a source archive.
quality: $(VENV)/.installed-dev
	@$(PIP) --group quality && $(PIP) --no-deps Resemblyzer
	@$(BIN)/python -m benchmarks.quality $(FLAGS)

check: format lint types layers test

format: $(VENV)/.installed-dev
	@$(BIN)/ruff format --check

lint: $(VENV)/.installed-dev
	@$(BIN)/ruff check

types: $(VENV)/.installed-dev
	@$(BIN)/mypy

layers: $(VENV)/.installed-dev
	@$(BIN)/lint-imports

pictures: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.tui.pictures docs

stills: $(VENV)/.installed-dev
	@$(BIN)/python -m tests.tui.still

dist: $(VENV)/.installed-dev
	@rm -rf dist
	@$(BIN)/python -m hatchling build -d dist

wheel: dist
	@.ci/wheel $(BIN)/python

clean:
	rm -rf $(VENV) build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache .coverage
	find rtvc tests -name __pycache__ -prune -exec rm -rf {} +

# Each stamp is as new as the set-up that it stands for, so a second call starts at once.
$(VENV)/.installed: pyproject.toml constraints.txt
	@[ -n "$(PYTHON)" ] || { echo "rtvc needs Python 3.11 to 3.14. Install one, or name it:" \
		"make live PYTHON=/path/to/python3" >&2; exit 1; }
	@"$(PYTHON)" -c 'import ensurepip, venv' 2>/dev/null || .ci/system-packages venv
	@echo "Setting up $(VENV) (once; a minute or two)."
	@rm -f $@ $@-dev
	@[ -x $(BIN)/python ] || "$(PYTHON)" -m venv $(VENV)
	@$(PIP) pip hatchling editables
	@$(PIP) --no-build-isolation -e .
	@touch $@

# torchfcpe is never imported: its wheel carries the real weights that a parity test reads.
$(VENV)/.installed-dev: $(VENV)/.installed
	@$(PIP) --group dev
	@$(PIP) --no-deps torchfcpe
	@touch $@
