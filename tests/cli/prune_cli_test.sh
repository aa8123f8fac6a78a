#!/usr/bin/env bash
# cvrun prune: the folder that comes of it is a run like any other (val, predict, export, resume, quantize, prune again), what
# is chosen does not depend on threads, masks are held through training, and what is said of wrong settings and widths.
. "$(dirname "$0")/lib.sh"

number() { sed -n "s/.*\"$2\": \([-0-9.e]*\).*/\1/p" "$1" | sed -n "${3}p"; }
less() { awk -v a="$1" -v b="$2" 'BEGIN { exit !(a < b) }' || fail "$3: $1 is no less than $2"; checks=$((checks + 1)); }

recipe small.ini
cat >>small.ini <<'INI'
[prune]
round_to = 2
pictures = 16
batch = 8
INI
# a residual block, a grouped and a depthwise convolution, a concatenation, and a linear layer behind a flattened map
sed -i '/^\[net\]/,/^\[train\]/{/^\[train\]/!d}' small.ini
sed -i 's/^\[train\]/[net]\nc1 = conv2d 8 kernel_size=3 padding=1 bias=no\nb1 = batch_norm2d\nr1 = relu\nc2 = conv2d 12 kernel_size=3 padding=1 groups=2\ns = silu\nc3 = conv2d 8 kernel_size=1\nb3 = batch_norm2d\nsum = add from=b3,r1\nr3 = relu6\np1 = max_pool2d 4\ndw = conv2d 8 kernel_size=3 padding=1 groups=8\nboth = concat dim=1 from=dw,p1\nc4 = conv2d 20 kernel_size=1\nr4 = relu\nf = flatten\nfc1 = linear 16\nr5 = relu\nfc = linear num_classes\n[train]/' small.ini
expect 0 "" "$CVRUN" train small.ini epochs=1
run=runs/classify/small
expect 0 "" "$CVRUN" prune $run target=macs:0.5 scope=all
p=$run-pruned
grep -q "^$work/$p$" out.txt || fail "where it is: $(cat out.txt)"
grep -q '^  width: c2: 12 -> [2-8]$' out.txt || fail "no widths: $(cat out.txt)"
for key in method origin before after metrics metric params macs file_bytes planned_memory_bytes ms_batch1 ms_batch32; do
  grep -q "\"$key\"" $p/compress.json || fail "compress.json lacks $key"
done
less "$(number $p/compress.json macs 2)" "$(awk "BEGIN { print 0.51 * $(number $p/compress.json macs 1) }")" macs
less "$(number $p/compress.json params 2)" "$(number $p/compress.json params 1)" params
grep -q '^\[widths\]' $p/config.ini || fail "config.ini has no widths"

# the same whatever the threads; every method runs; with scope=all, also the residual stream
expect 0 "" "$CVRUN" prune $run target=macs:0.5 scope=all backend.threads=1
same $p/weights/best.safetensors $p-2/weights/best.safetensors
for m in l2 bn_scale taylor lamp fpgm random; do
  expect 0 "" "$CVRUN" prune $run method=$m amount=0.4 scope=all global=yes pictures=8
done
expect 0 "" "$CVRUN" prune $run amount=0.5 scope=all
grep -q '^  width: c1: 8 -> 4$' out.txt || fail "scope=all: $(cat out.txt)"
expect 0 "" "$CVRUN" prune $run target=params:0.5 skip=fc#,c2,nosuch
grep -q 'width: c2\|width: fc1' out.txt && fail "what is skipped goes: $(cat out.txt)"
grep -q "prune.skip: nosuch: none of" out.txt || fail "a word that means no layer is not named: $(cat out.txt)"
expect 0 "" "$CVRUN" prune $run amount=0.5 prune.layers='fc*'
[ "$(grep -c '^  width: ' out.txt)" = 1 ] && grep -q '^  width: fc1: 16 -> 8$' out.txt || fail "layers=fc*: $(cat out.txt)"

# a run like any other
expect 0 "" "$CVRUN" val $p
mkdir pictures && expect 0 "" "$CVRUN" pack small.ini out=packed as=folder
cp "$(find packed -name '*.png' | head -1)" pictures/
expect 0 "" "$CVRUN" predict $p source=pictures
expect 0 "" "$CVRUN" export $p out=pruned.onnx
expect 0 "" "$CVRUN" quantize $p quant.pictures=16 quant.batch=8
expect 0 "" "$CVRUN" prune $p target=macs:0.7
less "$(number $p-pruned/compress.json macs 2)" "$(number $p-pruned/compress.json macs 1)" "macs, once more"
expect 0 "" "$CVRUN" val $p-pruned
expect 0 "" "$CVRUN" train --resume $p epochs=2
cp $p/config.ini again.ini && expect 0 "" "$CVRUN" train again.ini model.weights= epochs=1 name=again
expect 0 "" "$CVRUN" val runs/classify/again

# down to a single channel before a flattened map; and what says how much of a run goes is not taken for its pruned run
expect 0 "" "$CVRUN" prune $run amount=1 prune.max=0.999 round_to=1 scope=all
grep -q '^  width: c4: 20 -> 1$' out.txt || fail "no single channel: $(cat out.txt)"
one=$(tail -1 out.txt)
expect 0 "" "$CVRUN" val $one
expect 0 "" "$CVRUN" train --resume $one epochs=1
grep -qx 'target = ' $p/config.ini || fail "the target is kept: $(grep target $p/config.ini)"

# steps, with training between
expect 0 "" "$CVRUN" prune $run target=macs:0.6 scope=all steps=2 epochs=2
expect 2 "is no multiple of prune.steps" "$CVRUN" prune $run steps=2 epochs=3
grep -q '"untrained"' $run-pruned-*/compress.json || fail "no word of the network before it was trained further"

# masks, as torch.nn.utils.prune has them
expect 0 "" "$CVRUN" prune $run method=l1_unstructured prune.layers=c1 prune.amount=0.5 remove=yes
grep -q 'sparsity: c1.weight: 108 of 216 are zero' out.txt && grep -q 'neither the file nor the time becomes smaller' out.txt || fail "$(cat out.txt)"
m=$(tail -1 out.txt)
grep -aq '_mask' $m/weights/best.safetensors && fail "a mask is kept in spite of remove=yes"
expect 0 "" "$CVRUN" prune $run method=global_unstructured amount=0.5
m=$(tail -1 out.txt)
grep -aq '"c1.weight_mask"' $m/weights/best.safetensors || fail "no mask"
# an element of a mask that is neither 0 nor 1 is refused, by the network that has masks and by one that takes their products
cp -r $m bad && f=bad/weights/best.safetensors
size=$(od -An -t u8 -N 8 $f | tr -d ' ') at=$(head -c $((8 + size)) $f | tail -c "$size" | sed 's/.*"c1.weight_mask":{[^}]*"data_offsets":\[\([0-9]*\),.*/\1/')
printf '\0\0\0\077' | dd of=$f bs=1 seek=$((8 + size + at + 4)) conv=notrunc status=none
expect 1 "c1.weight_mask is a mask, whose elements are 0 or 1, and element 1 is 0.5" "$CVRUN" val bad
expect 1 "best.safetensors: c1.weight_mask is a mask, whose elements are 0 or 1, and element 1 is 0.5" "$CVRUN" val small.ini model.weights=$f
expect 0 "" "$CVRUN" val small.ini model.weights=$m/weights/best.safetensors
rm -r bad
expect 0 "" "$CVRUN" train --resume $m epochs=2 train.ema=yes
expect 0 "" "$CVRUN" val $m
expect 0 "" "$CVRUN" prune $m method=global_unstructured amount=0.5
grep -q 'all of these: .* 75.[0-9] %' out.txt || fail "half of what was left: $(cat out.txt)"
for x in random_unstructured ln_structured random_structured 2of4; do expect 0 "" "$CVRUN" prune $run method=$x amount=3; done
expect 2 "say how much" "$CVRUN" prune $run method=l1_unstructured

# what is wrong
expect 2 "was not begun by cvrun prune; training that was interrupted goes on by: cvrun train --resume" "$CVRUN" prune --resume $run
expect 2 "goes on with the settings that pruning began with" "$CVRUN" prune --resume $p target=macs:0.7
expect 2 "is not a run folder" "$CVRUN" prune small.ini
expect 2 "did you mean" "$CVRUN" prune $run method=l3
expect 2 "that does not prune" "$CVRUN" prune $run method=ptq
expect 2 "write macs:0.5, params:0.5 or time:0.5" "$CVRUN" prune $run target=half
expect 2 "both say how much" "$CVRUN" prune $run target=macs:0.5 amount=0.3
expect 2 "cannot be reached" "$CVRUN" prune $run target=macs:0.001
expect 2 "no channels of this network may go" "$CVRUN" prune $run skip='*'
expect 2 "only" "$CVRUN" prune $run method=l1_unstructured amount=1000000
broken() { cp -r $p bad && sed -i "$2" bad/config.ini && expect 2 "$1" "$CVRUN" val bad && rm -rf bad; }
broken "a width is written as" '/^\[widths\]/{n;s/=.*/= nonsense/}'
broken "no channels that begin there" '/^\[widths\]/{n;s/= [^ ]*/= nobody.weight/}'
broken "cannot be of 9223372036854775807 units" '/^\[widths\]/{n;s,/[0-9]*,/99999999999999999999,}'
broken "is of 16 units" '/^\[widths\]/{n;s,\([0-9]*\)/[0-9]* .*,\1/16 ffff,}'
broken "bits are set" '/^\[widths\]/{n;s, [0-9]*/, 1/,}'
done_with prune_cli_test
