#!/usr/bin/env bash
# Parameters from the command line: freezing, a new head, running means, clipping, a schedule that sees the metric; and
# that a run with all of it goes on bit for bit.
. "$(dirname "$0")/lib.sh"

cat >r18.ini <<'INI'
[run]
name = r18
[model]
name = resnet18_cifar
width = 8
[data]
format = fake
size = 24
classes = 3
img_size = 16
[train]
epochs = 1
batch = 12
[optim]
lr = 0.05
momentum = 0.9
INI

# planned RECIPE key=value...: bytes of the plan
planned() { "$CVRUN" train "$@" >log.txt 2>&1 || { cat log.txt; fail "$*"; }; grep -o '"planned_memory_bytes": *[0-9]*' "runs/classify/$name/summary.json" | grep -o '[0-9]*$'; }
name=whole; whole=$(planned r18.ini name=whole)
name=frozen; frozen=$(planned r18.ini name=frozen model.freeze=backbone)
[ $((19 * frozen)) -lt $((10 * whole)) ] || fail "a frozen backbone needs $frozen of $whole bytes" # about half: alignment and blocks differ by backend
name=bn; loose=$(planned r18.ini name=bn model.freeze=backbone model.freeze_bn=no)
cmp -s runs/classify/frozen/weights/last.safetensors runs/classify/bn/weights/last.safetensors && fail "freeze_bn=no changes nothing"
checks=$((checks + 2))
"$CVRUN" train r18.ini name=start train.epochs=0 >log.txt 2>&1
"$CVRUN" train r18.ini name=all-but-fc model.freeze='backbone.*,fc.bias' >log.txt 2>&1 || { cat log.txt; fail "a list"; }
expect 2 'nothing is trained' "$CVRUN" train r18.ini model.freeze='*'
expect 2 '`hed` fits no parameter and no stage of this network; did you mean `head`?' "$CVRUN" train r18.ini model.freeze=hed
expect 2 'write PATTERN:NUMBER' "$CVRUN" train r18.ini optim.param_lr_mult=layer4

# a new head for other classes; none for evaluation, where its numbers would be made up
weights=runs/classify/whole/weights/last.safetensors
"$CVRUN" train r18.ini name=new data.classes=5 model.weights=$weights >log.txt 2>&1 || { cat log.txt; fail "a new head"; }
grep -q 'made new *2  fc.weight, fc.bias' log.txt && grep -q 'loaded *120' log.txt || { cat log.txt; fail "the table of weights"; }
expect 2 'the class `3`, which is none of the network' "$CVRUN" train r18.ini data.classes=5 model.weights=$weights model.head=keep
expect 2 'the class `3`' "$CVRUN" val r18.ini data.classes=5 model.weights=$weights
cp $weights bare.safetensors
expect 1 'misshapen: the file has F32(3, 64), the network f32(5, 64): fc.weight' "$CVRUN" train r18.ini data.classes=5 model.weights=bare.safetensors model.head=keep
expect 1 'misshapen' "$CVRUN" val r18.ini data.classes=5 model.weights=bare.safetensors

# info says what is frozen, what thaws later, and in which stage a layer is
"$CVRUN" info r18.ini model.freeze=backbone model.unfreeze=2:backbone.layer4 >out.txt
grep -q '^layer1.0.conv1 .* backbone.layer1 *frozen ' out.txt && grep -q '^layer4.0.conv1 .* backbone.layer4 *thaws later ' out.txt && grep -q '^fc .* head *cpu:' out.txt || { cat out.txt; fail "info of what is frozen"; }
checks=$((checks + 1))

# train.batch = auto: a power of two, a tenth of the data at most, what fits; settled once, in config.ini
"$CVRUN" train r18.ini name=auto batch=auto data.size=400 epochs=1 >log.txt 2>&1 || { cat log.txt; fail "batch=auto"; }
grep -q 'train.batch=auto: 32 pictures' log.txt && grep -q '^batch = 32$' runs/classify/auto/config.ini || { cat log.txt; fail "batch=auto"; }
"$CVRUN" train r18.ini name=fixed batch=32 data.size=400 epochs=1 >log.txt 2>&1
same runs/classify/auto/weights/last.safetensors runs/classify/fixed/weights/last.safetensors
"$CVRUN" train r18.ini name=tight batch=auto data.size=4000 epochs=0 train.memory=4M >log.txt 2>&1 || { cat log.txt; fail "batch=auto with train.memory"; }
grep -q '^batch = \(4\|8\|16\)$' runs/classify/tight/config.ini || { grep '^batch' runs/classify/tight/config.ini; fail "batch=auto looks at train.memory"; }
expect 2 'not even 1 pictures fit into' "$CVRUN" train r18.ini batch=auto train.memory=500K
# ... with rules about parameters, which the graph's names have to be known for
for batch in auto 8; do
  "$CVRUN" train r18.ini name=rules-$batch batch=$batch data.size=80 epochs=2 model.freeze=backbone model.unfreeze=2:backbone.layer4 optim.layer_decay=0.5 >log.txt 2>&1 || { cat log.txt; fail "batch=$batch with rules"; }
done
same runs/classify/rules-auto/weights/last.safetensors runs/classify/rules-8/weights/last.safetensors

# all of it at once, twice, and in two halves
recipe small.ini
cat >>small.ini <<'INI'
lr_min = 1e-5
INI
sed -i -e 's/^name = cosine/name = plateau\npatience = 0\nfactor = 0.5/' -e 's/^epochs = 3/epochs = 4\nema = yes\nema_decay = 0.9\nema_steps = 2\nclip_grad_norm = 0.5/' small.ini
sed -i 's/^lr = 0.05/lr = 0.05\nbackbone_lr_mult = 1\nparam_lr_mult = fc:0.5\nparam_weight_decay = fc.bias:0/' small.ini
"$CVRUN" train small.ini name=once >log.txt 2>&1 || { cat log.txt; fail "training"; }
cut -d, -f4 runs/classify/once/results.csv | tail -n +2 | sort -u | grep -c . | grep -qv '^1$' || fail "the rate never drops"
# an epoch's row has the rate of its last step, not the one that its metric has led to
[ "$(awk -F, 'NR > 1 {lr[$2] = $4} END {for (i = 1; i <= 4; i++) print lr[i] + 0}' runs/classify/once/steps.csv)" = "$(awk -F, 'NR > 1 {print $4 + 0}' runs/classify/once/results.csv)" ] || { cat runs/classify/once/results.csv >&2; fail "the rate in results.csv"; }
for backend in far; do
  "$CVRUN" train small.ini name=$backend backend.name=$backend >log.txt 2>&1 || { cat log.txt; fail "training on $backend"; }
  same runs/classify/once/weights/last.safetensors runs/classify/$backend/weights/last.safetensors
done
"$CVRUN" train small.ini name=plain train.ema=no >log.txt 2>&1
cmp -s runs/classify/once/weights/last.safetensors runs/classify/plain/weights/last.safetensors && fail "ema=yes saves the plain weights"
"$CVRUN" train small.ini name=moved --swap-to far@11 >log.txt 2>&1 || { cat log.txt; fail "moving"; }
same runs/classify/once/weights/last.safetensors runs/classify/moved/weights/last.safetensors
"$CVRUN" train small.ini name=cut run.max_hours=0 run.save_every='5 steps' >log.txt 2>&1
cp -r runs/classify/cut runs/classify/again
if [ -e runs/classify/again/weights/last.state.1 ]; then # from the checkpoint before the last: its epoch again
  mv runs/classify/again/weights/last.state.1 runs/classify/again/weights/last.state
  "$CVRUN" train --resume runs/classify/again >log.txt 2>&1 || { cat log.txt; fail "going on"; }
  same runs/classify/once/weights/last.safetensors runs/classify/again/weights/last.safetensors
else
  fail "no checkpoint before the last"
fi
# [layers] is part of the run: val builds the network that was trained
"$CVRUN" train small.ini name=narrow 'layers.c1=out_channels=5' >log.txt 2>&1 || { cat log.txt; fail "[layers]"; }
grep -q '^c1 = out_channels=5' runs/classify/narrow/config.ini || fail "config.ini lacks [layers]"
expect 0 "" "$CVRUN" val runs/classify/narrow
# a network without the weights that a run has says so
"$CVRUN" val small.ini >log.txt 2>&1 && grep -q 'no weights were given' log.txt || { cat log.txt; fail "random weights are not said"; }
done_with params_cli_test
