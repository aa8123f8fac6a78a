#!/usr/bin/env bash
# `cvrun conform --backend` on the backends that run anywhere, with a sample of ops; conform_backend_all_test has all of them.
. "$(dirname "$0")/lib.sh"
sample='softmax_backward,batch_norm2d_act,sgd_update_many,max_pool2d_backward,permute,upsample_backward,cross_entropy_backward,mul,sgd_update'
# conform STATUS backend option...
conform() {
  local want=$1 got=0; shift
  "$CVRUN" conform --backend "$@" >out.txt 2>err.txt || got=$?
  [ "$got" -eq "$want" ] || { cat out.txt err.txt >&2; fail "conform --backend $*: status $got instead of $want"; }
  checks=$((checks + 1))
}
for backend in cpu far emu; do
  conform 0 $backend --op "$sample" --draws 1 -v
  grep -q '0 left to the host, 0 that no case reached' out.txt && grep -qE '^sgd_update +kernel [a-z]+ .* +[1-9]' out.txt ||
    { cat out.txt; fail "not all of the sample was tried on $backend"; }
  # each is held against something: an op that updates its inputs and is made of others, too
  ! grep 'compared with nothing' out.txt || { cat out.txt; fail "there was nothing to compare with on $backend"; }
done
# in bf16 and f16 as well, or there would be few cases
[ "$(sed -n 's/^max_pool2d_backward  *kernel emu  *\([0-9]*\) .*/\1/p' out.txt)" -ge 30 ] || { cat out.txt; fail "too few cases on emu"; }
# an op without a kernel of its own is tried by those of the ops that compute it, and no row is of other ops
conform 0 emu --op relu --draws 1 -v
grep -qE '^relu +in other ops: elementwise$' out.txt && grep -qE '^elementwise +kernel emu +[1-9]' out.txt && grep -q '^1 op: ' out.txt ||
  { cat out.txt; fail "relu is not tried on emu"; }
[ "$(awk '/^op or layer/ { rows = 1; next } /^$/ { rows = 0 } rows { print $1 }' out.txt | sort -u | xargs)" = 'elementwise relu' ] || { cat out.txt; fail "rows of what was not named"; }
expect 2 'nothing was tried: view is a view' "$CVRUN" conform --backend cpu --op view
# a gradient's op that is named alone has the cases that programs make of it
conform 0 cpu --op scaled_dot_product_attention_backward --draws 1
grep -q '^[1-9].* kernels* in [1-9]' out.txt || { cat out.txt; fail "no case of a gradient's op"; }
"$CVRUN" conform --plugin "$(dirname "$CVRUN")/../lib/cvrun/cpu_base.so" --op 'scaled_dot_product_attention_backward' --draws 1 >out.txt 2>&1 &&
  grep -qE '^scaled_dot_product_attention_backward +kernel cpu +[1-9]' out.txt || { cat out.txt; fail "a gradient's op of a plugin"; }
checks=$((checks + 1))
# another order of threads, by the backend's own keys; a device by name
conform 0 emu device=EMU emu_order=backward backend.emu_subgroup=8 --op permute --draws 1 --json
grep -q '"runs": "kernel"' out.txt && grep -q '"passed": true' out.txt || { cat out.txt; fail "JSON"; }
# time runs out: what had no case is a failure, and is named
conform 1 cpu --op roi_align --seconds 1e-9
grep -q 'failed: roi_align, place: no case reached it.*more time by --seconds' out.txt && grep -q '^stopped after 1e-09 seconds' out.txt || { cat out.txt; fail "out of time"; }
expect 2 'there is no backend `cpuu`; did you mean `cpu`?' "$CVRUN" conform --backend cpuu
expect 2 'backend.device=7 is none of them' "$CVRUN" conform --backend emu device=7
expect 2 'there is no op `nothing*`' "$CVRUN" conform --backend emu --op 'nothing*'
expect 2 'emu_odrer' "$CVRUN" conform --backend emu emu_odrer=forward
expect 2 'settings are a backend' "$CVRUN" conform --plugin x.so emu_order=forward
expect 2 'which plugin, or which backend?' "$CVRUN" conform --plugin x.so --backend cpu
done_with conform_backend_test
