#!/usr/bin/env bash
# `cvrun bench`: the table is whole, the JSON parses, every number is finite, and shares are shares.
. "$(dirname "$0")/lib.sh"
recipe net.ini

# shares FILE: JSON whose numbers make sense. A share may pass 1 (caches, Winograd), but not by far.
shares() {
  python3 - "$1" "$2" <<'PY' || fail "the JSON of $1"
import json, math, sys

def numbers(x):
    if isinstance(x, (dict, list)):
        for y in x.values() if isinstance(x, dict) else x:
            yield from numbers(y)
    elif not isinstance(x, str):
        yield x

j = json.load(open(sys.argv[1]), parse_constant=lambda word: sys.exit(f"{word} in JSON"))
assert all(math.isfinite(n) and n >= 0 for n in numbers(j)), "a number is negative, infinite or none"
for key in ("batch", "steps", "step_seconds", "fastest_step_seconds", "step_cpu_seconds", "images_per_s", "flops", "bytes", "planned_memory_bytes", "start_memory_bytes", "peak_memory_bytes",
            "loader_images_per_s", "threads", "peak_f32_flops", "bandwidth_bytes", "mfu", "roof_images_per_s"):
    assert j[key] > 0, key
assert j["phase"] == sys.argv[2], j["phase"]
phases = {"forward"} | ({"backward", "update"} if sys.argv[2] == "training" else set())
assert {row["phase"] for row in j["layers"]} == phases, phases
for rows in (j["layers"], j["kinds"]):
    assert abs(sum(row["share"] for row in rows) - 1) < 1e-3
    for key in ("flops", "bytes"):
        assert sum(row[key] for row in rows) == j[key], key
assert {"c1", "fc", "loss"} <= {row["name"] for row in j["layers"]}, "a layer is missing"
for row in j["layers"] + j["kinds"] + [j]:
    assert row is j or 0 <= row["share"] <= 1, row
    assert row is j or row["fastest_seconds"] <= row["seconds"], row
    assert 0 <= row["share_of_roof"] and (row["share_of_roof"] < 10 or row["seconds"] < 1e-5), row
assert 0 < j["mfu"] < 10
PY
  checks=$((checks + 1))
}
for precision in f32 bf16; do
  expect 0 "" "$CVRUN" bench net.ini --json backend.precision=$precision
  shares out.txt training
done
expect 0 "" "$CVRUN" bench net.ini --json --inference
shares out.txt inference

# the table: phases, kinds, and every line of the summary
expect 0 "" "$CVRUN" bench net.ini
for text in "of roof" "c1 .*forward" "c1 .*backward" "conv2d_backward_weight" "^training .*images/s" "^machine .*GFLOP/s.*GB/s" \
  "^a step .*processor time" "^an image .*GFLOP.*MB" "^MFU .*%" "^roof .*images/s" "^memory .*planned" "^loader .*images/s"; do
  grep -q -- "$text" out.txt || { cat out.txt >&2; fail "the table lacks \`$text\`"; }
  checks=$((checks + 1))
done
! grep -iqE '\b(nan|inf)\b' out.txt || fail "a number of the table is none"
[ "$(awk '{print length}' out.txt | sort -n | tail -n 1)" -le 120 ] || fail "the table is wider than 120 columns"
[ ! -e runs ] || fail "bench made a run folder"

# priority that is wrong: a pack that comes first and measures slower than the next
if grep -qw avx2 /proc/cpuinfo; then
  CVR_PLUGIN_PATH=$BUILD_DIR/lib/cvrun-peak CVR_TEST_PEAK=f32-slow expect 0 'f32: kernels for `avx2` come first (priority 1000)' "$CVRUN" bench net.ini --inference
  grep -q 'try backend.isa=' err.txt || fail "no other instruction set is named"
else
  left_out "bench_test with a slow pack" avx2
fi

# a backend that is not there
expect 2 "no backend" "$CVRUN" bench net.ini backend.name=nobody
done_with bench_test
