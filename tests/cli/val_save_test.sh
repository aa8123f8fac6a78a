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
expect 2 "the network has no result \`boxes\`, which detection needs" "$CVRUN" val detect.ini
expect 2 "the network has no losses of its own, which detection needs" "$CVRUN" train detect.ini
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

# settings that a detector does not read
expect 2 "train.class_weights is set, but a detector's losses are its own" "$CVRUN" train detect.ini train.class_weights=1,1,1,1,1,1,1,1,1,1
expect 2 "a number for each class, a,b,c, or leave it out" "$CVRUN" train detect.ini train.class_weights=balanced
expect 2 "val.crop_size is set, but pictures with boxes have the size that data.img_size says" "$CVRUN" train detect.ini val.crop_size=16
expect 2 "val.resize_size is set, but pictures with boxes" "$CVRUN" train detect.ini val.resize_size=0
sed -i '/^\[net\]/,/^out/d' detect.ini
expect 2 "data.img_size = 100,200: ssdlite320_mobilenet_v3_large looks at squares; give one number" "$CVRUN" train detect.ini model.name=ssdlite320_mobilenet_v3_large data.img_size=100,200

# what goes with a detector's weights: from none frozen norms mean nothing, and published ones want normalised pictures
untold() { ! grep -q "$1" err.txt || fail "warned in vain: $(grep "$1" err.txt)"; }
retina=(model.name=retinanet_resnet50_fpn model.body=resnet18 model.layers=1,1,1,1 model.width=2 model.fpn_channels=4 train.epochs=0)
expect 0 "from backbone.body.bn1.weight on, are never changed by training" "$CVRUN" train detect.ini "${retina[@]}" augment.preset=multiscale data.img_size=32,64
grep -q "preset = multiscale has a size of its own" err.txt || fail "the size of a preset is not told"
printf '[run]\nname = body\n[data]\nformat = fake\nsize = 8\nimg_size = 32\n[model]\nname = resnet18\nlayers = 1,1,1,1\nwidth = 2\n[train]\nbatch = 4\nepochs = 0\n[optim]\nlr = 0.1\n' >body.ini
expect 0 "" "$CVRUN" train body.ini
untold "never changed by training"
from=(model.weights=runs/classify/body/weights/last.safetensors)
expect 0 "data.mean and data.std are 0 and 1; set data.mean = imagenet" "$CVRUN" train detect.ini "${retina[@]}" "${from[@]}"
untold "never changed by training"
expect 0 "another implementation's names" "$CVRUN" train detect.ini "${retina[@]}" "${from[@]}" data.mean=imagenet data.std=imagenet
untold "data.mean and data.std are"

done_with val_save_test
