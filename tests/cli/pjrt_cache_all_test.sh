#!/usr/bin/env bash
# With --all: programs of the backend pjrt in the cache folder that were cut, changed, exchanged, made by another plugin or version, that cannot be
# read, or have no place there. Each is compiled anew, and the run ends in the same weights.
. "$(dirname "$0")/lib.sh"
fake=$(dirname "$CVRUN")/../lib/cvrun-test/fake_pjrt.so
recipe small.ini
export CVRUN_DEBUG=1

# run NAME FOLDER: a run with this cache folder; how many programs it has compiled is in `compiled`
run() {
  XDG_CACHE_HOME=$2 "$CVRUN" train "${train[@]}" name="$1" >log.txt 2>&1 || { cat log.txt; fail "$1"; }
  compiled=$(grep -c 'pjrt: compiled ' log.txt || true)
}
# anew NAME FOLDER: all programs are compiled, and the weights are those of the first run
anew() {
  run "$1" "$2"
  [ "$compiled" -eq "$all" ] || { cat log.txt; fail "$1: $compiled of $all programs were compiled"; }
  same runs/classify/first/weights/last.safetensors "runs/classify/$1/weights/last.safetensors"
}
# damaged FUNCTION: which spoils the file that it is called with, one of the cache after the other
damaged() {
  local file
  rm -rf spoilt; cp -r good spoilt
  for file in spoilt/cvrun/pjrt-*; do "$1" "$file"; done
  anew "$1" "$work/spoilt"
}
cut_short() { truncate -s -1 "$1"; }
empty() { : >"$1"; }
# flip PLACE FILE: one bit of the byte there, counted from the end where it is negative
flip() {
  local at=$1 byte; [ "$at" -ge 0 ] || at=$(($(stat -c %s "$2") + at))
  byte=$(od -An -tu1 -j "$at" -N 1 "$2")
  printf "\\x$(printf %x $((byte ^ 16)))" | dd of="$2" bs=1 seek="$at" conv=notrunc status=none
}
magic() { flip 0 "$1"; }
size() { flip 24 "$1"; }
versions() { flip 50 "$1"; }
program() { flip -100 "$1"; }
folder_instead() { rm "$1"; mkdir "$1"; }
nowhere() { rm "$1"; ln -s nothing "$1"; }
open_to_all() { chmod o+w "$1"; }
next_one() { local all=(good/cvrun/pjrt-*) i; for i in "${!all[@]}"; do [ "$(basename "${all[i]}")" != "$(basename "$1")" ] || cp "${all[(i + 1) % ${#all[@]}]}" "$1"; done; }

# damages FUNCTION...: with `train`'s plugin, which gets its programs from the cache where nothing has happened to them
damages() {
  rm -rf good runs; run first "$work/good"; all=$compiled
  local files=(good/cvrun/pjrt-*) one
  [ "${#files[@]}" -gt 1 ] || fail "${#files[@]} programs are kept"
  run second "$work/good"
  [ $((compiled + ${#files[@]})) -eq "$all" ] || fail "$compiled of $all programs are compiled where ${#files[@]} are in the cache"
  same runs/classify/first/weights/last.safetensors runs/classify/second/weights/last.safetensors
  for one; do damaged "$one"; done
}

# a plugin that computes nothing, and so only says that all programs come out with the results that they should have
train=(small.ini epochs=1 backend.name=pjrt "backend.plugin=$fake")
export FAKE_PJRT=slow
damages cut_short empty magic size versions program next_one folder_instead nowhere open_to_all
grep -q 'is not used: anyone may write to it' log.txt || fail "a file that anyone may write to is used"
# no place: the cache folder is a file; and, unless root does not care, a folder that nobody may write to
echo >plain; anew no_folder "$work/plain"
[ "$(grep -c 'a compiled program is not kept in the cache folder: ' log.txt)" -eq 1 ] || { cat log.txt; fail "it is not said once that nothing is kept"; }
# the plugin's file is another one, of the same name and versions
cp "$fake" copy.so; kept=("${train[@]}"); train+=("backend.plugin=$work/copy.so")
run copied "$work/copied"; run copied_again "$work/copied"
[ "$compiled" -lt "$all" ] || fail "a copied plugin's programs do not come from the cache"
touch copy.so; anew touched "$work/copied"; train=("${kept[@]}")
mkdir -p shut/cvrun; chmod 555 shut shut/cvrun; anew shut "$work/shut"
# the plugin takes back nothing of what it gave
FAKE_PJRT=garbage run garbage "$work/refused"
FAKE_PJRT=garbage anew garbage "$work/refused"
# one version's programs under the names of the other's
FAKE_PJRT=newer run newer "$work/newer"
names=(newer/cvrun/pjrt-*) files=(good/cvrun/pjrt-*)
[ "${#names[@]}" -eq "${#files[@]}" ] || fail "${#names[@]} programs of one version, ${#files[@]} of the other"
for i in "${!names[@]}"; do cp "${files[i]}" "${names[i]}"; done
FAKE_PJRT=newer anew newer "$work/newer"

plugin=$(pjrt_plugin)
if [ -z "$plugin" ]; then
  left_out "damaged programs of a PJRT plugin" "a PJRT plugin of XLA's, and no sanitizer"
  done_with pjrt_cache_all_test
  exit
fi
mv good fakes
train=(model=resnet18 data.format=fake data.classes=3 data.size=8 data.img_size=32 batch=4 epochs=1 backend.name=pjrt "backend.plugin=$plugin")
fakes=(fakes/cvrun/pjrt-*)
anothers() { cp "${fakes[0]}" "$1"; }
damages cut_short program next_one anothers
done_with pjrt_cache_all_test
