"""Reads made-up annotations as pycocotools does: masks of polygons and run lengths, crowds, areas, ids.

    coco_read.py CVRUN      packs data of format coco with data.masks=yes, and holds what it wrote against pycocotools

Needs numpy, Pillow and pycocotools.
"""
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO


def outline(rng, number, h, w):
    """Polygons of one to three parts, numbers of runs, or the compressed string."""
    if number % 3 == 0:
        return [[round(float(v), 2) for v in (rng.random((int(rng.integers(3, 20)), 2)) * [w, h]).ravel()]
                for _ in range(int(rng.integers(1, 4)))]
    rle = coco_mask.encode(np.asfortranarray(rng.random((h, w)) > rng.random(), dtype=np.uint8))
    if number % 3 == 1:
        return {"size": [h, w], "counts": rle["counts"].decode()}
    flat = coco_mask.decode(rle).ravel(order="F")
    ends = np.flatnonzero(np.diff(flat)) + 1
    counts = np.diff(np.concatenate([[0], ends, [flat.size]])).tolist()
    return {"size": [h, w], "counts": counts if flat[0] == 0 else [0] + counts}


def text(rle):
    counts = rle["counts"]
    return counts if isinstance(counts, str) else counts.decode()


def make(folder):
    rng = np.random.default_rng(5)
    (folder / "annotations").mkdir(parents=True)
    images, annotations = [], []
    for i in range(20):
        h, w = (int(v) for v in rng.integers(20, 90, 2))
        images.append({"id": 7 * i, "file_name": f"{i}.png", "height": h, "width": w})
        for split in ("train", "val"):
            (folder / split).mkdir(exist_ok=True)
            Image.fromarray(rng.integers(0, 255, (h, w, 3), dtype=np.uint8)).save(folder / split / f"{i}.png")
        for _ in range(int(rng.integers(0, 6))):
            n = len(annotations)
            x, y = rng.random() * w / 2, rng.random() * h / 2
            annotations.append({"id": n, "image_id": 7 * i, "category_id": int(rng.choice([1, 4, 90])), "iscrowd": int(n % 5 == 4),
                                "bbox": [x, y, rng.random() * w / 2 + 0.01, rng.random() * h / 2 + 0.01],
                                "area": rng.random() * 500, "segmentation": outline(rng, n, h, w)})
    data = {"annotations": annotations, "images": images,
            "categories": [{"id": i, "name": f"c{i}"} for i in (90, 1, 4)]}
    for split in ("train", "val"):
        (folder / "annotations" / f"instances_{split}.json").write_text(json.dumps(data))
    return folder / "annotations" / "instances_val.json"


def main(cvrun):
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        file = make(folder / "data")
        recipe = folder / "recipe.ini"
        recipe.write_text("[data]\nformat = coco\nroot = data\nmasks = yes\n[net]\nfc = linear num_classes\n")
        subprocess.run([cvrun, "pack", recipe, f"out={folder / 'out'}", "as=coco"], check=True, cwd=folder)
        want, got = COCO(file), COCO(folder / "out" / "annotations" / "instances_val.json")
        assert sorted(want.imgs) == sorted(got.imgs) and sorted(want.cats) == sorted(got.cats)
        n = 0
        for image in want.imgs:
            ours = got.imgToAnns[image]
            for a, b in zip(want.imgToAnns[image], ours, strict=True):
                for key in ("category_id", "iscrowd", "bbox", "area"):
                    assert a[key] == b[key], (a, b)
                assert text(want.annToRLE(a)) == text(got.annToRLE(b)), a
                n += 1
        print(f"{n} objects: boxes, areas, crowds and masks are pycocotools'")


main(str(pathlib.Path(sys.argv[1]).resolve()))
