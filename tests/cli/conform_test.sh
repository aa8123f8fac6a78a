#!/usr/bin/env bash
# A plugin with one mistake after the other (consumer/clumsy.c): `cvrun conform`, from an installed tree that was moved, and
# backend.check=yes name each of them, with plugin, kernel, node and case; where there is no mistake both are content.
. "$(dirname "$0")/lib.sh"
: "${BUILD_DIR:?set BUILD_DIR to the build to install}"
cmake --install "$BUILD_DIR" --prefix "$work/first" >install.txt || { cat install.txt; fail "install"; }
mv first moved
CVRUN=$work/moved/bin/cvrun
mkdir plug; chmod 755 plug
gcc -std=c17 -D_POSIX_C_SOURCE=200809L -O1 -shared -fPIC -fvisibility=hidden ${CVR_SANITIZE:+-fsanitize=$CVR_SANITIZE} -Imoved/include "$here/../consumer/clumsy.c" -o plug/clumsy.so -lm

# conform STATUS TEXT mistake [option...]: TEXT stands in a line that says `failed`, or anywhere if STATUS is 0
conform() {
  local want=$1 text=$2 mistake=$3 got=0; shift 3
  ACME_MISTAKE=$mistake timeout 120 "$CVRUN" conform --plugin plug/clumsy.so --draws 3 "$@" >out.txt 2>err.txt || got=$?
  [ "$got" -eq "$want" ] || { cat out.txt err.txt >&2; fail "conform: $mistake: status $got instead of $want"; }
  if [ "$want" -eq 1 ]; then grep '^failed: ' out.txt; else cat out.txt; fi | grep -qF -- "$text" || { cat out.txt err.txt >&2; fail "conform: $mistake: no \`$text\`"; }
  checks=$((checks + 1))
}

# without a manifest, and right
conform 0 'all passed' none
grep -q '^acme.clumsy  *kernel cpu  *[1-9]' out.txt && grep -q '^acme.clumsy  *gradient  *[1-9]' out.txt || { cat out.txt; fail "not every row has cases"; }
conform 0 '"passed": true' none --json
# it goes before a copy that CVR_PLUGIN_PATH lists, which here is none at all
mkdir copy; chmod 755 copy; cp plug/clumsy.so copy/clumsy.so
"$(dirname "$CVRUN")/cvr-manifest" copy/plugins.ini copy/clumsy.so; : >copy/clumsy.so
export CVR_PLUGIN_PATH=$work/copy
conform 0 'all passed' none
[ "$(grep -c 'plugin com.acme.clumsy: plug/clumsy.so is tried, and not the one that a manifest lists' err.txt)" -eq 1 ] || { cat err.txt >&2; fail "nothing is said of the copy"; }
conform 1 'writes past the end of output 0, f32 (' past
unset CVR_PLUGIN_PATH
conform 1 'writes past the end of output 0, f32 (' past
conform 1 'plugin com.acme.clumsy writes in front of output 0' before
conform 1 'changes input 0, f32 (' input
conform 1 'writes past the end of its workspace of 100 bytes: byte 0 behind it' workspace
conform 1 'wants 9223372036854775807 bytes by `workspace`' greedy
conform 1 'writes nothing to output 0' nothing
conform 1 'unwritten, the first of them element ' part
conform 1 'makes the first NaN' nan
conform 1 'gives other bits the second time' random
conform 1 'gives other bits with three threads than with one' threads
conform 1 'changes the descriptor of output 0' descriptor
conform 1 'prints `hello from the kernel`' print
conform 1 'where output 0 takes the place of input 0' in_place
conform 1 'differs from the reference kernel in output 0' differs
conform 1 'gives two answers by `supports`' supports
conform 1 'ended the process with exit status 3 while it computed' exit
conform 1 'I do not like this batch' refuses
conform 1 'fails with status 1 and does not say why' silent
conform 1 'returns 9999, which is no status' status
conform 1 'has not returned after 1 s while it computed' sleep --limit 1
conform 1 'acme.clumsy, gradient: gin0: analytic' gradient
conform 1 'input 0 has no gradient' no_gradient
conform 1 '(' small
if [ -z "${CVR_SANITIZE:-}" ]; then # which ends by itself at these
  conform 1 'ended the process by signal 6' abort
  conform 1 'ended the process by signal 11' fault
  conform 1 'between guard pages' read_past
  conform 1 'ended the process by signal 11' far_past
fi
# cases that nobody would draw
conform 1 'the input must be (N, 77); write cases of it into a file and give it by --cases FILE' picky
echo 'acme.clumsy | {1-3},77' >picky.cases
conform 0 'all passed' picky --cases picky.cases
# the case that a line shows, given back
conform 1 '' gradient
sed -n '/gradient/s/.*; case `\(.*\)`$/\1/p' out.txt | head -1 >again.cases
conform 1 'again.cases:1' gradient --cases again.cases
conform 0 'all passed' none --op 'acme.*'
# an update that says when it does nothing is told so
gcc -std=c17 -D_POSIX_C_SOURCE=200809L -O1 -shared -fPIC -fvisibility=hidden ${CVR_SANITIZE:+-fsanitize=$CVR_SANITIZE} -Imoved/include "$here/../consumer/restless.c" -o plug/restless.so -lm
echo 'op:acme.restless | u01:! ; {n=1-9}! ; {n}!' >restless.cases
for mistake in none restless; do
  ACME_MISTAKE=$mistake "$CVRUN" conform --plugin plug/restless.so --draws 1 --cases restless.cases >$mistake.txt 2>&1 && got=0 || got=$?
  [ "$got" = $([ $mistake = none ] && echo 0 || echo 1) ] || { cat $mistake.txt; fail "conform: acme.restless, $mistake: status $got"; }
done
grep -q '^failed: .*changes input 1, f32 (.*) where input 0 is 0, though its op says that it is idle then' restless.txt || { cat restless.txt; fail "nobody says that it is not idle"; }
checks=$((checks + 2))
expect 2 'which plugin, or which backend?' "$CVRUN" conform
expect 1 'nothing.so' "$CVRUN" conform --plugin nothing.so
expect 2 'val has no option `--draws`; `cvrun help val` says' "$CVRUN" val --draws 3 r.ini

# the same kernels in a run
"$work/moved/bin/cvr-manifest" plug/plugins.ini plug/clumsy.so
export CVR_PLUGIN_PATH=$work/plug
recipe small.ini
sed -i 's/^r1 = relu/r1 = acme.clumsy/' small.ini
for backend in cpu reference far; do
  for check in no yes; do
    "$CVRUN" train small.ini epochs=1 name=$backend-$check backend.name=$backend backend.check=$check >log.txt 2>&1 || { cat log.txt; fail "check=$check on $backend"; }
  done
  same runs/classify/$backend-no/weights/last.safetensors runs/classify/$backend-yes/weights/last.safetensors
  same <(cut -d, -f1-3 runs/classify/$backend-no/steps.csv) <(cut -d, -f1-3 runs/classify/$backend-yes/steps.csv)
done
# checked MISTAKE TEXT backend: an error of a training run
checked() {
  ACME_MISTAKE=$1 expect 1 "$2" "$CVRUN" train small.ini epochs=1 name=bad backend.name=$3 backend.check=yes
  grep -qE 'r1/acme.clumsy: kernel (cpu|reference)/acme.clumsy of plugin com.acme.clumsy ' err.txt || { cat err.txt; fail "$1 on $3 does not name node, kernel and plugin"; }
}
for backend in cpu reference far; do
  checked past 'writes past the end of output 0, f32 (8, 6, 12, 12)' $backend
  checked before 'writes in front of output 0' $backend
  checked input 'changes input 0' $backend
  checked workspace 'past the end of its workspace' $backend
  checked nothing 'writes nothing to output 0' $backend
  checked part 'leaves 1 of 6912 elements of output 0' $backend
  checked nan 'makes the first NaN' $backend
  checked descriptor 'changes the descriptor of output 0' $backend
done
# a kernel that does not promise the same bits each time is passed over, and the reason says which key allows it
for backend in cpu far; do
  ACME_UNSTEADY=cpu "$CVRUN" info small.ini backend.name=$backend >info.txt 2>&1 || { cat info.txt; fail "info with an unsteady kernel"; }
  grep -q 'reference:acme.clumsy' info.txt && grep -q 'cpu: it may give other bits each time, which run.deterministic=no allows' info.txt ||
    { cat info.txt; fail "an unsteady kernel is not passed over on $backend"; }
  ACME_UNSTEADY=cpu "$CVRUN" info small.ini backend.name=$backend run.deterministic=no >info.txt 2>&1
  grep -q 'other bits each time' info.txt && { cat info.txt; fail "run.deterministic=no does not allow it on $backend"; }
  ACME_UNSTEADY=cpu expect 1 'acme.clumsy' "$CVRUN" train small.ini epochs=1 name=strict backend.name=$backend backend.fallback=error
  ACME_UNSTEADY=all expect 1 'nothing can compute r1/acme.clumsy' "$CVRUN" train small.ini epochs=1 name=none backend.name=$backend
  ACME_UNSTEADY=all "$CVRUN" train small.ini epochs=1 name=unsteady-$backend backend.name=$backend backend.fallback=error run.deterministic=no >log.txt 2>&1 ||
    { cat log.txt; fail "run.deterministic=no on $backend"; }
  checks=$((checks + 3))
done
# the same kernels on devices: cvrun conform --backend finds what is wrong with them there
# device STATUS TEXT MISTAKE BACKEND
device() {
  local got=0
  ACME_MISTAKE=$3 timeout 120 "$CVRUN" conform --backend "$4" --op 'acme.*' --draws 2 >out.txt 2>err.txt || got=$?
  [ "$got" -eq "$1" ] && grep -qF -- "$2" out.txt || { cat out.txt err.txt >&2; fail "conform on $4: $3: status $got, or no \`$2\`"; }
  checks=$((checks + 1))
}
for backend in cpu far; do
  device 0 'all passed' none $backend
  device 1 'kernel cpu/acme.clumsy of plugin com.acme.clumsy writes past the end of output 0' past $backend
done
device 1 'changes input 0' input far
device 1 'differs from the reference kernel in output 0' differs far
device 1 'leaves 1 of' part far
ACME_REFERENCE_ONLY=1 device 1 'acme.clumsy, place: it is left to the host: far has no kernel; cpu: ' none far
[ -n "${CVR_SANITIZE:-}" ] || device 1 'ended the process by signal 11' fault far
# a node that the device leaves to the host
ACME_REFERENCE_ONLY=1 checked past 'kernel reference/acme.clumsy of plugin com.acme.clumsy writes past' far
# evaluation, prediction and measurement are checked as well
ACME_MISTAKE=past expect 1 'writes past' "$CVRUN" val runs/classify/cpu-no backend.check=yes
"$CVRUN" val runs/classify/cpu-no backend.check=yes >log.txt 2>&1 || { cat log.txt; fail "val"; }
checks=$((checks + 4))
done_with conform_test
