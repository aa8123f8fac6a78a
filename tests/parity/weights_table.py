"""Writes apps/data/weights.ini and apps/data/imagenet1k.txt from torchvision's own records of its weights.

Needs torchvision; downloads nothing. A section a model, a line a set of weights:

  NAME = URL resize=N crop=N interpolation=KIND mean=COLOURS std=COLOURS classes=imagenet1k [hub=NAME]

The eight digits in the file's name are the first of its SHA-256, as torch.hub has it. DEFAULT names another line. hub: the same weights in timm's collection.
"""
import inspect
import pathlib

import torchvision
from torchvision.models import get_model, get_model_weights, list_models

root = pathlib.Path(__file__).resolve().parents[2] / "apps/data"
TIMM = ("resnet", "resnext", "wide_resnet", "vgg", "densenet", "inception_v3")


def settings(weights):
    p = weights.transforms()
    mode = p.interpolation.value
    if tuple(p.mean) == (0.485, 0.456, 0.406) and tuple(p.std) == (0.229, 0.224, 0.225):
        colour = "mean=imagenet std=imagenet"
    else:
        colour = f"mean={','.join(map(str, p.mean))} std={','.join(map(str, p.std))}"
    return f"resize={p.resize_size[0]} crop={p.crop_size[0]} interpolation={mode} {colour}"


def hub(model, name):
    if not model.startswith(TIMM) or not name.startswith("IMAGENET1K_V"):
        return ""
    return f" hub={model}.{'tv' if name.endswith('V1') else 'tv2'}_in1k"


lines = ["# Published weights of torchvision's classifiers and how their pictures are made. Written by tests/parity/weights_table.py.", ""]
names = None
for model in sorted(list_models(module=torchvision.models)):
    lines.append(f"[{model}]")
    for w in get_model_weights(model):
        names = names or w.meta["categories"]
        assert w.meta["categories"] in (None, names)
        lines.append(f"{w.name} = {w.url} {settings(w)} classes=imagenet1k{hub(model, w.name)}")
    lines += [f"DEFAULT = {get_model_weights(model).DEFAULT.name}", ""]
root.mkdir(exist_ok=True)
(root / "weights.ini").write_text("\n".join(lines[:-1]) + "\n")
(root / "imagenet1k.txt").write_text("\n".join(names) + "\n")
