#!/usr/bin/env bash
# Installs, builds and tests cvrun from a clean clone. --all adds what takes longer: clang, 200 kills, the demo's accuracy.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
cd "$root"
all=
for word in "$@"; do
  case "$word" in
    --all) all=yes ;;
    *) echo "usage: tests/run.sh [--all]" >&2; exit 2 ;;
  esac
done
. apps/install_packages.sh
need_packages $BUILD_PACKAGES libcriterion-dev clang-format dataset-fashion-mnist ${all:+clang}

started=$SECONDS
say() { echo; echo "== [$((SECONDS - started)) s] $*"; }
sources() { git ls-files -- '*.c' '*.h' 2>/dev/null || find core layers backends augment plugins apps tests -name '*.[ch]'; }

# build FOLDER [cmake option...]: configures and builds it with its tests, which apps/demo.sh leaves out, quietly unless it fails
build() {
  local dir=$1 log; shift
  mkdir -p "$dir"; log=$dir/build.log
  if ! { cmake -S . -B "$dir" -G Ninja -DCVR_TESTS=ON "$@" && cmake --build "$dir"; } >"$log" 2>&1; then
    grep -E -A6 'error|FAILED' "$log" | head -n 60 >&2 || tail -n 40 "$log" >&2
    echo "error: building $dir failed; the log is $log" >&2
    return 1
  fi
}

say "format"
sources | xargs clang-format --dry-run --Werror
say "build: gcc, release, -Werror"
build build
say "tests"
(cd build && ctest --no-tests=error --output-on-failure -j 2)
say "build: address and undefined-behaviour sanitizers"
build build-asan -DCVR_SANITIZE=address
say "tests under the address and undefined-behaviour sanitizers"
(cd build-asan && ctest --no-tests=error --output-on-failure -j 2 -LE 'slow')
say "build: thread sanitizer"
build build-tsan -DCVR_SANITIZE=thread
say "loader, pool and data path under the thread sanitizer"
(cd build-tsan && ctest --no-tests=error --output-on-failure -j 2 -L 'threads')
if [ -n "$all" ]; then
  say "slow tests under the address and undefined-behaviour sanitizers"
  (cd build-asan && ctest --no-tests=error --output-on-failure -L 'slow')
  say "build: clang, -Werror"
  CC=clang build build-clang
  (cd build-clang && ctest --no-tests=error --output-on-failure -j 2)
  say "200 kills"
  KILLS=200 CVRUN=build/bin/cvrun bash tests/cli/kill_test.sh
  say "the demo's accuracy"
  CVRUN=build/bin/cvrun bash tests/cli/demo_test.sh
fi
say "all is well, after $((SECONDS - started)) s"
