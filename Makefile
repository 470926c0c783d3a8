# The two commands a newcomer needs: `make demo` and `make check`.
BUILD ?= build
MESON_FLAGS ?=
ASAN = $(BUILD)-asan

.PHONY: build deps demo check check-fast check-asan fuzz bench format clean

build: deps
	@[ -f $(BUILD)/build.ninja ] || meson setup $(BUILD) $(MESON_FLAGS)
	@meson compile -C $(BUILD)

deps:
	@scripts/install-deps

# Redraws the photograph in data/demo with the built-in model.
demo: build
	@scripts/demo $(BUILD)/reverie

# Everything: style, layers, unit, op, reference, command-line and fault tests, then the same under sanitizers.
check:
	@scripts/check $(BUILD) $(ASAN)

# The tests alone, in the ordinary build.
check-fast: build
	meson test -C $(BUILD) --print-errorlogs

check-asan:
	@[ -f $(ASAN)/build.ninja ] || meson setup $(ASAN) -Db_sanitize=address,undefined -Db_lundef=false -Dcuda=disabled -Dc_args=-g1
	@meson compile -C $(ASAN)
	meson test -C $(ASAN) --print-errorlogs -t 6

# A minute of each fuzzer (FUZZ_SECONDS to change it).
fuzz:
	@scripts/fuzz $(or $(FUZZ_SECONDS),60)

bench: build
	@scripts/bench $(BUILD)

format:
	@git ls-files '*.c' '*.h' | xargs clang-format -i

clean:
	rm -rf $(BUILD) $(ASAN) build-fuzz
