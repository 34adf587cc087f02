# make demo         train SimpleNN on real data, export it, verify the files, write out/demo/report.html
# make test         every test
# make lint         ruff, mypy --strict, clang-format
# make cuda-check   the kernels' C++ through nvcc, where there is one
# make bench        the operator beside torch.sigmoid, as ratios
# make prove        all 2^32 float32 inputs against an independent reference (minutes)
#
# Each needs python3 (3.10 or newer), g++ and make; the rest comes from the package registry into .venv.

PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
DEMO   ?= out/demo
SOURCES := $(shell find csrc build_backend setup.py pyproject.toml -name '*.cpp' -o -name '*.h' -o -name '*.py' -o -name '*.toml')

.PHONY: demo test lint format bench cuda-check prove clean

demo: $(VENV)/installed
	rm -rf $(DEMO)
	$(BIN)/torch-sigmoid-ext demo -o $(DEMO)

test: $(VENV)/installed
	$(BIN)/python -m pytest

lint: $(VENV)/installed
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy torch_sigmoid_ext export benchmarks
	$(BIN)/clang-format --dry-run --Werror $(shell find csrc tests -name '*.cpp' -o -name '*.h')

format: $(VENV)/installed
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/clang-format -i $(shell find csrc tests -name '*.cpp' -o -name '*.h')

bench: $(VENV)/installed
	for dtype in float32 bfloat16 float16 float64; do \
		$(BIN)/python benchmarks/operator.py --dtype $$dtype && echo; done

KERNELS := $(wildcard csrc/kernels/cpu/*.cpp)

build/prove_float32: tests/kernels/prove_float32.cpp $(KERNELS) $(wildcard csrc/kernels/*.h csrc/kernels/cpu/*.h)
	mkdir -p build
	$(CXX) -std=c++20 -O3 -ffp-contract=off -pthread -o $@ $< $(KERNELS)

prove: build/prove_float32
	@echo "$$(date -u +%F), commit $$(git rev-parse --short HEAD), $$(grep -m1 'model name' /proc/cpuinfo | cut -d: -f2)"
	build/prove_float32

# The environment: torch in the version that the build backend pins, then this package in place. With
# isolation off, the build sees that torch; ninja builds only what changed.
$(VENV)/installed: $(SOURCES)
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check \
		pip $$($(BIN)/python build_backend/backend.py)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-build-isolation -e '.[export,dev]'
	touch $@

# The CUDA kernels will share the CPU's headers, so those must stay code that nvcc takes.
NVCC := $(shell command -v nvcc)

cuda-check:
ifeq ($(NVCC),)
	@echo "cuda-check: skipped, nvcc is not installed"
else
	mkdir -p build
	for kernel in $(KERNELS); do \
		$(NVCC) -x cu -std=c++20 -arch=sm_90 --fmad=false -c -o build/cuda_check.o $$kernel || exit 1; \
	done
	@echo "cuda-check: $(words $(KERNELS)) kernel sources compiled by $(NVCC)"
endif

clean:
	rm -rf build dist out *.egg-info torch_sigmoid_ext/*.so $(VENV)/installed
