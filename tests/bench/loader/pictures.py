"""Writes N seeded JPEG pictures of ImageNet's usual size (500x375 and near it, 4:2:0, quality 90) to FOLDER/cK/.

Noise of natural spectrum, with shapes that have edges: as many bytes a pixel as photographs have.
    python3 pictures.py FOLDER N
"""
import pathlib
import sys

import numpy
from PIL import Image, ImageDraw


def field(rng, w, h, beta):
    fy, fx = numpy.fft.fftfreq(h)[:, None], numpy.fft.rfftfreq(w)[None]
    f = numpy.sqrt(fx * fx + fy * fy)
    f[0, 0] = 1
    x = numpy.fft.irfft2((rng.normal(size=f.shape) + 1j * rng.normal(size=f.shape)) / f**beta, (h, w))
    return (x - x.mean()) / x.std()


def picture(rng, w, h):
    light = field(rng, w, h, 1.2) * 45
    planes = [light + field(rng, w, h, 1.6) * 20 + 110 + rng.normal() * 20 for _ in range(3)]
    image = Image.fromarray(numpy.stack(planes, -1).clip(0, 255).astype(numpy.uint8))
    draw = ImageDraw.Draw(image)
    for _ in range(12):
        x, y, r = rng.integers(0, w), rng.integers(0, h), int(rng.integers(8, 90))
        shape = draw.ellipse if rng.random() < 0.5 else draw.rectangle
        shape([x - r, y - r // 2, x + r, y + r // 2], fill=tuple(int(v) for v in rng.integers(0, 256, 3)))
    grain = numpy.asarray(image).astype(numpy.float32) + rng.normal(size=(h, w, 1)) * 3
    return Image.fromarray(grain.clip(0, 255).astype(numpy.uint8))


folder, n = pathlib.Path(sys.argv[1]), int(sys.argv[2])
rng = numpy.random.default_rng(0)
for i in range(n):
    to = folder / f"c{i % 10}"
    to.mkdir(parents=True, exist_ok=True)
    w, h = [(500, 375), (375, 500), (500, 333), (500, 375), (480, 360)][i % 5]
    picture(rng, w, h).save(to / f"{i:04d}.jpg", quality=90, subsampling=2)
