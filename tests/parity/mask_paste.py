"""Golden values for masks brought to the picture: torchvision's paste_masks_in_image, inside where over 0.5.

    mask_paste.py [OUT]     writes tests/golden/mask_paste.txt

A line a mask: its area and a hash of its runs (FNV-1a of the 32-bit numbers), of the masks that the generator of
coco_ap.py makes: see `masks` here and tests/plugins/detect_paste_test.c.
"""
import pathlib
import sys

import numpy as np
import torch
from torchvision.models.detection.roi_heads import paste_masks_in_image

from coco_ap import Draw

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "mask_paste.txt"
HEIGHT, WIDTH = 75, 90


def masks():
    draw = Draw(3)
    for i in range(60):
        side = (28, 14, 2, 1)[draw.below(4)]
        values = np.array([draw.below(1001) / 1000 for _ in range(side * side)], np.float32)
        x, y = draw.below(700) / 8, draw.below(600) / 8
        w, h = draw.below(1 + draw.below(720)) / 8, draw.below(1 + draw.below(600)) / 8
        if i % 3:
            x, y = x - 20, y - 20
        x, y = min(x, WIDTH - 1), min(y, HEIGHT - 1)  # torchvision fails on boxes that are all outside
        yield side, values, np.array([x, y, max(x + w, 1), max(y + h, 1)], np.float32)


def runs(bitmap):
    flat = bitmap.T.reshape(-1)
    edges = np.flatnonzero(np.diff(np.concatenate([[0], flat]))).tolist() + [flat.size]
    return np.diff([0] + edges)


def fnv(numbers):
    h = 14695981039346656037
    for n in numbers:
        h = (h ^ int(n)) * 1099511628211 % 2**64
    return h


def write(path):
    torch.set_num_threads(1)
    with open(path, "w") as out:
        for side, values, box in masks():
            pasted = paste_masks_in_image(torch.tensor(values).reshape(1, 1, side, side), torch.tensor(box)[None],
                                          (HEIGHT, WIDTH))
            inside = (pasted[0, 0] > 0.5).numpy().astype(np.uint8)
            print(inside.sum(), fnv(runs(inside)), file=out)


if __name__ == "__main__":
    write(sys.argv[1] if len(sys.argv) > 1 else GOLDEN)
