# make demo         train SimpleNN on real data, export it, verify the files, write out/demo/report.html
# make test         every test
# make fuzz         forged bundles, FUZZ of them (100,000): each opens, or is refused in one line
# make coverage     every test with its lines counted, of Python and of C++; TESTS adds some (half an hour)
# make lint         ruff, mypy --strict, clang-format
# make cuda-check   the CUDA kernels through nvcc, where there is one: no register may spill to memory
# make test-cuda    the CUDA suite on this machine's GPU, all 2^32 float32 inputs with it; works offline
# make bench-cuda   the CUDA kernels beside torch's and a copy, into benchmarks/results; works offline
# make qemu-check   the kernels for aarch64, cross-compiled and run by qemu, where there are both
# make bench        the operator beside its peers, as ratios, into benchmarks/results (minutes)
# make bench-compile  the operator beside torch.sigmoid that Inductor fuses, and the decompositions
# make bounds       what bounds the AVX-512 kernels: their time beside that of their operations alone
# make docs         the site, into build/site: a warning is an error; then its tests, which build an operator (minutes)
# make figures      the tables and figures of docs/numerics.md, from the runtimes that are installed
# make gallery      real models through the pipeline, and the pages and reports of docs/gallery (minutes)
# make prove        every float32, float16 and bfloat16 input against an independent reference (minutes)
# make prove-cuda-host  the CUDA kernels' arithmetic, compiled for the CPU: the same proof (minutes)
# make test-mutations   one thing spoiled at a time, in a copy: the tests must notice each (half an hour)
# make test-sanitized   the kernels under the address, undefined-behaviour and thread sanitizers
# make test-sanitized-operator  the same of the operator, from Python to the kernels (minutes)
# make wheel        a manylinux wheel and an sdist into dist/, built twice, compared, tried in empty environments
# make test-versions  the operator tests with every promised torch and Python that can be had (an hour, 5 GB)
# make compilers    the C++ sources by every promised g++ and clang++ that is installed, warnings being errors
#
# Each needs python3 (3.10 or newer), g++ and make; the rest comes from the package registry into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   ?= out/demo
SOURCES := $(shell find csrc build_backend setup.py pyproject.toml -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \
	-o -name '*.py' -o -name '*.toml')

.PHONY: demo test fuzz coverage lint format bench bench-compile bounds docs figures gallery cuda-check test-cuda bench-cuda qemu-check \
	prove prove-cuda-host test-mutations test-sanitized test-sanitized-operator wheel test-versions compilers clean

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(BIN)/torch-sigmoid-ext demo -o $(DEMO)

test: $(VENV)/installed
	$(BIN)/python -m pytest

# From another SEED, other bundles.
FUZZ ?= 100000
SEED ?= 0

fuzz: $(VENV)/installed
	$(BIN)/python -W ignore tests/fuzz_bundles.py $(FUZZ) $(SEED)

# Tests to add to what the last run measured, such as tests/test_ulp.py; all of them, from nothing, if empty.
TESTS ?=

coverage: $(VENV)/installed
	@$(BIN)/python -m scripts.coverage $(TESTS)

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy torch_sigmoid_ext export benchmarks scripts
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc tests examples export -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find csrc tests examples export -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh')

bench: $(VENV)/installed
	$(BIN)/python -m benchmarks

bench-compile: $(VENV)/installed
	@$(BIN)/python -m benchmarks.compile

bounds: $(VENV)/installed
	@$(BIN)/python -m benchmarks.bounds

# The repository is the folder of the sources, so that a link means the same here and on the site.
SITE ?= build/site

docs: $(VENV)/docs
	rm -rf $(SITE)
	$(BIN)/python -m sphinx -W --keep-going -q -b html -c docs . $(SITE)
	TORCH_SIGMOID_EXT_SITE=$(SITE) TORCH_SIGMOID_EXT_SLOW=1 $(BIN)/python -m pytest tests/test_docs_*.py

# One float32 input of so many; 1 takes all that matter, which is half an hour.
EVERY ?= 64

figures: $(VENV)/installed
	$(BIN)/python docs/figures/peers.py --every $(EVERY)
	$(BIN)/python docs/figures/draw.py

gallery: $(VENV)/installed
	$(BIN)/python -m benchmarks.gallery

KERNELS := $(wildcard csrc/kernels/cpu/*.cpp)

KERNEL_HEADERS := $(wildcard csrc/kernels/*.h csrc/kernels/cpu/*.h tests/kernels/*.h)
KERNEL_FLAGS := -std=c++20 -ffp-contract=off -fno-math-errno -pthread
KERNEL_BUILD := $(CXX) $(KERNEL_FLAGS)

build/prove: tests/kernels/prove.cpp $(KERNELS) $(KERNEL_HEADERS)
	mkdir -p build
	$(KERNEL_BUILD) -O3 -o $@ $< $(KERNELS)

# The same kernels, with a header put ahead of them that replaces the CPU's estimates of 1/a.
build/prove_estimate: tests/kernels/prove_estimate.cpp $(KERNELS) $(KERNEL_HEADERS)
	mkdir -p build
	$(KERNEL_BUILD) -O3 -include tests/kernels/worst_estimate.h -o $@ $< $(KERNELS)

# What it prints is committed as docs/prove.txt: make -s prove > docs/prove.txt
prove: build/prove build/prove_estimate
	@echo "$$(date -u +%F), commit $$(git rev-parse --short HEAD)"
	@echo "CPU: $$(lscpu | sed -n 's/^Model name: *//p')"
	@echo "compiler: $$($(CXX) --version | head -n 1)"
	@echo
	@build/prove
	@build/prove_estimate

# The device's functions for this CPU, with its fma where it has one: the C library's own is slow. Without
# SLP vectors, in which g++ 12 fuses a sum and a difference side by side, contraction off or not.
HOST_FMA := $(if $(shell grep -m1 -ow fma /proc/cpuinfo 2>/dev/null),-mfma)
CUDA_HEADERS := $(wildcard csrc/kernels/cuda/*.h)

build/kernels/%.o: csrc/kernels/cpu/%.cpp $(KERNEL_HEADERS)
	mkdir -p build/kernels
	$(KERNEL_BUILD) -O3 -c -o $@ $<

build/prove_cuda_host: tests/kernels/prove_cuda_host.cpp $(KERNELS:csrc/kernels/cpu/%.cpp=build/kernels/%.o) \
		$(KERNEL_HEADERS) $(CUDA_HEADERS)
	$(KERNEL_BUILD) -O3 $(HOST_FMA) -fno-tree-slp-vectorize -o $@ $(filter %.cpp %.o,$^)

# What it prints is committed as docs/prove_cuda.txt: make -s prove-cuda-host > docs/prove_cuda.txt
prove-cuda-host: build/prove_cuda_host
	@echo "$$(date -u +%F), commit $$(git rev-parse --short HEAD)"
	@echo "CPU: $$(lscpu | sed -n 's/^Model name: *//p')"
	@echo "compiler: $$($(CXX) --version | head -n 1)"
	@echo
	@build/prove_cuda_host

build/test_runs_address: tests/kernels/test_runs.cpp $(KERNELS) $(KERNEL_HEADERS)
	mkdir -p build
	$(KERNEL_BUILD) -O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -o $@ $< $(KERNELS)

build/test_runs_thread: tests/kernels/test_runs.cpp $(KERNELS) $(KERNEL_HEADERS)
	mkdir -p build
	$(KERNEL_BUILD) -O1 -g -fsanitize=thread -o $@ $< $(KERNELS)

test-sanitized: build/test_runs_address build/test_runs_thread
	build/test_runs_address
	build/test_runs_thread threads

test-sanitized-operator: $(VENV)/installed
	$(BIN)/python -m scripts.sanitized

# Words for scripts/mutations, such as --list or --only f32-table.
MUTATIONS ?=

# What these print is committed: make -s wheel > docs/wheel.txt, and so for docs/versions.txt,
# docs/compilers.txt, docs/coverage.txt and docs/mutations.txt.
test-mutations: $(VENV)/installed
	@$(BIN)/python -m scripts.mutations $(MUTATIONS)

wheel: $(VENV)/installed
	@$(BIN)/python -m scripts.wheel

# Words for scripts/versions.py, such as --torch 2.12 --python 3.12.
VERSIONS ?=

test-versions: $(VENV)/installed
	@$(BIN)/python -m scripts.versions $(VERSIONS)

compilers: $(VENV)/installed
	@$(BIN)/python -m scripts.compilers

# The environment: torch in the version that the build backend pins, then this package in place. With
# isolation off, the build sees that torch; ninja builds only what changed.
$(VENV)/installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		pip $$($(BIN)/python build_backend/backend.py)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[export,dev]'
	touch $@

$(VENV)/docs: $(VENV)/installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[export,dev,docs]'
	touch $@

NVCC := $(or $(shell command -v nvcc),$(wildcard /usr/local/cuda/bin/nvcc))
CUDA_SOURCES := $(wildcard csrc/kernels/cuda/*.cu)
CUDA_TARGETS := -gencode arch=compute_80,code=sm_80 -gencode arch=compute_90,code=sm_90 \
	-gencode arch=compute_90,code=compute_90

# With setup.py's flags. ptxas tells of each kernel how much of local memory it takes: none may.
cuda-check:
ifeq ($(NVCC),)
	@echo "cuda-check: skipped, nvcc is not installed"
else
	mkdir -p build
	for source in $(CUDA_SOURCES); do \
		$(NVCC) -std=c++20 -O3 --fmad=false --expt-relaxed-constexpr -Werror all-warnings $(CUDA_TARGETS) \
			-Xptxas -v -c -o build/cuda_check.o $$source 2> build/cuda_check.log \
			|| { cat build/cuda_check.log; exit 1; }; \
	done
	@if grep -E '[1-9][0-9]* bytes (stack frame|spill)' -B 2 build/cuda_check.log; then \
		echo "cuda-check: the kernels above use local memory"; exit 1; fi
	@echo "cuda-check: $$(grep -c 'Compiling entry' build/cuda_check.log) kernels for sm_80, sm_90 and" \
		"PTX, none with a stack frame or spills, by $(NVCC)"
endif

# On a machine with a GPU. No network, no extra packages: the environment's own python, where the package
# is installed (pip install --no-build-isolation --no-deps -e .) with torch, numpy and pytest. PYTHON says which.
CUDA_PYTHON := $(if $(wildcard $(BIN)/python),$(BIN)/python,$(PYTHON))

test-cuda:
	TORCH_SIGMOID_EXT_SLOW=1 $(CUDA_PYTHON) -m pytest -ra --durations=5 tests/test_cuda.py

bench-cuda:
	$(CUDA_PYTHON) -m benchmarks.cuda

# Static, so that the emulator needs no libraries of the other architecture.
AARCH64_CXX  := $(shell command -v aarch64-linux-gnu-g++)
AARCH64_QEMU := $(shell command -v qemu-aarch64-static)
AARCH64_LACKS := $(if $(AARCH64_CXX),,aarch64-linux-gnu-g++) $(if $(AARCH64_QEMU),,qemu-aarch64-static)

build/aarch64/%: tests/kernels/%.cpp $(KERNELS) $(KERNEL_HEADERS)
	mkdir -p build/aarch64
	$(AARCH64_CXX) $(KERNEL_FLAGS) -O3 -static -Wall -Wextra -Werror -o $@ $< $(KERNELS)

ifneq ($(strip $(AARCH64_LACKS)),)
qemu-check:
	@echo "qemu-check: skipped, not installed: $(strip $(AARCH64_LACKS))"
else
qemu-check: build/aarch64/prove build/aarch64/test_runs
	$(AARCH64_QEMU) build/aarch64/prove 997
	$(AARCH64_QEMU) build/aarch64/test_runs sample
endif

clean:
	rm -rf build dist out *.egg-info torch_sigmoid_ext/*.so $(VENV)/installed $(VENV)/docs
