# Small detectors, a few steps at a few pixels, on the CPU and on another backend, which give the same losses: `device` is its name, `on` its settings.
. "$(dirname "$0")/lib.sh"

# follows STEPS.CSV OTHER: every loss within a thousandth of the other one, or of a hundredth
cat >follows.awk <<'AWK'
FNR == NR { for (i = 3; i <= NF; i++) want[FNR, i] = $i; lines = FNR; next }
FNR == 1 { for (i = 3; i <= NF; i++) losses[i] = $i ~ /^loss/; next }
{ for (i = 3; i <= NF; i++)
    if (losses[i]) {
      far = $i - want[FNR, i]; far = far < 0 ? -far : far
      if (!(far <= 0.001 * (want[FNR, i] + 0.01))) { print "line " FNR ", column " i ": " $i " instead of " want[FNR, i]; bad = 1 }
      n++
    } }
END { if (FNR != lines || n == 0) { print FNR " lines of " lines ", " n " losses"; bad = 1 } exit bad }
AWK
# both RECIPE TASK NAME key=value...: on cpu and on $device, with the settings of it in `on` and nothing left to the host
both() {
  local recipe=$1 task=$2 name=$3; shift 3
  "$CVRUN" train "$recipe" name=$name-cpu backend.name=cpu "$@" >log.txt 2>&1 || { tail -n 5 log.txt; fail "$name on cpu"; }
  "$CVRUN" train "$recipe" name=$name-$device backend.name=$device "${on[@]}" backend.fallback=error "$@" >log.txt 2>&1 || { tail -n 5 log.txt; fail "$name on $device"; }
  awk -F, -f follows.awk runs/$task/$name-cpu/steps.csv runs/$task/$name-$device/steps.csv >far.txt || { cat far.txt; fail "$name on $device is not what it is on cpu"; }
  checks=$((checks + 1))
}

cat >detect.ini <<'INI'
[run]
task = detect
[data]
format = scenes
fields = instances
train_size = 4
val_size = 2
img_size = 64
objects = 1,3
item_scale = 0.5,1
workers = 0
[model]
name = retinanet_resnet50_fpn
[train]
batch = 2
epochs = 1
[optim]
name = sgd
lr = 0.001
INI
body="model.body=resnet18 model.norm=batch model.width=4 model.fpn_channels=8"
rcnn="$body model.layers=1,1,1,1 model.representation_size=8 model.box_detections_per_img=5 model.rpn_post_nms_top_n_train=40 model.rpn_post_nms_top_n_test=20"

# detector NAME: that network, at its smallest
detector() {
  case $1 in
    retinanet) both detect.ini detect retinanet $body ;;
    fcos) both detect.ini detect fcos model.name=fcos_resnet50_fpn model.head_groups=4 $body ;;
    ssdlite) both detect.ini detect ssdlite model.name=ssdlite320_mobilenet_v3_large model.width_mult=0.25 ;;
    # small steps: what a cell costs decides which one learns, so that cpu and reference, too, are soon apart
    yolox) both detect.ini detect yolox model.name=yolox_nano data.train_size=6 train.batch=3 optim.lr=0.00001 ;;
    faster) both detect.ini detect faster model.name=fasterrcnn_resnet50_fpn $rcnn ;;
    mask) both detect.ini detect mask model.name=maskrcnn_resnet50_fpn $rcnn ;;
    yolov3-tiny)
      cp "$here/../../apps/recipes/yolov3-tiny-scenes.ini" "$here/../../apps/recipes/yolov3-tiny-scenes.cfg" .
      sed -i 's/^width=.*/width=64/; s/^height=.*/height=64/; s/^batch=.*/batch=2/; s/^subdivisions=.*/subdivisions=1/' yolov3-tiny-scenes.cfg
      both yolov3-tiny-scenes.ini detect yolov3-tiny data.train_size=4 data.val_size=2 data.img_size=64 data.workers=0 train.epochs=1 train.batch=2 backend.precision=f32 ;;
    *) fail "no detector $1" ;;
  esac
}
detectors=(retinanet fcos ssdlite yolox faster mask yolov3-tiny)
