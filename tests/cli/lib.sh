# What the command-line tests share. CVRUN is the program under test; everything happens in a folder of its own that goes away.
set -euo pipefail
: "${CVRUN:?set CVRUN to the cvrun to test}"
CVRUN=$(realpath "$CVRUN")
here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
work=$(mktemp -d)
trap 'chmod -R u+w "$work" 2>/dev/null; rm -rf "$work"' EXIT
cd "$work"
checks=0
# Vulkan's drivers are hidden from all but what calls show_vulkan: to look for them takes 30 ms a call, and backend.name=auto might take a GPU.
export CVR_TEST_DRIVERS=${CVR_TEST_DRIVERS-${VK_ICD_FILENAMES-}}
hide_vulkan() { export VK_ICD_FILENAMES=/dev/null VK_DRIVER_FILES=/dev/null; }
hide_vulkan
show_vulkan() {
  unset VK_ICD_FILENAMES VK_DRIVER_FILES
  [ -z "$CVR_TEST_DRIVERS" ] || export VK_ICD_FILENAMES=$CVR_TEST_DRIVERS
}
# has_vulkan: whether there is a device that can be used; vulkan.txt has it, and the others
has_vulkan() {
  (show_vulkan; "$CVRUN" plugins -v >vulkan.txt)
  grep -q '    device   vulkan/0 ' vulkan.txt && ! grep -q '    device   vulkan/0 cannot' vulkan.txt
}

fail() { echo "FAILED: $*" >&2; exit 1; }

# recipe FILE: a small run on made-up pictures, with augmentation, dropout, batch norm, momentum and two data threads
recipe() {
  cat >"$1" <<'INI'
[run]
name = small
seed = 7
[data]
format = fake
size = 50
classes = 3
img_size = 12
workers = 2
[augment]
random_horizontal_flip = p=0.5
random_rotation = degrees=10
[net]
c1 = conv2d 6 kernel_size=3 padding=1
b1 = batch_norm2d
r1 = relu
p1 = max_pool2d 2
f = flatten
d = dropout 0.2
fc = linear num_classes
[train]
epochs = 3
batch = 8
[optim]
name = sgd
lr = 0.05
momentum = 0.9
weight_decay = 1e-4
[sched]
name = cosine
warmup_epochs = 0.5
INI
}

# expect STATUS TEXT command...: the exit status, and one line on stderr that holds TEXT
expect() {
  local want=$1 text=$2 got=0; shift 2
  timeout 60 "$@" >out.txt 2>err.txt || got=$?
  [ "$got" -eq "$want" ] || { cat err.txt >&2; fail "status $got instead of $want: $*"; }
  [ -z "$text" ] || grep -qF -- "$text" err.txt || { cat err.txt >&2; fail "stderr lacks \`$text\`: $*"; }
  [ "$want" -eq 0 ] || [ "$(grep -c 'cvrun: error: ' err.txt)" -eq 1 ] || { cat err.txt >&2; fail "not one error line: $*"; }
  checks=$((checks + 1))
}

# has LINE...: what the last command printed has these lines, blanks counting as one
has() {
  for line; do
    grep -qxF -- "$line" <(tr -s ' ' <out.txt) || { cat out.txt >&2; fail "there is no line \`$line\`"; }
    checks=$((checks + 1))
  done
}

# pjrt_plugin: the PJRT plugin to test with, or nothing. XLA's is not for programs with a sanitizer, which see leaks and races of its own.
pjrt_plugin() {
  if ! grep -qE '__(asan|tsan)_init' "$CVRUN"; then echo "${CVR_PJRT_PLUGIN:-}"; fi
}
# left_out WHAT FEATURE: a test that this machine cannot run is named at the end of tests/run.sh
left_out() {
  echo "left out: $1, since this machine lacks $2" >&2
  [ -z "${CVR_TEST_LEFT_OUT:-}" ] || echo "$1 ($2)" >>"$CVR_TEST_LEFT_OUT"
}

same() { cmp -s "$1" "$2" || fail "$1 and $2 differ"; checks=$((checks + 1)); }
# same_losses RUN OTHER MOST STEPS: two runs' losses differ, in each of at least STEPS steps, by at most MOST * max(1, RUN's)
same_losses() {
  paste -d, <(cut -d, -f1,3 "$1/steps.csv") <(cut -d, -f3 "$2/steps.csv") | tail -n +2 |
    awk -F, -v most="$3" -v steps="$4" '{d = $2 - $3; if (d < 0) d = -d; if (!(d <= most * ($2 > 1 ? $2 : 1))) {print "step " $1 ": " $2 " and " $3; bad = 1} n++} END {exit bad || n < steps}' ||
    fail "the losses of $1 and $2 differ"
  checks=$((checks + 1))
}
done_with() { echo "$1: $checks checks passed"; [ "$checks" -gt 0 ]; }
