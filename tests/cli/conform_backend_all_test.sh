#!/usr/bin/env bash
# `cvrun conform --backend`, whole: every op on cpu, far and emu, and the memory of each.
. "$(dirname "$0")/lib.sh"
for backend in cpu far; do
  "$CVRUN" conform --backend $backend --draws "${CVR_TEST_DRAWS:-4}" --seconds 3000 --flops 1e9 >out.txt 2>&1 || { cat out.txt; fail "$backend"; }
  checks=$((checks + 1))
done
# emu, in two orders of threads. At most so many ops have no device kernel yet: what fails may be such a place and nothing else.
misses=45
for keys in 'emu_order=forward' 'emu_order=shuffled emu_subgroup=8'; do
  "$CVRUN" conform --backend emu $keys --draws 1 --seconds 3000 >out.txt 2>&1 || true
  grep '^failed: ' out.txt | grep -vE '^failed: [a-z_]+, place: it is left to the host: emu has no kernel$' && { cat out.txt; fail "emu $keys"; }
  left=$(sed -n 's/.* \([0-9]*\) left to the host, 0 that no case reached$/\1/p' out.txt)
  [ "${left:-99}" -le $misses ] || { cat out.txt; fail "emu $keys: more than $misses misses, or an op without a case"; }
  checks=$((checks + 1))
done
done_with conform_backend_all_test
