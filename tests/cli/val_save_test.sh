#!/usr/bin/env bash
# val.save: what a network says of every picture, for other programs: of the best weights in training, of a run folder, of a
# recipe. And what detection says of networks and data that it cannot use.
. "$(dirname "$0")/lib.sh"

printf '[run]\ntask = segment\nname = seg\n[data]\nformat = scenes\nfields = mask\ntrain_size = 12\nval_size = 4\nimg_size = 32\nitem_scale = 0.5,1\nworkers = 0\n[net]\nout = conv2d num_classes kernel_size=1\n[train]\nbatch = 4\nepochs = 2\n[optim]\nlr = 0.01\n' >seg.ini
expect 0 "" "$CVRUN" train seg.ini
[ ! -e runs/segment/seg/val ] || fail "something was saved unasked"
expect 0 "" "$CVRUN" train seg.ini val.save=yes
run=runs/segment/seg-2
[ "$(ls $run/val | tr '\n' ' ')" = "000000.png 000001.png 000002.png 000003.png " ] || fail "in val: $(ls $run/val)"
[ ! -e $run/val.new ] || fail "val.new is left"
[ "$(od -An -c -j25 -N1 $run/val/000000.png | tr -d ' ')" = '003' ] || fail "the mask's PNG has no palette"

# what best weights said when they were validated is what they say now, in the place of what was there
cp -r $run/val first
printf 'old' >$run/val/000001.png
mkdir $run/val.new && printf 'of a run that was killed' >$run/val.new/x.png
expect 0 "" "$CVRUN" val $run val.save=yes
grep -q "results are in $run/val" out.txt || fail "val does not say where its results are"
diff -r first $run/val || fail "the best weights say something else now"
expect 0 "" "$CVRUN" val seg.ini val.save=yes --json
grep -q '"saved": "runs/val/seg"' out.txt || fail "JSON does not say where the results are"
[ "$(ls runs/val/seg | wc -l)" -eq 4 ] || fail "in runs/val/seg: $(ls runs/val/seg)"
expect 2 "val.save is set, but this task has nothing to save" "$CVRUN" val seg.ini val.save=yes run.task=classify data.fields=label
chmod a-w $run
if [ ! -w $run ]; then expect 1 "val.new" "$CVRUN" val $run val.save=yes; fi
chmod u+w $run

# detection: a network without boxes, data without boxes
printf '[run]\ntask = detect\n[data]\nformat = scenes\nfields = boxes\ntrain_size = 4\nval_size = 2\nimg_size = 32\nitem_scale = 0.5,1\nworkers = 0\n[net]\nout = conv2d num_classes kernel_size=1\n[train]\nbatch = 2\n' >detect.ini
expect 2 "the network has no losses of its own, which detection needs" "$CVRUN" val detect.ini
expect 1 "choose a data.format that has boxes" "$CVRUN" train detect.ini data.fields=label
expect 2 "conf is 2; it may be at most 1" "$CVRUN" val detect.ini predict.conf=2
expect 2 "val.metric = map60" "$CVRUN" train detect.ini val.metric=map60

# losses are in f32 whatever the network computes in; the first numbers of masks are among the first; predict.raw has all that a detector says
printf '[run]\ntask = detect\n[data]\nformat = scenes\nfields = instances\ntrain_size = 4\nval_size = 2\nimg_size = 64\nitem_scale = 0.5,1\nworkers = 0\n[model]\nname = maskrcnn_resnet50_fpn\nbody = resnet18\nlayers = 1,1,1,1\nnorm = batch\nwidth = 4\nfpn_channels = 8\nrepresentation_size = 8\nbox_detections_per_img = 5\nrpn_post_nms_top_n_test = 20\n' >rcnn.ini
expect 0 "" "$CVRUN" val rcnn.ini backend.precision=bf16
grep -q '^loss_classifier  *[0-9]' out.txt || fail "no loss: $(cat out.txt)"
grep -A2 '^map75' out.txt | tr '\n' ' ' | grep -q 'mask_map .*mask_map50' || fail "masks stand behind what few read"
expect 0 "" "$CVRUN" predict rcnn.ini model.num_classes=10 source=$run/val/000000.png predict.raw=yes predict.out=said
for name in boxes scores labels masks; do grep -qa "\"$name\":" said/raw.safetensors || fail "no $name in raw.safetensors"; done

done_with val_save_test
