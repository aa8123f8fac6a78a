#!/usr/bin/env bash
# `cvrun conform --backend`, whole: every op on cpu, far and emu, and the memory of each.
. "$(dirname "$0")/lib.sh"
for backend in cpu far; do
  "$CVRUN" conform --backend $backend --draws "${CVR_TEST_DRAWS:-4}" --seconds 3000 --flops 1e9 >out.txt 2>&1 || { cat out.txt; fail "$backend"; }
  checks=$((checks + 1))
done
# emu, in two orders of threads
for keys in 'emu_order=forward' 'emu_order=shuffled emu_subgroup=8'; do
  "$CVRUN" conform --backend emu $keys --draws 1 --seconds 3000 >out.txt 2>&1 || { cat out.txt; fail "emu $keys"; }
  grep -q ' 0 left to the host, 0 that no case reached$' out.txt || { cat out.txt; fail "emu $keys: an op was left to the host, or no case reached it"; }
  checks=$((checks + 1))
done
done_with conform_backend_all_test
