#!/usr/bin/env bash
# `cvrun conform --backend pjrt`, whole, on a PJRT plugin of XLA's. Ops that have no kernel there yet are named here, so that the list can
# only become shorter.
. "$(dirname "$0")/lib.sh"
left=(anchor_box_loss anchor_box_loss_backward anchor_cross_entropy anchor_cross_entropy_backward mask_targets nms roi_align roi_align_backward
  sim_ota yolo_boxes yolo_loss yolo_loss_backward)
plugin=$(pjrt_plugin)
if [ -z "$plugin" ]; then
  left_out "conformance of a PJRT plugin" "a PJRT plugin of XLA's, and no sanitizer"
  exit 77
fi
"$CVRUN" conform --backend pjrt "plugin=$plugin" --draws 1 --seconds 3000 >out.txt 2>&1 || true
grep -q ' kernels in ' out.txt || { cat out.txt; fail "conform did not come to its end"; }
if grep '^failed: ' out.txt | grep -v ', place: it is left to the host'; then fail "conform"; fi
diff <(sed -n 's/^failed: \([a-z0-9_]*\), place: it is left to the host.*/\1/p' out.txt | sort) <(printf '%s\n' "${left[@]}" | sort) ||
  fail "other ops than these are left to the host"
checks=$((checks + 1))
done_with conform_pjrt_all_test
