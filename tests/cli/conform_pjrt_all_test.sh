#!/usr/bin/env bash
# `cvrun conform --backend pjrt`, whole, on a PJRT plugin of XLA's: every op by a kernel of its own, in other ops, as a view, or the host's by
# nature; and none that no case reached.
. "$(dirname "$0")/lib.sh"
plugin=$(pjrt_plugin)
if [ -z "$plugin" ]; then
  left_out "conformance of a PJRT plugin" "a PJRT plugin of XLA's, and no sanitizer"
  exit 77
fi
"$CVRUN" conform --backend pjrt "plugin=$plugin" --draws 1 --seconds 3000 >out.txt 2>&1 || true
grep -q ' kernels in ' out.txt || { cat out.txt; fail "conform did not come to its end"; }
grep -E '^stopped after |cases were left out' out.txt || true
if grep -q '^stopped after ' out.txt; then fail "conform had too little time"; fi
if grep '^failed: ' out.txt; then fail "conform"; fi
grep -q ' 0 left to the host, 0 that no case reached' out.txt || { cat out.txt; fail "conform did not reach every op, or left one to the host"; }
checks=$((checks + 1))
done_with conform_pjrt_all_test
