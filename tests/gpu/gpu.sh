# shellcheck shell=bash
# What the scripts of this folder share: steps whose results are written one by one, so that a script can be called again and goes on
# where it stopped.
#
#   tests/gpu/N-NAME.sh [--build DIR] [--results DIR] [--backend NAME] [--seconds N] [--dry]
#
# --build    the build to try, made on whatever machine of the same kind; build/ by default
# --results  where results go: NAME.txt has a line a step, NAME/ what each step printed; $OUT or gpu-results by default
# --backend  cuda by default
# --seconds  how long the script may take, 230 by default; what it has not come to is left to the next call
# --dry      small networks, to see on a machine without a GPU (--backend emu, cpu) that the script itself works
#
# Exit status: 0 all steps are done and right; 1 one of them failed; 75 time is out, call it again.
set -uo pipefail
gpu_here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
gpu_script=$(basename "$0" .sh)
build=$gpu_here/../../build results=${OUT:-gpu-results} backend=cuda seconds=230 dry=
while [ $# -gt 0 ]; do
  case "$1" in --build | --results | --backend | --seconds) [ $# -gt 1 ] || { echo "$1 wants a value" >&2; exit 2; } ;; esac
  case "$1" in
    --build) build=$2; shift ;;
    --results) results=$2; shift ;;
    --backend) backend=$2; shift ;;
    --seconds) seconds=$2; shift ;;
    --dry) export dry=yes ;;
    *) sed -n 's/^# \{0,1\}//p' "${BASH_SOURCE[0]}" | sed -n '5,15p' >&2; exit 2 ;;
  esac
  shift
done
[[ $seconds =~ ^[0-9]+$ ]] || { echo "--seconds $seconds: a number of seconds is wanted" >&2; exit 2; }
[ -x "$build/bin/cvrun" ] || { echo "there is no $build/bin/cvrun: name a build by --build" >&2; exit 2; }
CVRUN=$(realpath "$build/bin/cvrun") || exit 2
mkdir -p "$results/$gpu_script" || exit 2
results=$(realpath "$results") table=$results/$gpu_script.txt logs=$results/$gpu_script
if ! { touch "$table" "$logs/.written" && rm "$logs/.written"; }; then
  echo "nothing can be written to $results: name another folder by --results" >&2
  exit 2
fi
# A call that was ended in the middle of a line leaves one without its end: that step is run again.
[ -z "$(tail -c 1 "$table")" ] || { text=$(sed '$d' "$table"); printf '%s\n' "$text" | sed '/^$/d' >"$table"; }
work=$(mktemp -d) || exit 2
trap 'rm -rf "$work"' EXIT
cd "$work" || exit 2
ends=$((SECONDS + seconds)) failed=

# left: seconds that the script still has
left() { echo $((ends - SECONDS)); }

# limited SECONDS command...: ends it after so long, or when the script's time is out. Status 124: it was ended.
limited() {
  local most=$1; shift
  [ "$most" -lt "$(left)" ] || most=$(left)
  [ "$most" -gt 0 ] || return 124
  timeout --kill-after=5 "$most" "$@"
}

# record STEP WORD TEXT: a line of the table
record() {
  printf '%s\t%s\t%s\n' "$1" "$2" "$3"
  printf '%s\t%s\t%s\n' "$1" "$2" "$3" >>"$table" || { echo "$table cannot be written: is the disk full?" >&2; exit 2; }
}

# step NAME function [argument...]: runs it unless a call before has. The last line that it prints is the result. Status 77: it cannot
# run here, and the line says why. A step that the end of the script's time cut off has no result, and is run by the next call;
# cut off for the third time, it failed.
step() {
  local name=$1 status=0 text; shift
  if cut -f1 "$table" | grep -qxF "$name"; then
    if grep -qP "^\Q$name\E\tfailed\t" "$table"; then failed=yes; fi
    return 0
  fi
  [ "$(left)" -gt 0 ] || { echo "time is out: call $gpu_script.sh again for $name and what follows"; exit 75; }
  "$@" >"$logs/$name.log" 2>&1 || status=$?
  text=$(grep -v '^ *$' "$logs/$name.log" | tail -n 1)
  case $status in
    0) record "$name" ok "$text" ;;
    77) record "$name" 'left out' "$text" ;;
    124)
      echo cut >>"$logs/.$name.cut"
      if [ "$(left)" -le 0 ] && [ "$(wc -l <"$logs/.$name.cut")" -lt 3 ]; then
        echo "time is out: call $gpu_script.sh again for $name and what follows"
        exit 75
      fi
      rm "$logs/.$name.cut"
      failed=yes; record "$name" failed "took too long; $text" ;;
    *) failed=yes; record "$name" failed "$text" ;;
  esac
}

# finish: the last line of a script
finish() {
  [ -z "$failed" ] || { echo "$gpu_script: something failed; see $logs, and take its line out of $table to run it again"; exit 1; }
  echo "$gpu_script: all is done, in $table"
}

# number KEY FILE: the first number of that name in JSON
number() { grep -oE "\"$1\": [-+.0-9eE]+" "$2" | head -n 1 | sed 's/.*: //'; }

# recipe MODEL TASK BATCH SIZE STEPS FILE: training on made-up pictures
recipe() {
  local more='' file=$6 name
  name=$(basename "$file" .ini)
  [ "$2" != segment ] || more='masks = yes'
  local data="format = fake
classes = 10
size = $(($3 * $5))"
  [ "$2" != detect ] || data="format = scenes
fields = boxes
train_size = $(($3 * $5))
val_size = $3"
  cat >"$file" <<INI
[run]
task = $2
name = $name
seed = 7
[model]
name = $1
[data]
$data
img_size = $4
$more
[train]
epochs = 1
batch = $3
[val]
interval = 0
[optim]
name = sgd
lr = 0.001
momentum = 0.9
INI
}

# bench NAME MODEL TASK BATCH SIZE PRECISION [option...]: its speed as one line, which says so where a library of NVIDIA's is missing. It
# may take all the time that is left: plans are tried before the first step, and the next call goes on with those that are chosen.
bench() {
  local name=$1 model=$2 task=$3 batch=$4 size=$5 precision=$6 status=0 missing=''; shift 6
  recipe "$model" "$task" "$batch" "$size" 4 "$name.ini"
  limited 600 "$CVRUN" bench "$name.ini" "backend.name=$backend" "backend.precision=$precision" --json "$@" >"$name.json" 2>"$name.err" || status=$?
  cat "$name.json" "$name.err"
  [ $status -eq 0 ] || return $status
  missing=$(sed -n 's/^.*: cuda: \([a-z]*\) is not used, .*/, WITHOUT \1/p' "$name.err" | tr -d '\n')
  echo "$(number images_per_s "$name.json") images/s, $(number share_of_roof "$name.json") of the roof," \
    "$(number planned_memory_bytes "$name.json") bytes planned, batch $batch$missing"
}
