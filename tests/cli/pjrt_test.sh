#!/usr/bin/env bash
# The backend pjrt with a plugin that computes nothing (support/fake_pjrt.c): what is refused, in one line each; then, where CVR_PJRT_PLUGIN
# names a real one, training beside the CPU's, moves, SIGKILL and resume.
. "$(dirname "$0")/lib.sh"
fake=$(dirname "$CVRUN")/../lib/cvrun-test/fake_pjrt.so
recipe small.ini
export XDG_CACHE_HOME=$work/cache
train=("$CVRUN" train small.ini name=fake backend.name=pjrt)

expect 2 "pjrt: no plugin is named; backend.plugin=FILE.so says" "${train[@]}"
expect 1 "pjrt: $work/nothing.so: cannot be opened: No such file" "${train[@]}" backend.plugin=nothing.so
mkdir folder.so open; echo text >text.so; head -c 9000 "$fake" >cut.so; mkfifo pipe.so; cp "$fake" written.so; chmod o+w written.so; cp "$fake" open; chmod o+w open
expect 1 "folder.so: is a folder" "${train[@]}" backend.plugin=folder.so
expect 1 "pipe.so: is not a regular file" "${train[@]}" backend.plugin=pipe.so
expect 1 "text.so: is no library (it has no ELF header)" "${train[@]}" backend.plugin=text.so
expect 1 "cut.so: the file is cut short (9000 bytes); fetch it again" "${train[@]}" backend.plugin=cut.so
expect 1 "written.so: is not loaded: anyone may write to it" "${train[@]}" backend.plugin=written.so
expect 1 "fake_pjrt.so: is not loaded: anyone may write to its folder" "${train[@]}" backend.plugin=open/fake_pjrt.so
expect 1 "relu.so exports no GetPjrtApi: it is a library, but no PJRT plugin" "${train[@]}" "backend.plugin=$(cp "$(dirname "$fake")/guard.so" relu.so; echo relu.so)"
train+=("backend.plugin=$fake")
# refused FAKE STATUS TEXT
refused() { expect "$2" "$3" env "FAKE_PJRT=$1" "${train[@]}"; }
version=$(sed -n 's/.*PJRT \([0-9]*\.[0-9]*\).*/\1/p' <("$CVRUN" info small.ini backend.name=pjrt "backend.plugin=$fake" 2>&1) | head -n 1)
refused nothing 1 "fake_pjrt.so: its GetPjrtApi gives nothing"
refused major 1 "fake_pjrt.so has PJRT $((${version%.*} + 1)).${version#*.}, and this backend was built for $version: another major version"
refused tiny 1 "fake_pjrt.so: its table has 8 bytes, too few for a version; this backend was built for PJRT $version"
refused small 1 "fake_pjrt.so has PJRT $version with a table of "
grep -q "without PJRT_Client_Compile; this backend was built for $version" err.txt || fail "the function is not named: $(cat err.txt)"
refused old_stablehlo 1 "reads StableHLO up to 0.9.5, and this backend writes 1.1.0"
refused no_client 1 "PJRT_Client_Create failed: no chip is free"
refused no_device 2 "fake_pjrt.so has 0 devices here; backend.pjrt_device=0 is none of them"
refused compile=stablehlo.convolution 1 "c1/conv2d: pjrt: fake_pjrt.so: compiling failed: this is beyond me"
refused compile=@n0 1 "compiling failed: this is beyond me; each of its "
refused memory 1 "pjrt: a step needs 1099511.6 MB of nothing at all's memory beside its parameters"
refused upload 1 "an upload failed: no room"
refused execute=5 1 "a step failed: the chip is on fire"
refused await=5 1 "a step failed: the chip has halted"
expect 0 "" env FAKE_PJRT=no_attributes "${train[@]}"
expect 0 "" env FAKE_PJRT=chip "${train[@]}"

plugin=$(pjrt_plugin)
if [ -z "$plugin" ]; then
  left_out "training by a PJRT plugin" "a PJRT plugin of XLA's, and no sanitizer"
  done_with pjrt_test
  exit
fi
on=(backend.name=pjrt "backend.plugin=$plugin" backend.pjrt_device=1 backend.fallback=error)
long=(small.ini epochs=2 val.interval=0)
run() { "$CVRUN" train "$@" >log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }
run "${long[@]}" name=cpu
run "${long[@]}" name=pjrt "${on[@]}"
same_losses runs/classify/cpu runs/classify/pjrt 1e-3 14
run "${long[@]}" name=moved "backend.plugin=$plugin" backend.pjrt_device=1 --swap-to pjrt@3 --swap-to cpu@9
same_losses runs/classify/cpu runs/classify/moved 1e-3 14
# SIGKILL after a step: resumed, it ends in the bits of a run that nobody touched
long=(small.ini epochs=8 val.interval=0 "run.save_every=2 steps" "${on[@]}")
run "${long[@]}" name=whole
"$CVRUN" train "${long[@]}" name=killed >log.txt 2>&1 & pid=$!
for ((tries = 0; tries < 6000; tries++)); do
  [ -f runs/classify/killed/steps.csv ] && [ "$(wc -l <runs/classify/killed/steps.csv)" -gt 5 ] && break
  sleep 0.01
done
kill -KILL $pid 2>/dev/null || true; wait $pid 2>/dev/null || true
run --resume runs/classify/killed
same runs/classify/killed/weights/last.safetensors runs/classify/whole/weights/last.safetensors
"$CVRUN" conform --backend pjrt "plugin=$plugin" --draws 1 --op dropout >out.txt 2>&1 || { cat out.txt; fail "conform"; }
done_with pjrt_test
