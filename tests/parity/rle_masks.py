"""Golden values of run lengths: pycocotools' of made-up polygons, some of them strange.

    rle_masks.py [OUT]              writes tests/golden/rle.txt

The file: how many masks; then four lines a mask: height, width, corners; the corners' x and y; the compressed string; area and box.
Then how many pairs there are; two lines a pair: two masks' numbers, IoU, IoU of a crowd; the strings of union and intersection (masks of
different sizes are no pair).
"""
import pathlib
import sys

import numpy as np
from pycocotools import mask as coco

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "rle.txt"


def polygons(rng):
    """(height, width, corners); corners that are whole, halves, anything, outside, twice the same, on a line, crossing."""
    for number in range(48):
        h, w = (int(v) for v in rng.integers(1, 60, 2)) if number % 3 else (41, 53)
        n = int(rng.integers(3, 12))
        spread = [1.0, 1.0, 1.6][number % 3]
        xy = (rng.random((n, 2)) - 0.5) * spread * [w, h] + [w / 2, h / 2]
        if number % 4 == 1:
            xy = np.round(xy)
        if number % 4 == 2:
            xy = np.round(2 * xy) / 2
        if number % 5 == 3:
            xy[1] = xy[0]
        if number % 7 == 5:
            xy[:, number % 2] = xy[0, number % 2]
        yield h, w, xy
    yield 41, 53, np.array([[0, 0], [53, 0], [53, 41], [0, 41]], float)
    yield 41, 53, np.array([[-1e4, -1e4], [1e4, -1e4], [1e4, 1e4], [-1e4, 1e4]])
    yield 300, 400, np.array([[200 + 150 * np.cos(t), 150 + 140 * np.sin(t)] for t in np.linspace(0, 6, 60)])
    yield 1, 1, np.array([[0, 0], [1, 0], [1, 1], [0, 1]], float)


def text(rle):
    return rle["counts"].decode()


def write(path):
    rng = np.random.default_rng(21)
    masks = []
    with open(path, "w") as out:
        cases = list(polygons(rng))
        print(len(cases), file=out)
        for h, w, xy in cases:
            rle = coco.frPyObjects([[float(v) for v in xy.ravel()]], h, w)[0]
            masks.append(rle)
            print(h, w, len(xy), file=out)
            print(*("%.17g" % v for v in xy.ravel()), file=out)
            print(text(rle), file=out)
            print(int(coco.area(rle)), *("%d" % v for v in coco.toBbox(rle)), file=out)
        pairs = [(i, k) for i in range(len(masks)) for k in range(i) if masks[i]["size"] == masks[k]["size"]][:40]
        print(len(pairs), file=out)
        for i, k in pairs:
            a, b = masks[i], masks[k]
            print(i, k, "%.17g %.17g" % (coco.iou([a], [b], [0])[0, 0], coco.iou([a], [b], [1])[0, 0]), file=out)
            print(text(coco.merge([a, b])), text(coco.merge([a, b], True)), file=out)


write(sys.argv[1] if len(sys.argv) > 1 else GOLDEN)
