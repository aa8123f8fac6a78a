#!/usr/bin/env bash
# `cvrun conform --backend pjrt`, whole, where CVR_PJRT_PLUGIN names a plugin of XLA's.
. "$(dirname "$0")/lib.sh"
plugin=$(pjrt_plugin)
if [ -z "$plugin" ]; then
  left_out "conformance of a PJRT plugin" "a PJRT plugin of XLA's, and no sanitizer"
  exit 77
fi
"$CVRUN" conform --backend pjrt "plugin=$plugin" --draws 1 --seconds 3000 >out.txt 2>&1 || { cat out.txt; fail "conform"; }
checks=$((checks + 1))
done_with conform_pjrt_all_test
