# Short names for the common tasks; each is a line or two of cmake with a preset of CMakePresets.json.
JOBS ?= $(shell nproc)
# Compiler cache, if there is one.
LAUNCHER := $(if $(shell command -v ccache),-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
FUZZ_SECONDS ?= 60

.PHONY: help setup demo test check asan-build asan asan-all asan-files fuzz tsan gpu-matrix arm format format-check clean

help:
	@echo "make demo    install what is missing, build the program, draw a picture"
	@echo "make test    install what is missing, build everything, run the tests (ctest -L long has those that take minutes)"
	@echo "make check   what needs other builds than 'make test': format-check, asan, fuzz, tsan"
	@echo "make asan    the fast tests under clang's Address-, Leak- and UndefinedBehaviorSanitizer (build-asan/)"
	@echo "make asan-all  the same of all tests but the long ones"
	@echo "make asan-files  the same of tests that read files, and every fuzz target for FUZZ_SECONDS=60 seconds"
	@echo "make fuzz    every fuzz target for FUZZ_SECONDS=60 seconds (build-asan/)"
	@echo "make tsan    the pool, the weights' residency and the C API under ThreadSanitizer (build-tsan/)"
	@echo "make gpu-matrix  the Vulkan backend's cooperative matrices, on a newer Mesa that is fetched (70 MB)"
	@echo "make arm     cross-compiles for 64-bit ARM and runs what proves its kernels under qemu (build-arm/)"
	@echo "make format  clang-format every source; make format-check only says what would change"
	@echo "make clean   remove build/ and build-*/"
	@echo "JOBS=N sets how many compilers run at a time (now $(JOBS))"

setup:
	@tools/setup.sh

demo: setup
	@cmake --preset release $(LAUNCHER) >/dev/null
	cmake --build build -j $(JOBS) --target darkroom_program
	@picture=$$(build/darkroom generate -p "a red star above a blue ring on a yellow background" --seed 9 -o darkroom-demo.png) && \
	  echo "The picture: $(CURDIR)/$$picture"

test:
	@tools/setup.sh tests
	cmake --preset release $(LAUNCHER)
	cmake --build build -j $(JOBS)
	ctest --test-dir build -j 2 --output-on-failure -LE 'long|gpu-matrix'
	@tests/ops/print_isas.sh build

# Cooperative matrices, on a Mesa that has them; with newer compilers, which say whether the SPIR-V is that of the sources.
gpu-matrix:
	@tools/setup.sh tests
	tools/new_lavapipe.sh build/new_lavapipe
	cmake --preset release $(LAUNCHER) >/dev/null
	cmake --build build -j $(JOBS) --target vulkan_matrix_test
	tools/matrix_spirv.sh --set-up build/spirv
	ctest --test-dir build --output-on-failure -L gpu-matrix

check: format-check asan fuzz tsan

ASAN_TESTS = sanitize_tests
asan-build:
	@tools/setup.sh clang tests
	cmake --preset asan $(LAUNCHER) >/dev/null
	cmake --build build-asan -j $(JOBS) --target $(ASAN_TESTS) fuzz_targets

SANITIZER_OPTIONS = ASAN_OPTIONS=strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1
asan: asan-build
	$(SANITIZER_OPTIONS) ctest --test-dir build-asan -j 2 --output-on-failure -L sanitize

asan-all: asan-build
	cmake --build build-asan -j $(JOBS)
	$(SANITIZER_OPTIONS) ctest --test-dir build-asan -j 2 --output-on-failure -LE 'long|gpu-matrix'

asan-files: ASAN_TESTS = files_tests
asan-files: asan-build
	$(SANITIZER_OPTIONS) ctest --test-dir build-asan -j 2 --output-on-failure -L files
	fuzz/run.sh build-asan $(FUZZ_SECONDS)

fuzz: asan-build
	fuzz/run.sh build-asan $(FUZZ_SECONDS)

tsan:
	@tools/setup.sh clang
	cmake --preset tsan $(LAUNCHER) >/dev/null
	cmake --build build-tsan -j $(JOBS) --target threads_tests
	TSAN_OPTIONS=halt_on_error=1 ctest --test-dir build-tsan -j 2 --output-on-failure -L threads

arm:
	@tools/setup.sh arm
	cmake --preset arm $(LAUNCHER) >/dev/null
	cmake --build build-arm -j $(JOBS) --target ops_test cpu_backend_test darkroom_program
	ctest --test-dir build-arm -j 2 --output-on-failure -R '^(ops_test|cpu_backend_test)'
	@tests/ops/print_isas.sh build-arm
	qemu-aarch64 build-arm/darkroom generate -p "a red star above a blue ring on a yellow background" --seed 9 \
	  --steps 4 -o build-arm/picture.png --overwrite

FORMATTED = git ls-files '*.cc' '*.h' '*.c' | grep -v unicode_tables.cc
format:
	@tools/setup.sh format
	$(FORMATTED) | xargs clang-format -i

format-check:
	@tools/setup.sh format
	$(FORMATTED) | xargs clang-format --dry-run -Werror

clean:
	cmake -E rm -rf build build-asan build-tsan build-arm
