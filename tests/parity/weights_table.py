"""Writes apps/data/weights.ini, apps/data/imagenet1k.txt, apps/data/voc21.txt and apps/data/coco90.txt from torchvision's own records of its weights.

Needs torchvision; downloads nothing. A section a model, a line a set of weights:

  NAME = URL resize=N crop=N interpolation=KIND mean=COLOURS std=COLOURS classes=imagenet1k [hub=NAME]

Detection has img_size in place of resize and crop, and keys of [model] that go with the file. Segmentation has val_crop=0 in place of crop: pictures keep their shape. Weights of its backbone alone, which model.head = new
takes, bring the colours and nothing else.

The eight digits in the file's name are the first of its SHA-256, as torch.hub has it. DEFAULT names another line. hub: the same weights in timm's collection.
"""
import inspect
import pathlib

import torchvision
from torchvision.models import get_model, get_model_weights, list_models

root = pathlib.Path(__file__).resolve().parents[2] / "apps/data"
OTHERS = "deeplabv3plus_mobilenet_v2 deeplabv3plus_resnet101 deeplabv3plus_resnet50 unet_resnet34 unet_resnet50".split()  # not torchvision's
TIMM = ("resnet", "resnext", "wide_resnet", "vgg", "densenet", "inception_v3")


def settings(weights):
    p = weights.transforms()
    mode = p.interpolation.value
    return f"resize={p.resize_size[0]} crop={p.crop_size[0]} interpolation={mode} {colours(p)}"


def hub(model, name):
    if not model.startswith(TIMM) or not name.startswith("IMAGENET1K_V"):
        return ""
    return f" hub={model}.{'tv' if name.endswith('V1') else 'tv2'}_in1k"


def colours(p):
    if tuple(p.mean) == (0.485, 0.456, 0.406) and tuple(p.std) == (0.229, 0.224, 0.225):
        return "mean=imagenet std=imagenet"
    return f"mean={','.join(map(str, p.mean))} std={','.join(map(str, p.std))}"


def backbone(model):
    for w in get_model_weights(model.split("_", 1)[1]):
        yield f"{w.name} = {w.url} {colours(w.transforms())}"


def segmentation(model):
    """The section of a network with a class for each pixel."""
    for w in get_model_weights(model):
        p = w.transforms()
        yield f"{w.name} = {w.url} resize={p.resize_size[0]} val_crop=0 interpolation={p.interpolation.value} {colours(p)} classes=voc21"
    yield from backbone(model)
    yield f"DEFAULT = {get_model_weights(model).DEFAULT.name}"


def detection(model):
    """The section of a detector: sizes and colours are its own, not the file's, which knows of no transform."""
    first_norms = " norm_eps=0" if model in ("fasterrcnn_resnet50_fpn", "maskrcnn_resnet50_fpn", "retinanet_resnet50_fpn") else ""
    size, colour = {"ssd300_vgg16": ("300", "mean=0.48235,0.45882,0.40784 std=0.00392156863,0.00392156863,0.00392156863"), "ssdlite320_mobilenet_v3_large": ("320", "mean=0.5,0.5,0.5 std=0.5,0.5,0.5"), "fasterrcnn_mobilenet_v3_large_320_fpn": ("320,640", "mean=imagenet std=imagenet")}.get(model, ("800,1333", "mean=imagenet std=imagenet"))
    for w in get_model_weights(model):
        yield f"{w.name} = {w.url} img_size={size} {colour} classes=coco90{first_norms}"
    body = next(name for name in ("vgg16", "mobilenet_v3_large", "resnet50") if name in model)
    for w in get_model_weights(body):
        size_too = f" img_size={size}" if model.startswith("ssd") else ""
        yield f"{w.name} = {w.url}{size_too} {colour}" + (" reduced_tail=no" if model.startswith("ssdlite") else "")
    yield f"DEFAULT = {get_model_weights(model).DEFAULT.name}"


lines = ["# Published weights of torchvision's networks and how their pictures are made. Written by tests/parity/weights_table.py.", ""]
names = None
for model in sorted(list_models(module=torchvision.models)):
    lines.append(f"[{model}]")
    for w in get_model_weights(model):
        names = names or w.meta["categories"]
        assert w.meta["categories"] in (None, names)
        lines.append(f"{w.name} = {w.url} {settings(w)} classes=imagenet1k{hub(model, w.name)}")
    lines += [f"DEFAULT = {get_model_weights(model).DEFAULT.name}", ""]
for model in sorted(list_models(module=torchvision.models.segmentation)):
    lines += [f"[{model}]", *segmentation(model), ""]
for model in OTHERS:
    names_of = get_model_weights(model.split("_", 1)[1])
    lines += [f"[{model}]", *backbone(model), f"DEFAULT = {names_of.DEFAULT.name}", ""]
DETECTORS = [m for m in sorted(list_models(module=torchvision.models.detection)) if not m.startswith("keypoint")]
for model in DETECTORS:
    lines += [f"[{model}]", *detection(model), ""]
coco = get_model_weights(DETECTORS[0]).DEFAULT.meta["categories"][1:]  # without the background; unused ids keep their number
voc = get_model_weights("fcn_resnet50").DEFAULT.meta["categories"]
root.mkdir(exist_ok=True)
(root / "voc21.txt").write_text("\n".join(voc).replace("__background__", "background") + "\n")
(root / "coco90.txt").write_text("\n".join(n if n != "N/A" else f"N/A-{i + 1}" for i, n in enumerate(coco)) + "\n")
(root / "weights.ini").write_text("\n".join(lines[:-1]) + "\n")
(root / "imagenet1k.txt").write_text("\n".join(names) + "\n")
