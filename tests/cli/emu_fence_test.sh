#!/usr/bin/env bash
# Device kernels on emu, for the address sanitizer: fibres are announced to it, and while a launch runs all device memory is shut
# but what the launch says that it touches (backends/emu/emu_fence.h).
. "$(dirname "$0")/lib.sh"
"$CVRUN" conform --backend emu --op softmax_backward,max_pool2d_backward,permute,cross_entropy_backward,sgd_update --draws 1 >out.txt 2>&1 ||
  { cat out.txt; fail "emu under the address sanitizer"; }
grep -q '^5 kernels in' out.txt || { cat out.txt; fail "not all five kernels ran"; }
checks=$((checks + 1))
done_with emu_fence_test
