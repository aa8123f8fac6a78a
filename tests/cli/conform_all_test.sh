#!/usr/bin/env bash
# `cvrun conform` on every plugin of layers of the build, on what is drawn and on the cases that the other tests have.
. "$(dirname "$0")/lib.sh"
: "${BUILD_DIR:?set BUILD_DIR to the build}"
cases=$here/../layers/cases
for plugin in "$BUILD_DIR"/lib/cvrun/layer_*.so; do
  family=$(basename "$plugin" .so); family=${family#layer_}
  given=(--cases "$here/../conform/ops.cases" --cases "$cases/chains.cases")
  [ "$family" = norm ] || given=()
  [ "$family" = activation ] && given+=(--cases "$cases/elementwise.cases")
  [ -f "$cases/$family.cases" ] && given+=(--cases "$cases/$family.cases")
  "$CVRUN" conform --plugin "$plugin" --draws "${CVR_TEST_DRAWS:-4}" "${given[@]}" >out.txt 2>&1 || { cat out.txt; fail "$family"; }
  checks=$((checks + 1))
done
done_with conform_all_test
