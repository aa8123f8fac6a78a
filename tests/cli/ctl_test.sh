#!/usr/bin/env bash
# A run in progress obeys `cvrun ctl`: another backend and back, another learning rate, a checkpoint, a stop; what it was
# told holds after a resume, and what cannot be done leaves it where it was.
. "$(dirname "$0")/lib.sh"
recipe small.ini
settings=(train.epochs=400 data.size=400)
run=runs/classify/told
start() { "$CVRUN" train "$@" >log.txt 2>&1 & pid=$!; for ((i = 0; i < 600; i++)); do [ ! -f $run/steps.csv ] || [ "$(wc -l <$run/steps.csv)" -lt 3 ] || return 0; sleep 0.05; done; cat log.txt; fail "the run does not begin"; }
# tell TEXT RUN ORDER...: it is obeyed, and TEXT is said
tell() {
  local text=$1; shift
  expect 0 "" "$CVRUN" ctl "$@"
  grep -qF -- "$text" out.txt || { cat out.txt >&2; fail "it is not said: $text"; }
}
ends() { status=0; wait "$pid" || status=$?; [ $status -eq "$1" ] || { tail -n 5 log.txt; fail "the run ended with status $status, not $1"; }; checks=$((checks + 1)); }

expect 2 "is no run folder" "$CVRUN" ctl nowhere stop
start small.ini name=told "${settings[@]}"
expect 2 "unknown order \`backed\`; did you mean \`backend\`?" "$CVRUN" ctl $run backed=far
expect 2 "a learning rate is a number above 0" "$CVRUN" ctl $run lr=-1
expect 2 "checkpoint takes no value" "$CVRUN" ctl $run checkpoint=1
expect 2 "what shall the run do?" "$CVRUN" ctl $run
expect 1 "there is no backend \`nowhere\`" "$CVRUN" ctl $run backend=nowhere
grep -q "the run stays on cpu" err.txt || fail "it is not said where the run stays"
expect 2 "\`far/\` names no device" "$CVRUN" ctl $run backend=far/
expect 1 "backend far has these devices here: 0 (far); backend.device=1 is none of them; the run stays on cpu" "$CVRUN" ctl $run backend=far/1
tell "moved to backend far/0 (far) after step" $run backend=far/fa
tell "the run is on backend far/0 (far)" $run backend=far
tell "the run is on backend far/0 (far)" $run backend=far/0
tell "optim.lr = 0.003 after step" $run lr=0.003 checkpoint
grep -q "saved after step" out.txt || fail "two orders, one answer"
compgen -G "$run/weights/last.state*" >/dev/null || fail "no checkpoint" # the next one may just take its place
# what others leave in the folder does no harm
echo nonsense >$run/control.ask
for ((i = 0; i < 200; i++)); do [ -f $run/control.ask ] || break; sleep 0.05; done
[ ! -f $run/control.ask ] || fail "foreign orders stay"
tell "stopped after step" $run stop
ends 75
grep -q "is no file of \`cvrun ctl\`" log.txt || fail "nothing is said of foreign orders"
[ ! -e $run/control.ask ] && [ ! -e $run/control.said ] || fail "files are left"
expect 2 "no run is in progress here; go on with: cvrun train --resume $run" "$CVRUN" ctl $run stop

# resumed, it is where it was and has the rate that it was told: its next steps are those of a run that nobody stopped
steps=$(tail -n 1 $run/steps.csv | cut -d, -f1)
epochs=$((steps / 50 + 2))
grep -aq "^backend far/fa$" $run/weights/last.state || fail "the device is forgotten"
cp -r $run runs/classify/twin
"$CVRUN" train --resume $run train.epochs=$epochs >log.txt 2>&1 || { cat log.txt; fail "resume"; }
grep -q "goes on on backend far/0 (far), where it was" log.txt || fail "the backend is forgotten"
grep -q "optim.lr = 0.003, as the run was told" log.txt || fail "the rate is forgotten"
"$CVRUN" train --resume runs/classify/twin train.epochs=$epochs backend.name=cpu >log.txt 2>&1 || { cat log.txt; fail "resume on cpu"; }
same $run/weights/last.safetensors runs/classify/twin/weights/last.safetensors # far has cpu's kernels
done_with ctl_test
