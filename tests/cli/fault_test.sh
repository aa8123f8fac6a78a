#!/usr/bin/env bash
# A full disk, a folder that cannot be written, data that vanishes: one clear line, and the last good checkpoint is whole.
. "$(dirname "$0")/lib.sh"
recipe small.ini
train() { "$CVRUN" train "$@" >>log.txt 2>&1 || { cat log.txt >&2; fail "train $*"; }; }

# files may not grow past a limit, as on a full disk (EFBIG stands for ENOSPC); then there is room again
train small.ini name=whole train.epochs=6
size=$(stat -c %s runs/classify/whole/weights/last.state)
status=0
(ulimit -f $((size / 1024 - 1)); "$CVRUN" train small.ini name=full train.epochs=6 >out.txt 2>err.txt) || status=$?
[ $status -eq 1 ] || { cat err.txt; fail "a full disk gave status $status"; }
[ "$(grep -c 'cvrun: error: ' err.txt)" -eq 1 ] && grep -q 'cannot write' err.txt || { cat err.txt; fail "not one clear line"; }
checks=$((checks + 1))

train small.ini name=later train.epochs=2 sched.name=constant
cp runs/classify/later/weights/last.state before.state
status=0
(ulimit -f $((size / 1024 - 1)); "$CVRUN" train --resume runs/classify/later train.epochs=6 >out.txt 2>err.txt) || status=$?
[ $status -eq 1 ] || { cat err.txt; fail "a full disk gave status $status on resume"; }
same before.state runs/classify/later/weights/last.state
train --resume runs/classify/later train.epochs=6
train small.ini name=straight train.epochs=6 sched.name=constant
same runs/classify/later/weights/last.safetensors runs/classify/straight/weights/last.safetensors

# a folder that cannot be made
expect 1 "cannot make this folder" "$CVRUN" train small.ini run.project=/proc/nowhere
: >plain; expect 1 "plain" "$CVRUN" train small.ini run.project="$work/plain"

# data that vanishes while it trains: pictures, a folder a class
mkdir -p pictures/{train,val}/{a,b}
cp "$here/../../docs/images/results.png" one.png
for i in $(seq 1 20); do for c in a b; do cp one.png "pictures/train/$c/$i.png"; done; done
cp one.png pictures/val/a/; cp one.png pictures/val/b/
sed -e 's/^format = fake/format = folder\nroot = pictures/' -e '/^size = /d;/^classes = /d' small.ini >folder.ini
sed -i 's/^random_rotation.*/resize = size=12,12/' folder.ini
"$CVRUN" train folder.ini name=gone train.epochs=100000 "run.save_every=2 steps" val.interval=0 >out.txt 2>err.txt & pid=$!
for _ in $(seq 200); do [ -f runs/classify/gone/weights/last.state.1 ] && break; sleep 0.1; done
mv pictures/train/a/7.png kept.png
status=0; wait $pid || status=$?
[ $status -eq 1 ] && grep -q 'train/a/7.png: .*No such file' err.txt || { cat err.txt; fail "a vanished picture: status $status"; }
mv kept.png pictures/train/a/7.png
"$CVRUN" train --resume runs/classify/gone train.epochs=100000 >>log.txt 2>&1 & pid=$!
sleep 2; kill -TERM $pid; status=0; wait $pid || status=$?
[ $status -eq 75 ] || { tail -n 3 log.txt; fail "the run did not go on: status $status"; }
checks=$((checks + 2))

# bad pictures: named by check, passed over with on_error=skip
head -c 500 one.png >pictures/train/b/3.png; : >pictures/train/b/4.png
status=0; "$CVRUN" check folder.ini >out.txt 2>err.txt || status=$?
[ $status -eq 1 ] && [ "$(grep -c 'pictures/train/b/[34].png: ' out.txt)" -eq 2 ] || { cat out.txt err.txt; fail "check does not name the two bad pictures"; }
expect 1 "pictures/train/b/" "$CVRUN" train folder.ini name=bad epochs=1
grep -q '; data.on_error=skip leaves such files out, cvrun check names them all$' err.txt || { cat err.txt >&2; fail "no remedy for a bad file"; }
# nothing was saved, so that no folder is left; one in which an epoch has ended stays
grep -q "the run folder is removed: .*/bad$" err.txt && [ ! -e runs/classify/bad ] || { cat err.txt >&2; fail "the folder of a run that came to nothing"; }
mv pictures/train/b/3.png 3.bad; mv pictures/train/b/4.png 4.bad; cp one.png pictures/train/b/3.png
train folder.ini name=kept epochs=1
cp 3.bad pictures/train/b/3.png
expect 1 "pictures/train/b/3.png" "$CVRUN" train --resume runs/classify/kept epochs=2
[ -f runs/classify/kept/weights/last.state ] || fail "a run with a checkpoint was removed"
mv 4.bad pictures/train/b/4.png
train folder.ini name=skip epochs=1 data.on_error=skip
grep -q 'b/4.png: .*; skipped' log.txt || fail "skipping is not told"
mkdir pictures/train/empty pictures/val/empty
expect 1 "empty" "$CVRUN" train folder.ini name=empty epochs=1
done_with fault_test
