#!/usr/bin/env python3
"""What `cvrun pack` writes, read by PyTorch's ecosystem: torchvision's CocoDetection and ImageFolder, pycocotools, Pillow.

    packed_scenes.py CVRUN [FOLDER]

Packs scenes as coco, masks and folder into FOLDER (default: a temporary one), and checks that boxes, masks and labels
agree with each other as those libraries see them. Needs torch, torchvision, pycocotools, numpy and Pillow; the data
set scenes needs Fashion-MNIST's files (Debian: dataset-fashion-mnist).
"""
import pathlib
import subprocess
import sys
import tempfile

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.cocoeval import COCOeval
from torchvision.datasets import CocoDetection, ImageFolder

RECIPE = "[run]\nname = packed\n[data]\nformat = scenes\ntrain_size = 60\nval_size = 30\nobjects = 0,8\n[net]\nfc = linear num_classes\n"
SIZES = {"train": 60, "val": 30}


def runs_of(rle):
    """The mask (H, W) of uncompressed run lengths, by pycocotools."""
    return coco_mask.decode(coco_mask.frPyObjects(rle, *rle["size"]))


def check_coco(folder):
    objects = 0
    for split, size in SIZES.items():
        data = CocoDetection(str(folder / split), str(folder / "annotations" / f"instances_{split}.json"))
        assert len(data) == size, (split, len(data))
        assert sorted(data.coco.cats) == list(range(1, 11)), data.coco.cats
        for index in range(len(data)):
            picture, targets = data[index]
            assert picture.size == (128, 128) and picture.mode == "RGB"
            semantic = np.zeros((128, 128), int)
            for t in targets:
                mask = runs_of(t["segmentation"])
                assert (mask == data.coco.annToMask(t)).all()
                assert mask.sum() == t["area"] and t["iscrowd"] == 0
                rows, columns = np.nonzero(mask)
                x, y, w, h = t["bbox"]
                assert (x, y) == (columns.min(), rows.min()), "the box is not tight"
                assert (x + w, y + h) == (columns.max() + 1, rows.max() + 1), "the box is not tight"
                assert not (semantic[mask > 0]).any(), "two items at one pixel"
                semantic[mask > 0] = t["category_id"]
                objects += 1
            yield split, index, np.asarray(picture), semantic
        perfect(data.coco)
    assert objects > 200, objects


def perfect(coco):
    """What COCO's own evaluation makes of the truth as a prediction: an average precision of 1."""
    truth = [dict(a, score=1.0) for a in coco.loadAnns(coco.getAnnIds())]
    evaluation = COCOeval(coco, coco.loadRes(truth), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()
    assert evaluation.stats[0] == 1.0, evaluation.stats


def check_masks(folder, split, index, picture, semantic):
    assert (np.asarray(Image.open(folder / split / "images" / f"{index:06}.png")) == picture).all()
    mask = Image.open(folder / split / "masks" / f"{index:06}.png")
    assert mask.mode == "L" and (np.asarray(mask) == semantic).all()


def check_folder(folder, names):
    for split, size in SIZES.items():
        data = ImageFolder(str(folder / split))
        assert len(data) == size and set(data.classes) <= {n.replace("/", "_") for n in names[1:]}
        assert data[0][0].size == (128, 128)


def main():
    cvrun = str(pathlib.Path(sys.argv[1]).resolve())
    top = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else tempfile.mkdtemp())
    top.mkdir(parents=True, exist_ok=True)
    (top / "scenes.ini").write_text(RECIPE)
    for layout, extra in (("coco", []), ("masks", []), ("folder", ["data.fields=label", "data.objects=1,8"])):
        subprocess.run([cvrun, "pack", "scenes.ini", f"out={layout}", f"as={layout}", *extra], cwd=top, check=True)
    pictures = 0
    for split, index, picture, semantic in check_coco(top / "coco"):
        check_masks(top / "masks", split, index, picture, semantic)
        pictures += 1
    names = (top / "masks" / "classes.txt").read_text().splitlines()
    assert len(names) == 11 and names[0] == "background"
    check_folder(top / "folder", names)
    print(f"{pictures} packed scenes: boxes, masks and labels agree, as torchvision and pycocotools read them")


if __name__ == "__main__":
    main()
