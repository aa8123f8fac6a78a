#!/usr/bin/env bash
# Every op on the device, forward and backward, in f32, bf16 and f16, against the reference kernels; and where compute-sanitizer is
# installed, a sample of them under it. Options are in gpu.sh.
# shellcheck source-path=SCRIPTDIR source=gpu.sh
. "$(dirname "${BASH_SOURCE[0]}")/gpu.sh"

draws=2 letters=$(echo {a..z})
[ -z "$dry" ] || { draws=1 letters='e s'; }

# At least one that can be used: the last line is one of them, or why there is none.
devices() {
  limited 100 "$CVRUN" plugins -v >plugins.txt || return # the driver starts slowly on a machine with many GPUs
  grep -E "^ *device +$backend/" plugins.txt | grep -E 'cannot be used: ' || true
  grep -E "^ *device +$backend/" plugins.txt | grep -vE 'cannot be used: ' && return
  grep -qE "^ *device +$backend/" plugins.txt || echo "this build has no backend $backend"
  return 1
}

# All ops whose names begin so. Each letter is a step of its own, since a script has to stop in between.
conform() {
  local status=0
  limited 200 "$CVRUN" conform --backend "$backend" --op "$1*" --draws "$draws" --seconds 180 -v >conform.txt 2>&1 || status=$?
  cat conform.txt
  [ $status -ne 2 ] || return 77 # no op has such a name, and its last line says so
  [ $status -ne 0 ] || echo "$(grep -E '^[0-9]+ ops?: ' conform.txt); $(grep -E '^[0-9]+ kernels? in ' conform.txt)"
  return $status
}

# sanitizer TOOL LIBRARIES: without NVIDIA's libraries, whose kernels are many and slow to watch, and once with them
sanitizer() {
  local program
  program=$(command -v compute-sanitizer || ls /usr/local/cuda/bin/compute-sanitizer 2>/dev/null) ||
    { echo 'compute-sanitizer is not installed'; return 77; }
  limited 100 "$program" --tool "$1" --error-exitcode 9 "$CVRUN" conform --backend "$backend" "backend.cuda_libraries=$2" --draws 1 --seconds 60 \
    --op 'softmax,max_pool2d_backward,permute,cross_entropy*,conv2d*,linear*,sgd_update,batch_norm2d*'
}

step devices devices
[ -z "$failed" ] || finish # each of the others would say the same
for letter in $letters; do step "conform-$letter" conform "$letter"; done
if [ "$backend" = cuda ]; then
  for tool in memcheck racecheck; do step "$tool" sanitizer "$tool" no; done
  step memcheck-libraries sanitizer memcheck yes
fi
finish
