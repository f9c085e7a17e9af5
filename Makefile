# make test: installs what is missing, builds everything and runs all tests.
PACKAGES := g++ cmake ninja-build pkg-config libhwy-dev nlohmann-json3-dev libfmt-dev libpng-dev libutf8proc-dev libgtest-dev
SUDO := $(shell [ "$$(id -u)" = 0 ] || echo sudo)

.PHONY: setup test
setup:
	@missing=; for p in $(PACKAGES); do dpkg -s $$p >/dev/null 2>&1 || missing="$$missing $$p"; done; \
	if [ -n "$$missing" ]; then echo "installing:$$missing"; \
	  $(SUDO) apt-get update -qq && $(SUDO) apt-get install -y -qq --no-install-recommends $$missing; fi

test: setup
	cmake -S . -B build -G Ninja -DCMAKE_BUILD_TYPE=Release
	cmake --build build -j 2
	ctest --test-dir build --output-on-failure -j 2
