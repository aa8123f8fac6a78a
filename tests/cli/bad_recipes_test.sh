#!/usr/bin/env bash
# Recipes and command lines that are wrong: one line with file, place and remedy, exit status 2 (or 1), never a crash.
. "$(dirname "$0")/lib.sh"
recipe good.ini
edit() { sed "$1" good.ini >bad.ini; }
wrong() { expect 2 "$1" "$CVRUN" train bad.ini; }

edit 's/^epochs/epoch/';                    wrong 'bad.ini:22: unknown key `epoch` in [train]; did you mean `epochs`?'
edit 's/^epochs = 3/epochs = three/';       wrong 'bad.ini:22: epochs = three: not a whole number'
edit 's/^epochs = 3/epochs = -1/';          wrong 'epochs is -1; it must be at least 0'
edit 's/^epochs = 3/epochs = 99999999999999999999/'; wrong 'not a whole number'
edit 's/^batch = 8/batch = 0/';             wrong 'batch is 0; it must be at least 1'
edit 's/^lr = 0.05/lr = fast/';             wrong 'optim.lr = fast'
edit 's/^momentum = 0.9/momentum = nan/';   wrong 'not a number'
edit 's/^\[train\]/[trian]/';               wrong 'unknown section [trian]; did you mean [train]?'
edit '/^\[net\]/,/^fc/d';                   wrong 'no network: set model.name, or write one in [net]'
edit '/^format/d';                          wrong 'needs `format`'
edit 's/^format = fake/format = flake/';    wrong 'there is no dataset `flake`; did you mean `fake`?'
edit 's/^name = sgd/name = sdg/';           wrong 'there is no optimizer `sdg`; did you mean `sgd`?'
edit 's/^name = cosine/name = cosinus/';    wrong 'did you mean `cosine`?'
edit 's/^random_rotation/random_rotatoin/'; wrong 'did you mean `random_rotation`?'
edit 's/degrees=10/degrees=10 degrees=20/'; wrong 'random_rotation: `degrees` is given twice; keep one'
edit 's/kernel_size=3/kernel_size=3 kernel_size=5/'; wrong '`kernel_size` is given twice; keep one'
edit 's/conv2d 6/conv2d 6 out_channels=8/'; wrong '`out_channels` is given twice; keep one'
edit 's/^f = flatten/f = flatten from=p1 from=r1/'; wrong 'from= is given twice; write from=a,b'
edit 's/degrees=10/degree=10/';             wrong 'random_rotation has no setting `degree`; did you mean `degrees`?'
edit 's/^seed = 7/seed = 7\nseed = 8/';     wrong '`seed` of [run] is set twice'
edit 's/^name = small/name = a\/b/';        wrong 'must be the name of a folder'
edit 's/^seed = 7/ seed = 7/';              wrong 'the line is indented'
edit 's/^seed = 7/seed 7/';                 wrong 'expected `key = value`'
edit 's/^seed = 7/save_every = often/';     wrong 'write `50 steps`, `5 min` or `1 epoch`'
printf 'a = 1\n' >bad.ini;                  wrong 'a key stands before the first [section]'
: >bad.ini;                                 wrong 'is empty'
# what files say reaches no terminal raw
edit 's/^format = fake/format = f\x1b[31mke\x07\xc2\x9b/'; wrong 'there is no dataset `f?[31mke???`'
edit 's/^epochs/epoch/'; mv bad.ini $'a\e[2Jb.ini'; expect 2 'a?[2Jb.ini:22: unknown key' "$CVRUN" train $'a\e[2Jb.ini'
expect 2 'missing.ini' "$CVRUN" train missing.ini
expect 2 'not a regular file' "$CVRUN" train /dev/zero
expect 2 'is not a run folder' "$CVRUN" val /tmp
edit 's/^\[run\]/[run] seed = 3/';          wrong 'bad.ini:1: text behind ]'
edit 's/^name = small/name = "small/';      wrong 'bad.ini:2: the closing quote is missing'
printf '[run]\nname = \xff\xfe\0x\n' >bad.ini; wrong 'a NUL byte'


# every setting's error names where it stands
edit 's/^lr = 0.05/lr = 0.05 # less/';      wrong 'bad.ini:26: optim.lr'
edit 's/^weight_decay.*/weight_decay = x/'; wrong 'bad.ini:28: optim.weight_decay'
edit 's/^seed = 7/save_every = x/';         wrong 'bad.ini:3: run.save_every'
edit 's/^workers = 2/mean = x/';            wrong 'bad.ini:9: mean = x'
edit 's/^workers = 2/mean = imagnet/';      wrong 'bad.ini:9: data.mean = imagnet: not a number, and no word; did you mean `imagenet`?'
edit 's/^workers = 2/std = 0/';             wrong 'bad.ini:9: data.std has 0'
edit 's/^workers = 2/names = a,b/';         wrong 'bad.ini:9: data.names has 2 names for 3 classes'
edit 's/^name = sgd/name = sdg/';           wrong 'bad.ini:25: there is no optimizer'
expect 2 'command line: optim.lr = x' "$CVRUN" train good.ini lr=x
expect 2 'command line: epochs = x' "$CVRUN" train good.ini epochs=x
expect 2 'model.num_classes = 10, but the data has 3 classes' "$CVRUN" train good.ini model.num_classes=10

# numbers that arithmetic could not bear
for huge in train.batch data.limit train.epochs data.max_boxes val.interval; do
  expect 2 'it may be at most 2147483647' "$CVRUN" train good.ini $huge=9223372036854775807
done
expect 2 'it may be at most 1000000' "$CVRUN" train good.ini sched.warmup_epochs=1e308
expect 2 'it may be at most 1e+18' "$CVRUN" train good.ini optim.head_lr_mult=1e300
expect 2 'it may be at most 64' "$CVRUN" train good.ini workers=100
expect 0 '' "$CVRUN" train good.ini train.batch=2000000000 epochs=1 name=one_batch # costs what the data costs

# the last batch of one
sed 's/^size = 50/size = 49/; s/^f = flatten/g = global_avg_pool2d\nb = batch_norm2d\nf = flatten/' good.ini >bad.ini
sed -i 's/^g = .*/g = adaptive_avg_pool2d 1/' bad.ini
wrong 'the last batch of an epoch has 1 picture'; wrong 'set data.drop_last=yes'

# networks
net() { expect "${2:-2}" "$1" "$CVRUN" train bad.ini; }
edit 's/^c1 = conv2d 6/c1 = conv2d/';       net 'bad.ini:14: layer c1 (conv2d): conv2d needs `out_channels`'
edit 's/^c1 = conv2d/c1 = conv2b/';         net 'there is no layer `conv2b`; did you mean `conv2d`?'
edit 's/kernel_size=3/kernal_size=3/';      net 'conv2d has no setting `kernal_size`; did you mean `kernel_size`?'
edit 's/^c1 = conv2d 6/c1 = conv2d 6 3 1 1 1 1 1 1 1/'; net 'is one value too many'
edit 's/kernel_size=3 padding=1/kernel_size=30/'; net 'layer c1 (conv2d)'
edit 's/^f = flatten/f = flatten from=p2/'; net 'from=p2: no line above has this name; did you mean `p1`?'
edit 's/^d = dropout 0.2/d = add from=f,c1/'; net 'layer d (add)'
edit 's/^f = flatten/f = linear 5/';        net 'layer f (linear)'
edit 's/^fc = linear num_classes/fc = linear 7/'; net "the network's output has 7 numbers a picture for 3 classes"
edit 's/^c1 = conv2d 6/c1 = conv2d 2000000000/'; net 'layer c1'
edit 's/^c1 = conv2d 6/c1 = conv2d 99999999999/'; net 'layer c1'

# origins stand in one column, however long a key is
sed "/^momentum/d" good.ini >nadam.ini; "$CVRUN" cfg nadam.ini optim.name=nadam >out.txt; grep -q "^decoupled_weight_decay" out.txt || fail "no long key"
awk '/ default$/ && length($0) < 62 && index($0, "  default") != 52 {print; bad = 1} END {exit bad}' out.txt || fail "the column of origins"
checks=$((checks + 1))

# the command line
expect 2 'unknown command `tarin`; did you mean `train`?' "$CVRUN" tarin good.ini
expect 2 'unknown option `--jsn`; did you mean `--json`?' "$CVRUN" val good.ini --jsn
expect 2 'what shall I train?' "$CVRUN" train
expect 2 'unknown setting `epoch`; did you mean `epochs`?' "$CVRUN" train good.ini epoch=3
expect 2 'unknown setting `limit`; did you mean `data.limit`?' "$CVRUN" train good.ini limit=3
expect 2 'unknown setting `momentum`; did you mean `optim.momentum`?' "$CVRUN" train good.ini momentum=0.8
expect 2 'unknown setting `interpolation`; did you mean `val.interpolation`?' "$CVRUN" cfg good.ini interpolation=nearest
expect 2 'write section.key=value' "$CVRUN" train good.ini zzzzzzzz=3
expect 2 'unknown section [optm]; did you mean [optim]?' "$CVRUN" train good.ini optm.lr=3
expect 2 'unknown key `lrr` in [optim]; did you mean `lr`?' "$CVRUN" train good.ini optim.lrr=3
expect 2 'is one word too many' "$CVRUN" train good.ini more
expect 2 'there is no backend `cudo`' "$CVRUN" train good.ini backend.name=cudo
expect 2 'no backend has a device that backend.device=3 may be' "$CVRUN" train good.ini device=3
expect 2 'emu has these devices here: 0 (emu); backend.device=1 is none of them' "$CVRUN" train good.ini backend=emu device=1
expect 2 'emu has these devices here: 0 (emu); backend.device=H200 is none of them' "$CVRUN" train good.ini backend=emu device=H200

# a loss that is not finite names the step and the samples
expect 1 'the loss is' "$CVRUN" train good.ini lr=1e30 name=nan
grep -q 'at step [0-9]* (epoch' err.txt && grep -q 'samples: ' err.txt || fail "the step or the samples are not named"

# every one-byte truncation of a recipe: done, or one error line
sed 's/^epochs = 3/epochs = 0/' good.ini >whole.ini
for ((n = 0; n < $(stat -c %s whole.ini); n++)); do
  head -c "$n" whole.ini >bad.ini
  status=0; timeout 20 "$CVRUN" cfg bad.ini >out.txt 2>err.txt || status=$?
  [ $status -le 2 ] || { cat err.txt; fail "status $status at $n bytes of the recipe"; }
  [ $status -eq 0 ] || [ "$(grep -c 'cvrun: error: ' err.txt)" -eq 1 ] || { cat err.txt; fail "not one error line at $n bytes of the recipe"; }
  checks=$((checks + 1))
done
done_with bad_recipes_test
