#!/usr/bin/env bash
# Every mistake that a callback can make ends in one line that names the plugin, the callback and, where there is one, the node.
. "$(dirname "$0")/lib.sh"
include=$here/../../core/include
mkdir plug; chmod 755 plug
gcc -std=c17 -g -O1 -shared -fPIC ${CVR_SANITIZE:+-fsanitize=$CVR_SANITIZE} -I"$include" -o plug/m.so "$here/mistaken_plugin.c" -lm
manifest() { "$(dirname "$CVRUN")/cvr-manifest" "${1:-plug/plugins.ini}" plug/m.so; }
manifest
export CVR_PLUGIN_PATH=$work/plug
cat >m.ini <<'INI'
[run]
name = m
[data]
format = fake
size = 8
classes = 3
img_size = 8
workers = 1
[augment]
acme.augment =
[net]
c1 = conv2d 4 kernel_size=3 bias=no
b = acme.scale 2
g = adaptive_avg_pool2d 1
f = flatten
fc = linear num_classes
[train]
epochs = 1
batch = 4
[optim]
name = acme.optim
[sched]
name = acme.sched
[val]
interval = 0
INI
# wrong STATUS MISTAKE TEXT: a run of training
wrong() { expect "$1" "$3" env MISTAKE="$2" "$CVRUN" train m.ini; }
# ends MISTAKE TEXT [STATUS]: the process ends, by a signal or with STATUS, and its line says so; a sanitizer has a status of its own
ends() {
  local got=0
  MISTAKE=$1 timeout 60 "$CVRUN" train m.ini >out.txt 2>err.txt || got=$?
  [ "$got" -ne 0 ] && { [ -z "${3:-}" ] || [ -n "${CVR_SANITIZE:-}" ] || [ "$got" -eq "$3" ]; } || { cat err.txt >&2; fail "status $got: $1"; }
  [ "$(grep -cF -- "$2" err.txt)" -eq 1 ] || { cat err.txt >&2; fail "not one line \`$2\`: $1"; }
  checks=$((checks + 1))
}
op='plugin com.acme.m: callback `infer` of op acme.scale at b/acme.scale'
grad='plugin com.acme.m: callback `grad` of op acme.scale at b/acme.scale'
layer='callback `build` of layer acme.scale at b'
kernel='plugin com.acme.m: callback `run` of kernel reference/acme.scale at b/acme.scale'

# the right one first, so that the cases below fail for their own reason; it is asked for by name when it is not here any more
expect 0 '' env MISTAKE= "$CVRUN" train m.ini
grep -qx 'plugins = com.acme.m' runs/classify/m/config.ini || fail "config.ini does not name the plugin"
expect 2 'the run was made with plugin com.acme.m, which no manifest lists here' env CVR_PLUGIN_PATH= "$CVRUN" val runs/classify/m
expect 2 'the run was made with plugin com.acme.m, which no manifest lists here' env CVR_PLUGIN_PATH= "$CVRUN" train --resume runs/classify/m
expect 2 'config.ini' env CVR_PLUGIN_PATH= "$CVRUN" val runs/classify/m
grep -q 'config.ini:[0-9]*: the run was made with plugin com.acme.m,' err.txt && grep -q '(.*there is no [a-z]* `acme.[a-z]*`)$' err.txt || { cat err.txt >&2; fail "the missing plugin is not said first"; }
grep -q "random_crop\|conv2d" err.txt && fail "a list beside the missing plugin"
expect 2 "run.plugins is cvrun's own record" "$CVRUN" train m.ini run.plugins=com.acme.m
# evaluation needs neither optimizer nor scheduler
sed 's/^b = .*/b = relu/; /^acme.augment/d' m.ini >plain.ini
expect 0 'no weights were given' env CVR_PLUGIN_PATH= "$CVRUN" val plain.ini
expect 2 'there is no optimizer `acme.optim`' env CVR_PLUGIN_PATH= "$CVRUN" train plain.ini

# shapes and values
wrong 1 'infer unset'    "$op leaves it unset: outputs[0]"
wrong 1 'infer zero'     "$op gives it an axis that is not positive"
wrong 1 'infer negative' 'shape (4, -4, 6, 6)'
wrong 1 'infer rank'     "$op gives it more axes than there can be"
wrong 1 'infer dtype'    "$op gives it an element type that is none"
wrong 1 'infer large'    "$op makes it too large to count"
wrong 2 'infer rows'     "$op makes another number of rows: the result \`output\` has shape (8, 3) for a batch of 4"
wrong 1 'infer attrs'    "$op changed its attributes"
wrong 1 'infer silent'   "$op failed with status 1 and no message"
wrong 1 'infer -17'      "$op failed with status -17 and no message"
wrong 2 'infer says'     "no such day?as this?[31m ($op)"
wrong 2 'grad none'      "c1.weight gets no gradient: $grad gives none"
wrong 1 'grad no value'  "$grad sets grad_inputs[0] to 123456, which is no value"
wrong 1 'grad shape'     "$grad sets grad_inputs[0] to a value of shape (), f32; the input has shape (4, 4, 6, 6), f32"
wrong 1 'grad past'      "$grad sets grad_inputs[5]; the node has 1 inputs"
wrong 1 'grad hides'     "$grad said that all is well, but what it asked for failed: there is no op \`acme.nosuch\`"
wrong 1 'build none'     "$layer sets no output"
wrong 1 'build no value' "$layer sets outputs[0] to 9999, which is no value"
wrong 1 'build past'     "$layer sets outputs[5]; the layer has 1"
wrong 1 'build attrs'    "$layer changed its attributes"
wrong 1 'build itself'   'more than 32 layers within each other'
wrong 1 'build -17'      "$layer failed with status -17 and no message"
wrong 1 'build param shape' 'parameter `w`: `shape`'
wrong 1 'build param init'  'parameter `w`: `init->kind`'
wrong 1 'build param flags' 'parameter `w`: `flags`'
wrong 2 'build unused'      'b.w gets no gradient: plugin com.acme.m: callback `build` of layer acme.scale at b.w declares it, and nothing reads it'
wrong 1 'build call size'   "emit(): \`struct_size\` of its cvr_op_call"
wrong 1 'build call op'     "emit(): \`op\` of its cvr_op_call"
wrong 1 'build call inputs' "emit(acme.scale): \`inputs\` of its cvr_op_call"
wrong 1 'build call attrs'  "given 4 bytes of attributes, its schema has 8 (plugin com.acme.m: $layer)"
wrong 1 'emit never'     'plugin com.acme.m: callback `emit` of optimizer acme.optim at c1.weight updates it 0 times in a step'
wrong 1 'emit twice'     'plugin com.acme.m: callback `emit` of optimizer acme.optim at c1.weight updates it 2 times in a step'
wrong 1 'factor nan'     'plugin com.acme.m: callback `factor` of scheduler acme.sched makes the learning rate nan at step 1'
wrong 1 'factor negative' 'makes the learning rate -0.1 at step 1'
wrong 1 'apply silent'   'plugin com.acme.m: callback `apply` of augment acme.augment failed with status 1 and no message'

# kernels
wrong 1 'run silent'      "$kernel failed with status 1 and no message"
wrong 1 'run -17'         "$kernel failed with status -17 and no message"
wrong 1 'workspace all'   'callback `workspace` of kernel reference/acme.scale at b/acme.scale asks for'
wrong 1 'workspace much'  'callback `workspace` of kernel reference/acme.scale at b/acme.scale asks for 35.2 TB'
listed() { MISTAKE=$1 manifest; wrong 1 "$1" "$2"; manifest; }
listed 'kernel backend' 'cpu has no kernel; kernel nosuch/acme.scale of plugin com.acme.m: no backend `nosuch` is installed'
listed 'kernel payload' 'kernel reference/acme.scale of plugin com.acme.m: nothing here launches its payload_kind `gpu.fn/9`'
listed 'kernel version' 'it is for version 2 of the op, which has version 1'
listed 'kernel isa'     'it needs isa `warpdrive`; this machine lacks `warpdrive`'
wrong 1 'supports no'     'nothing can compute b/acme.scale: cpu has no kernel; reference: only on Sundays'

# a kernel of the backend's own, which backend.check runs by itself
export MISTAKE_ON=cpu
MISTAKE= manifest
for check in no yes; do
  expect 1 "${kernel/reference/cpu} failed with status 1 and no message" env MISTAKE='run silent' "$CVRUN" train m.ini backend.check=$check
  expect 1 "${kernel/reference/cpu} failed with status -17 and no message" env MISTAKE='run -17' "$CVRUN" train m.ini backend.check=$check
done
MISTAKE='run sleep' timeout 20 "$CVRUN" conform --plugin plug/m.so --op acme.scale --limit 1 >out.txt && fail 'conform takes a kernel that sleeps'
grep -q 'acme.scale, kernel cpu: has not returned after 1 s' out.txt || { cat out.txt >&2; fail 'conform, a kernel that sleeps'; }
unset MISTAKE_ON
manifest

# who ends the process is named, whatever it calls and wherever it is
ends 'run segv'      "$kernel: a segmentation fault (SIGSEGV)" 139
ends 'run bus'       "$kernel: a bus error (SIGBUS)" 135
ends 'run fpe'       "$kernel: an arithmetic fault (SIGFPE)" 136
ends 'run ill'       "$kernel: an illegal instruction (SIGILL)" 132
ends 'run abort'     "$kernel: abort() (SIGABRT)" 134
ends 'run exit 3'    "$kernel: it called exit()" 3
ends 'run exit 0'    "$kernel: it called exit()" 1
ends 'infer segv'    "$op: a segmentation fault" 139
ends 'infer deep'    "$op: a segmentation fault" 139
ends 'build exit 0'  "$layer: it called exit()" 1
ends 'emit abort'    'callback `emit` of optimizer acme.optim at c1.weight: abort()' 134
ends 'apply segv'    'callback `apply` of augment acme.augment: a segmentation fault' 139
ends 'step segv'     'callback `step` of reporter acme.report: a segmentation fault' 139
ends 'load segv'     'plugin com.acme.m: callback `load`: a segmentation fault' 139
ends 'shutdown abort' 'plugin com.acme.m: callback `shutdown`: abort()' 134
expect 5 'plugin com.acme.m: callback `load`: it called exit()' env MISTAKE='load exit 3' bash -c "$CVRUN plugins -v || exit 5"
expect 5 'plugin com.acme.m: callback `load`: it called exit()' env MISTAKE='load exit 0' bash -c "$CVRUN plugins -v || exit 5"
# a plugin of the folder one stands in, and options that there are not
(cd plug && CVR_PLUGIN_PATH= MISTAKE= "$(dirname "$CVRUN")/cvr-manifest" here.ini m.so) || fail 'cvr-manifest, a file without a folder'
grep -q 'op:acme.scale' plug/here.ini && rm plug/here.ini || fail 'cvr-manifest, a file without a folder: nothing provided'
"$(dirname "$CVRUN")/cvr-manifest" --help 2>err.txt && fail 'cvr-manifest takes --help for a manifest'
grep -q '^usage: cvr-manifest' err.txt || fail 'cvr-manifest --help'
tool() { MISTAKE=$1 manifest other.ini 2>err.txt && fail "cvr-manifest takes: $1"; grep -qF -- "$2" err.txt || { cat err.txt >&2; fail "cvr-manifest, $1"; }; checks=$((checks + 1)); }
tool 'load exit 0'  'cvr-manifest: error: plugin com.acme.m: callback `load`: it called exit()'
tool 'load silent'  'plugin com.acme.m: callback `load` failed with status 1 and no message'
tool 'load nothing' 'plugin `com.acme.m`: `load` registers nothing'
tool 'load null'    'registers NULL for the descriptor of its op'
tool 'kernel twice' 'registers kernel:reference/acme.scale, which plugin `com.acme.m` has registered already'
MISTAKE='layer doc' manifest other.ini 2>err.txt; grep -q 'warning: plugin com.acme.m: layer acme.scale: `doc` is missing' err.txt || fail 'no warning of a missing doc'
tool 'query null'   'cvr_plugin_query returns NULL'
tool 'shutdown exit 0' 'plugin com.acme.m: callback `shutdown`: it called exit()'

# data sets and formats of weights
mkdir data; chmod 755 data
gcc -std=c17 -g -O1 -shared -fPIC ${CVR_SANITIZE:+-fsanitize=$CVR_SANITIZE} -I"$include" -o data/d.so "$here/mistaken_data.c"
"$(dirname "$CVRUN")/cvr-manifest" data/plugins.ini data/d.so
export CVR_PLUGIN_PATH=$work/data
cat >d.ini <<'INI'
[run]
name = d
[data]
format = acme.data
img_size = 8
[net]
f = flatten
fc = linear num_classes
[train]
epochs = 1
batch = 4
INI
echo ACME >one.acme
expect 0 '' env MISTAKE= "$CVRUN" train d.ini
expect 0 '' env MISTAKE= "$CVRUN" convert one.acme one.safetensors
data='callback `count` of dataset acme.data'
expect 1 "plugin com.acme.d: $data says that it has -5 pictures" env MISTAKE='count negative' "$CVRUN" train d.ini
expect 1 'acme.data: it left field 0 (`image`) with a shape of more elements than its memory has' env MISTAKE='read shape' "$CVRUN" train d.ini
expect 1 'acme.data: it left field 0 (`image`) with a shape of more elements than its memory has' env MISTAKE='read dtype' "$CVRUN" train d.ini
died() { got=0; MISTAKE=$1 "${@:3}" >out.txt 2>err.txt || got=$?; [ $got -ne 0 ] && grep -qF "$2" err.txt && grep -q ": a segmentation fault" err.txt || { cat err.txt >&2; fail "$1"; }; checks=$((checks + 1)); }
died 'count segv' "plugin com.acme.d: $data" "$CVRUN" train d.ini
died 'probe segv' 'plugin com.acme.d: callback `probe` of weights acme.weights' "$CVRUN" convert one.acme two.safetensors
died 'probe segv' 'plugin com.acme.d: callback `probe` of weights acme.weights' "$CVRUN" val d.ini model.weights=one.acme
for field in size name dtype rank shape bytes data; do
  full=${field/size/struct_size}
  expect 1 "\`$full\` of its cvr_weight makes no sense (plugin com.acme.d" env MISTAKE="weight $field" "$CVRUN" convert one.acme two.safetensors
  expect 1 "\`$full\` of its cvr_weight makes no sense (plugin com.acme.d" env MISTAKE="weight $field" "$CVRUN" val d.ini model.weights=one.acme
done
export CVR_PLUGIN_PATH=$work/plug

# a reporter that fails is switched off, once, and training goes on; a callback that does not return is named; words are cleaned
goes_on() { expect 0 "$2" env MISTAKE="$1" "$CVRUN" train m.ini; [ "$(grep -cF "$2" err.txt)" -eq 1 ] || fail "said more than once: $2"; }
goes_on 'open silent' 'reporter acme.report is switched off, training goes on: plugin com.acme.m: callback `open`'
goes_on 'step says'   'reporter acme.report is switched off, training goes on: no such day?as this?[31m'
goes_on 'log null'    'plugin com.acme.m: callback `load` logs no text with level 77'
goes_on 'log steers'  'cvrun: warning: two?lines?[31m%s%n'
export CVR_WATCHDOG_S=1
goes_on 'run sleep'   "$kernel has not returned for 1 s; it goes on running"
done_with mistakes_test
