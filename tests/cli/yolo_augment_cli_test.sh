#!/usr/bin/env bash
# Mosaic, mixup and several sizes in a whole run: the same bits with any number of data threads and after SIGKILL in the middle of an
# epoch with mosaics; the last epochs do without.
. "$(dirname "$0")/lib.sh"

cat >yolo.ini <<'INI'
[run]
task = detect
name = yolo
seed = 3
save_every = 1 steps
[data]
format = scenes
fields = boxes
img_size = 64
objects = 1,3
train_size = 24
val_size = 4
workers = 2
[augment]
preset = yolox
[model]
name = retinanet_resnet50_fpn
body = resnet18
norm = batch
width = 4
fpn_channels = 8
anchor_sizes = 8,16,32,64,128
[train]
epochs = 3
batch = 4
close_mosaic = 1
ema = yes
ema_steps = 1
ema_ramp = 20
[optim]
name = sgd
lr = 0.001
[sched]
name = cosine
lr_min = 0.0001
warmup = quadratic
warmup_steps = 3
flat_epochs = 1
[val]
interval = 0
INI

run() { # RECIPE NAME settings...
  local recipe=$1 name=$2; shift 2
  "$CVRUN" train "$recipe" name="$name" "$@" >>log.txt 2>&1 || { tail -n 5 log.txt; fail "$name"; }
}
weights() { echo "runs/detect/$1/weights/last.safetensors"; }

run yolo.ini whole
run yolo.ini alone data.workers=0
same "$(weights alone)" "$(weights whole)"

[ "$(grep -c 'epoch 3: without mosaic, mixup_boxes from now on' log.txt)" -eq 2 ] || fail "the last epoch is not told of"

# killed in the second epoch: batches 7 to 12 have mosaics; the third epoch has none
steps() { local lines=(); [ ! -f "runs/detect/$1/steps.csv" ] || mapfile -t lines <"runs/detect/$1/steps.csv"; echo $((${#lines[@]} - 1)); }
for ((tries = 0; tries < 10; tries++)); do
  rm -rf runs/detect/cut
  "$CVRUN" train yolo.ini name=cut >>log.txt 2>&1 & pid=$!
  for ((i = 0; i < 6000 && $(steps cut) < 7; i++)); do sleep 0.01; done
  kill -KILL "$pid" 2>/dev/null || true
  wait "$pid" 2>/dev/null || true
  if [ "$(steps cut)" -ge 7 ] && [ "$(steps cut)" -lt 12 ]; then break; fi
done
[ "$(steps cut)" -lt 12 ] || fail "the run was not killed in its second epoch"
"$CVRUN" train --resume runs/detect/cut data.workers=1 >>log.txt 2>&1 || { tail -n 5 log.txt; fail "resume"; }
same "$(weights cut)" "$(weights whole)"
cut -d, -f1-4 runs/detect/cut/steps.csv >a.csv
cut -d, -f1-4 runs/detect/whole/steps.csv >b.csv
same a.csv b.csv

# lr: (step / 3)^2 of 0.001, and lr_min in the flat epoch, where the cosine has ended
awk -F, 'NR == 1 { for (i = 1; i <= NF; i++) c[$i] = i; next }
  NR == 2 && ($c["lr"] < 0.000110 || $c["lr"] > 0.000112) { print "first lr", $c["lr"]; exit 1 }
  NR == 3 && ($c["lr"] < 0.000443 || $c["lr"] > 0.000445) { print "second lr", $c["lr"]; exit 1 }
  NR == 5 && $c["lr"] < 0.00099 { print "fourth lr", $c["lr"]; exit 1 }
  NR >= 14 && ($c["lr"] < 0.0000999 || $c["lr"] > 0.0001001) { print "flat lr", $c["lr"]; exit 1 }' runs/detect/whole/steps.csv || fail "the schedule"

# closed from the first epoch on, it is a run that never had mosaics
sed '/^preset/d; s/^\[augment\]/[augment]\nmosaic =\nmixup_boxes =\nletterbox =/; s/^train_size = 24/train_size = 8/; s/^epochs = 3/epochs = 1/; s/^flat_epochs = 1//' yolo.ini >closed.ini
sed '/^mosaic =/d; /^mixup_boxes =/d; /^close_mosaic/d' closed.ini >never.ini
run closed.ini closed
run closed.ini open train.close_mosaic=0
run never.ini never
same "$(weights closed)" "$(weights never)"
if cmp -s "$(weights closed)" "$(weights open)"; then fail "mosaics change nothing"; fi

# the scalars: a plugin's veto by `closing` leaves out the last epoch, one by `samples` all batches but the first
mkdir plug && chmod 755 plug
gcc -std=c17 -shared -fPIC ${CVR_SANITIZE:+-fsanitize=$CVR_SANITIZE} -I"$here/../../core/include" -o plug/closing.so "$here/closing_plugin.c"
"$(dirname "$CVRUN")/cvr-manifest" plug/plugins.ini plug/closing.so
for veto in closing samples; do
  CVR_PLUGIN_PATH=$work/plug "$CVRUN" train yolo.ini name=$veto train.veto_$veto=yes data.train_size=8 train.epochs=2 >veto.txt 2>&1 || { tail -n 5 veto.txt; fail "veto by $veto"; }
  grep -o '[0-9]* of [0-9]* updates of epoch [0-9]*' veto.txt >$veto.txt || true
done
[ "$(cat closing.txt)" = "2 of 2 updates of epoch 2" ] || { cat closing.txt; fail "closing is not 1 in the last epoch alone"; }
[ "$(tr '\n' ' ' <samples.txt)" = "1 of 2 updates of epoch 1 2 of 2 updates of epoch 2 " ] || { cat samples.txt; fail "samples do not count"; }
checks=$((checks + 2))

# as many epochs as give the batches
sed '/^epochs/d' yolo.ini >batches.ini
run batches.ini batches train.max_batches=7
[ "$(steps batches)" -eq 12 ] || fail "7 batches are two epochs of 6"

# several sizes
sizes=(train.multi_scale=32,96,32 train.multi_scale_every=2 train.epochs=2)
run yolo.ini sizes "${sizes[@]}"
run yolo.ini sizes_alone "${sizes[@]}" data.workers=0
same "$(weights sizes)" "$(weights sizes_alone)"
if cmp -s "$(weights sizes)" "$(weights batches)"; then fail "sizes change nothing"; fi
expect 2 "train.multi_scale is the least side" "$CVRUN" train yolo.ini name=bad train.multi_scale=32,96
expect 2 "train.multi_scale is the least side" "$CVRUN" train yolo.ini name=bad train.multi_scale=1,64,1
sed 's/preset = yolox/preset = hflip/' yolo.ini >pair.ini
expect 2 "the side of a square" "$CVRUN" train pair.ini name=bad train.multi_scale=32,96,32 data.img_size=64,96
sed '/^preset/d; s/^\[augment\]/[augment]\nletterbox = 64/' yolo.ini >sized.ini
expect 2 "a size of its own" "$CVRUN" train sized.ini name=bad train.multi_scale=32,96,32
done_with yolo_augment_cli_test
