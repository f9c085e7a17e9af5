# Short names for the common tasks; each is a line or two of cmake with a preset of CMakePresets.json.
JOBS ?= $(shell nproc)
# Compiler cache, if there is one.
LAUNCHER := $(if $(shell command -v ccache),-DCMAKE_CXX_COMPILER_LAUNCHER=ccache)
FUZZ_SECONDS ?= 60

.PHONY: help setup demo test asan fuzz format clean

help:
	@echo "make demo    install what is missing, build the program, draw a picture"
	@echo "make test    install what is missing, build everything, run the tests (ctest -L long has those that take minutes)"
	@echo "make asan    the tests under AddressSanitizer, LeakSanitizer and UndefinedBehaviorSanitizer (build-asan/)"
	@echo "make fuzz    every fuzz target for FUZZ_SECONDS=60 seconds (clang, build-fuzz/)"
	@echo "make format  clang-format every source"
	@echo "make clean   remove build/, build-asan/ and build-fuzz/"
	@echo "JOBS=N sets how many compilers run at a time (now $(JOBS))"

setup:
	@tools/setup.sh

demo: setup
	@cmake --preset release $(LAUNCHER) >/dev/null
	cmake --build build -j $(JOBS) --target darkroom_program
	@picture=$$(build/darkroom generate -p "a red star above a blue ring on a yellow background" --seed 9 -o darkroom-demo.png) && \
	  echo "The picture: $(CURDIR)/$$picture"

test: setup
	cmake --preset release $(LAUNCHER)
	cmake --build build -j $(JOBS)
	ctest --test-dir build -j 2 --output-on-failure -LE long

# Without detect_stack_use_after_return: GCC 12 does not align its frames to the 64 bytes that AVX-512 needs (PR 110027).
asan: setup
	cmake --preset asan $(LAUNCHER)
	cmake --build build-asan -j $(JOBS)
	ASAN_OPTIONS=strict_string_checks=1 UBSAN_OPTIONS=print_stacktrace=1 \
	  ctest --test-dir build-asan -j 2 --output-on-failure -LE long

fuzz:
	@tools/setup.sh fuzz
	cmake --preset fuzz $(LAUNCHER)
	cmake --build build-fuzz -j $(JOBS) --target fuzz_targets
	fuzz/run.sh build-fuzz $(FUZZ_SECONDS)

format:
	@tools/setup.sh format
	git ls-files '*.cc' '*.h' '*.c' | xargs clang-format -i

clean:
	cmake -E rm -rf build build-asan build-fuzz
