#!/usr/bin/env bash
# Makes a trained run smaller and faster: prune, train under the run itself as teacher, quantise with training, write ONNX.
# Killed anywhere and called again with the same words it goes on, and ends in the same files.
set -euo pipefail
usage() {
  cat <<'TEXT'
apps/compress.sh RUN_DIR [out=FOLDER] [KEY=VALUE ...]

  out=FOLDER           where everything goes; RUN_DIR-compressed unless given
  prune=SETTINGS       of `cvrun prune`, "target=macs:0.5" unless given; prune=no leaves it out
  distill=SETTINGS     of `cvrun distill`, "epochs=5 optim.lr=0.01" unless given; distill=no leaves it out; for
                       detectors "method=attention distill.layers=NAMES", as the default compares scores of classes
  quantize=SETTINGS    of `cvrun quantize`, "method=qat" unless given; quantize=no leaves it out
  export=SETTINGS      of `cvrun export` to ONNX, such as "opset=13"; export=no leaves it out
  KEY=VALUE            settings of every step, such as backend.threads=2

Several settings of a step stand in one word: distill="epochs=8 T=2 alpha=0.5". CVRUN names the program, else the one in
build/bin beside apps is taken, or the one on the PATH.
TEXT
}
die() { echo "compress.sh: error: $*" >&2; exit "${code:-1}"; }

# ---- what is asked ----
[ $# -ge 1 ] || { usage >&2; exit 2; }
case $1 in -h | --help | help) usage; exit 0 ;; esac
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
cvrun=${CVRUN:-$here/../build/bin/cvrun}
[ -x "$cvrun" ] || [ -z "${CVRUN:-}" ] || { code=2; die "CVRUN=$CVRUN is no program"; }
[ -x "$cvrun" ] || cvrun=$(command -v cvrun) || die "there is no cvrun; build it, or set CVRUN"
cvrun=$(realpath "$cvrun")
[ -f "$1/config.ini" ] || { code=2; die "$1 is not a run folder: it has no config.ini"; }
run=$(realpath "$1")
shift
out=$run-compressed
declare -A say=([prune]="target=macs:0.5" [distill]="epochs=5 optim.lr=0.01" [quantize]="method=qat" [export]="")
common=()
for word; do
  case $word in
    out=*) out=${word#out=} ;;
    prune=* | distill=* | quantize=* | export=*) say[${word%%=*}]=${word#*=} ;;
    *=*) common+=("$word") ;;
    *) code=2; die "\`$word\` is no setting; write KEY=VALUE" ;;
  esac
done
mkdir -p "$out"
out=$(realpath "$out")

# One at a time; and the same words as before, since what is done is not done again.
exec 9>"$out/.lock"
flock -n 9 || die "$out: another compress.sh is at work here"
asked=$(printf '%s\n' "run=$run" "prune=${say[prune]}" "distill=${say[distill]}" "quantize=${say[quantize]}" "export=${say[export]}" "${common[@]}")
if [ -f "$out/asked.txt" ]; then
  [ "$(cat "$out/asked.txt")" = "$asked" ] || { code=2; die "$out was begun with other settings, see asked.txt there; say the same, or give another out="; }
else
  printf '%s\n' "$asked" >"$out/asked.txt.part" && mv "$out/asked.txt.part" "$out/asked.txt"
fi

# ---- steps ----
# Each has a folder, $out/STEP, in which `run` is a copy of the run before it and `run-SUFFIX` is what came of it; it is done
# when there is a file `done`. Names are the same wherever it was stopped, and so is what files say of them.
last=$run
names=(origin)
folders=("$run")

# enter STEP: whether it has to be done; then its folder has the run to work on, and nothing else
enter() {
  step=$out/$1
  [ ! -f "$step/done" ] || return 1
  echo "== $1"
  rm -rf "$step"
  mkdir -p "$step"
  cp -r "$last" "$step/run" || die "$step/run: the run before it cannot be copied"
  rm -rf "$step"/run/weights/*.state* "$step"/run/.lock "$step"/run/pruning
}

# finish STEP SUFFIX STATUS: of the command
finish() {
  [ "$3" -eq 0 ] || { tail -n 5 "$step/log.txt" >&2; code=$3; die "$1: it ended with status $3; the whole log is $step/log.txt"; }
  [ -d "$step/run-$2" ] || die "$1: it left no $step/run-$2; the log is $step/log.txt"
  sync
  : >"$step/done"
}

took() {
  last=$out/$1/run-$2
  names+=("$1")
  folders+=("$last")
}

split() { read -ra words <<<"${say[$1]}"; }

# perform STEP SUFFIX SETTINGS...: where the step has begun to train it goes on, from its last checkpoint; else it begins anew. A run is
# there from its config.ini on, which is written whole; pruning, which may train several times, knows from its first file on how far it came.
perform() {
  local name=$1 suffix=$2 status=0 begun=$out/$1/run-$2
  shift 2
  [ "${say[$name]}" != no ] || return 0
  split "$name"
  step=$out/$name
  if [ ! -f "$step/done" ] && trains "$name" "$begun"; then
    echo "== $name goes on"
    "$cvrun" "$name" --resume "$begun" >>"$step/log.txt" 2>&1 9>&- || status=$?
    finish "$name" "$suffix" $status
  elif enter "$name"; then
    "$cvrun" "$name" "$step/run" "$@" "${words[@]}" "${common[@]}" >"$step/log.txt" 2>&1 9>&- || status=$?
    finish "$name" "$suffix" $status
  fi
  took "$name" "$suffix"
}

# trains STEP FOLDER: whether the run of a step has come to where it can be resumed
trains() {
  case $1 in
    prune) [ -f "$2/pruning/asked.txt" ] ;;
    distill) [ -f "$2/config.ini" ] && [ -f "$2/classes.txt" ] ;;
    *) [ -f "$2/weights/last.state" ] ;;
  esac
}

perform prune pruned
perform distill distilled teacher="$run"
perform quantize quantized

if [ "${say[export]}" != no ]; then
  split export
  if [ ! -f "$out/model.onnx" ]; then
    echo "== export"
    "$cvrun" export "$last" "${words[@]}" format=onnx out="$out/model.onnx" "${common[@]}" >"$out/export.txt" 2>&1 9>&- ||
      { code=$?; tail -n 5 "$out/export.txt" >&2; die "export: the whole log is $out/export.txt"; }
  fi
fi

# ---- the table ----
# side FILE NAME: the object "before" or "after" of a compress.json, in one line
side() { tr -d '\n' <"$1" | sed -n "s/.*\"$2\": {\( *\"metrics\": {[^}]*}[^}]*\)}.*/\1/p"; }
number() { sed -n "s/.*\"$2\": \([-0-9.e+]*\).*/\1/p" <<<"$1"; }
# metric SIDE: "NAME": VALUE of the one by which the task compares runs; the first of all where it was not measured
metric() {
  local all name
  all=$(sed -n 's/.*"metrics": {\([^}]*\)}.*/\1/p' <<<"$1" | tr ',' '\n') name=$(sed -n 's/.*"metric": "\([^"]*\)".*/\1/p' <<<"$1")
  grep -F "\"$name\": " <<<"$all" || grep -v '"loss' <<<"$all" | head -n 1
}

table() {
  local i of which first="" s m
  for i in "${!names[@]}"; do
    of=${folders[i]}/compress.json which=after
    if [ "$i" -eq 0 ]; then of=${folders[1]:-}/compress.json which=before; fi
    [ -f "$of" ] || continue
    s=$(side "$of" $which)
    m=$(metric "$s") m=${m/null/nan}
    if [ -z "$first" ]; then
      printf '%-10s %10s %12s %10s %12s %12s %12s\n' "" "$(sed 's/.*"\(.*\)".*/\1/' <<<"$m")" parameters MMACs "weights, kB" "ms, batch 1" "ms, batch 32"
      first=1
    fi
    printf '%-10s %10.4f %12s %10.2f %12.0f %12.3f %12.2f\n' "${names[i]}" "${m##*: }" "$(number "$s" params)" \
      "$(awk "BEGIN { print $(number "$s" macs) / 1e6 }")" "$(awk "BEGIN { print $(number "$s" file_bytes) / 1e3 }")" \
      "$(number "$s" ms_batch1)" "$(number "$s" ms_batch32)"
  done
  [ ! -f "$out/model.onnx" ] || echo "ONNX: $out/model.onnx, $(($(stat -c %s "$out/model.onnx") / 1000)) kB"
}
table | tee "$out/table.txt"
echo "$out"
