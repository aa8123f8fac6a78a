#!/usr/bin/env bash
# A run moves between backends in one process: to the bit where the kernels are the same, to rounding where they are not.
. "$(dirname "$0")/lib.sh"
recipe small.ini
train() { "$CVRUN" train "$@" >>log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }
train small.ini name=stay
train small.ini name=move --swap-to far@10 --swap-to reference@15
for backend in cpu far reference; do
  grep -q "moved to backend $backend/0 (.*) after step" log.txt || [ $backend = cpu ] || fail "no move to $backend"
done
grep -q '"backend": "reference"' runs/classify/move/summary.json || fail "summary.json does not say where the run ended"
# far has cpu's kernels: to the bit, in one process and back
train small.ini name=there --swap-to far@5 --swap-to cpu@12
same runs/classify/there/weights/last.safetensors runs/classify/stay/weights/last.safetensors
same <(cut -d, -f1-4 runs/classify/there/steps.csv) <(cut -d, -f1-4 runs/classify/stay/steps.csv)
# up to the move to other kernels, too
same <(cut -d, -f1-4 runs/classify/move/steps.csv | head -n 16) <(cut -d, -f1-4 runs/classify/stay/steps.csv | head -n 16)
# backend.device is said of the backend that the run starts on
train small.ini name=far backend.name=far backend.device=far --swap-to cpu@12
same runs/classify/far/weights/last.safetensors runs/classify/stay/weights/last.safetensors
# NAME/DEVICE in one word, for the start and for a move, by number and by name
train small.ini name=placed backend=far/FA --swap-to cpu/0@12
same runs/classify/placed/weights/last.safetensors runs/classify/stay/weights/last.safetensors
grep -qx "device = FA" runs/classify/placed/config.ini && grep -qx "name = far" runs/classify/placed/config.ini || fail "NAME/DEVICE is not two settings"
expect 2 "backend.name=far/0 and backend.device=1 name two devices; leave one out" "$CVRUN" train small.ini backend=far/0 device=1
expect 2 "\`far/\` names no device behind the \`/\`" "$CVRUN" train small.ini backend=far/
expect 2 "backend far has these devices here: 0 (far); backend.device=1 is none of them" "$CVRUN" train small.ini --swap-to far/1@5
expect 2 "\`/1\`: write the name of a backend, such as cpu, or NAME/DEVICE" "$CVRUN" train small.ini --swap-to /1@5
# a device belongs to the backend beside which it was chosen, and stays beside another choice of that backend
expect 0 "backend.device=FA was chosen for backend far and does not count for cpu" "$CVRUN" val runs/classify/placed backend=cpu
grep -q "^backend cpu: .*; f32$" out.txt || fail "val does not say what computed"
expect 0 "" "$CVRUN" val runs/classify/placed backend=far
grep -qx "backend far: .*; f32" out.txt && ! grep -q "does not count" err.txt || fail "val does not go where the run was"
expect 0 "" "$CVRUN" val runs/classify/placed backend=reference/0 --json
! grep -q "^backend" out.txt || fail "words before JSON"
train --resume runs/classify/placed backend=reference epochs=4
grep -qx "device = 0" runs/classify/placed/config.ini || fail "the device of another backend stays"
# losses agree to rounding, step by step
same_losses runs/classify/stay runs/classify/move 2e-4 15
# a target that is not there is said before anything is made
expect 2 "there is no backend \`nowhere\`" "$CVRUN" train small.ini name=lost --swap-to nowhere@5
[ ! -e runs/classify/lost ] || fail "a run folder without a run"
expect 2 "--swap-to far: write BACKEND@STEP" "$CVRUN" train small.ini --swap-to far
many=(); for ((i = 1; i <= 33; i++)); do many+=(--swap-to "far@$i"); done
expect 2 "more than 32 --swap-to" "$CVRUN" train small.ini "${many[@]}"
# a trace has every step, and nodes of both backends; it changes nothing
train small.ini name=traced log.trace=trace.json --swap-to far@10 --swap-to reference@15
same runs/classify/traced/weights/last.safetensors runs/classify/move/weights/last.safetensors
[ "$(head -c 1 trace.json)$(tail -n 1 trace.json)" = "[]" ] || fail "the trace is not a JSON array"
[ "$(grep -c '"name": "step"' trace.json)" = "$(tail -n +2 runs/classify/traced/steps.csv | wc -l)" ] || fail "the trace does not have every step"
grep -q '"kernel": "reference"' trace.json || fail "the trace ends with the first backend"
expect 1 "nowhere/t.json: No such file or directory" "$CVRUN" train small.ini name=untraced log.trace=nowhere/t.json
done_with swap_test
