"""Golden values for average precision: pycocotools' COCOeval, on sets that a small generator makes here and in C alike.

    coco_ap.py [OUT]          writes tests/golden/coco_ap.txt
    coco_ap.py --time         pycocotools' time for 5,000 pictures with 100 detections each, of 80 classes
    coco_ap.py --check RESULTS TRUTH METRICS [masks]
                              holds the metrics that cvrun printed (val --json) against pycocotools on the files of
                              val.save and the data's annotations

The file, a line a number of a set: NAME box|mask and the twelve numbers, of boxes followed by VOC's AP of 2007 and of
2010 at IoU over 0.5, as the Python ports of the devkit count it (written anew here).
"""
import contextlib
import io
import json
import pathlib
import sys
import time

import numpy as np
from pycocotools import mask as mask_utils
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden" / "coco_ap.txt"
HEIGHT, WIDTH = 200, 240  # of every made-up picture


class Draw:
    """The generator that tests/plugins/detect_sets.c has, too."""

    def __init__(self, seed):
        self.x = seed

    def below(self, n):
        self.x = (self.x * 6364136223846793005 + 1442695040888963407) % 2**64
        return (self.x >> 33) % n


def make_mask(kind, x, y, w, h):
    """Runs of a whole rectangle, of a diamond, of stairs in it, cut off at the picture's sides."""
    counts, inside, run = [], 0, 0

    def add(n, is_inside):
        nonlocal inside, run
        if is_inside != inside:
            counts.append(run)
            inside, run = is_inside, 0
        run += n

    for column in range(WIDTH):
        top, bottom = 0, 0
        if x <= column < x + w:
            top, bottom = y, y + h
            if kind == 1:
                half = h * (w - abs(2 * (column - x) + 1 - w)) // (2 * w)
                top, bottom = y + h // 2 - half, y + h // 2 + half
            if kind == 2:
                top = y + (column - x) * h // (2 * w)
        top, bottom = min(max(top, 0), HEIGHT), min(max(bottom, 0), HEIGHT)
        if bottom <= top:
            add(HEIGHT, 0)
            continue
        if top:
            add(top, 0)
        add(bottom - top, 1)
        if bottom < HEIGHT:
            add(HEIGHT - bottom, 0)
    counts.append(run)
    return {"size": [HEIGHT, WIDTH], "counts": counts}


def make_side(draw):
    return 1 + draw.below((24, 80, 190)[draw.below(3)]) + draw.below(4) / 4


def make_set(seed):
    """(pictures, classes, objects, detections, most) of one made-up set."""
    draw = Draw(seed)
    pictures = [(i * 5) % 11 for i in range(1 + draw.below(9))]
    classes = 1 + draw.below(5)
    objects, found = [], []
    annotation = 0 if seed % 5 == 0 else 1
    for picture in pictures:
        own = []
        for _ in range(draw.below(9)):
            o = {"id": annotation, "image_id": picture, "category_id": draw.below(classes)}
            x, y = draw.below(200) + draw.below(4) / 4, draw.below(160) + draw.below(4) / 4
            w, h = make_side(draw), make_side(draw)
            o["bbox"] = [x, y, w, h]
            o["area"] = w * h * 0.75 if draw.below(3) == 0 else w * h
            o["iscrowd"] = int(draw.below(8) == 0)
            o["segmentation"] = make_mask(draw.below(3), int(x), int(y), int(w), int(h))
            own.append(o)
            annotation += 1
        for _ in range(100 + draw.below(40) if seed % 7 == 0 else draw.below(30)):
            d = {"image_id": picture, "category_id": draw.below(classes)}
            if own and draw.below(3):
                near = own[draw.below(len(own))]
                if draw.below(4):
                    d["category_id"] = near["category_id"]
                x, y, w, h = near["bbox"]
                x, y = x + draw.below(17) / 4 - 2, y + draw.below(17) / 4 - 2
                w, h = max(1.0, w + draw.below(25) / 4 - 3), max(1.0, h + draw.below(25) / 4 - 3)
            else:
                x, y = draw.below(200) + draw.below(4) / 4, draw.below(160) + draw.below(4) / 4
                w, h = make_side(draw), make_side(draw)
            d["bbox"] = [x, y, w, h]
            d["score"] = (1 + draw.below(25)) / 26
            d["segmentation"] = make_mask(draw.below(3), int(x), int(y), int(w), int(h))
            found.append(d)
        objects += own
    return pictures, classes, objects, found, [1, 10, 50] if seed % 10 == 9 else [1, 10, 100]


def compressed(annotation):
    a = dict(annotation)
    a["segmentation"] = mask_utils.frPyObjects(a["segmentation"], HEIGHT, WIDTH)
    return a


def evaluate(pictures, categories, objects, found, most, kind):
    truth = COCO()
    truth.dataset = {"images": [{"id": p, "height": HEIGHT, "width": WIDTH} for p in pictures],
                     "categories": [{"id": c, "name": str(c)} for c in categories],
                     "annotations": [dict(o) for o in objects]}
    truth.createIndex()
    said = [dict(d) for d in found]
    for d in said:
        d.pop("segmentation" if kind == "bbox" else "bbox", None)
    if said:
        results = truth.loadRes(said)
    else:
        results = COCO()
        results.dataset = dict(truth.dataset, annotations=[])
        results.createIndex()
    e = COCOeval(truth, results, kind)
    e.params.maxDets = most
    e.evaluate()
    e.accumulate()
    e.summarize()
    return e


def voc_iou(d, g):
    w = min(d[0] + d[2], g[0] + g[2]) - max(d[0], g[0]) + 1
    h = min(d[1] + d[3], g[1] + g[3]) - max(d[1], g[1]) + 1
    if w <= 0 or h <= 0:
        return 0.0
    return w * h / ((d[2] + 1) * (d[3] + 1) + (g[2] + 1) * (g[3] + 1) - w * h)


def voc_class(objects, found, pictures):
    order = {p: i for i, p in enumerate(sorted(pictures))}
    positives = sum(not o["iscrowd"] for o in objects)
    if not positives:
        return None
    found = sorted(sorted(found, key=lambda d: order[d["image_id"]]), key=lambda d: -d["score"])
    right, wrong, taken = np.zeros(len(found)), np.zeros(len(found)), set()
    for i, d in enumerate(found):
        near = [(voc_iou(d["bbox"], o["bbox"]), o) for o in objects if o["image_id"] == d["image_id"]]
        best = max((iou for iou, _ in near), default=0)
        if best > 0.5:
            o = next(o for iou, o in near if iou == best)
            if o["iscrowd"]:
                continue
            right[i] = o["id"] not in taken
            wrong[i] = o["id"] in taken
            taken.add(o["id"])
        else:
            wrong[i] = 1
    right, wrong = np.cumsum(right), np.cumsum(wrong)
    recall, precision = right / positives, right / np.maximum(right + wrong, np.finfo(float).eps)
    voc07 = sum(max(precision[recall >= t], default=0) for t in np.arange(0, 1.1, 0.1)) / 11
    steps = np.concatenate([[0], recall, [1]])
    envelope = np.maximum.accumulate(np.concatenate([[0], precision, [0]])[::-1])[::-1]
    at = np.where(steps[1:] != steps[:-1])[0]
    return voc07, float(np.sum((steps[at + 1] - steps[at]) * envelope[at + 1]))


def voc(pictures, categories, objects, found):
    each = [voc_class([o for o in objects if o["category_id"] == c], [d for d in found if d["category_id"] == c],
                      pictures) for c in categories]
    each = [e for e in each if e]
    return list(np.mean(each, axis=0)) if each else [float("nan")] * 2


def check_set(first_id):
    """The notes' own: pictures 7, 3, 5 of 200 x 200, classes 1, 4, 9."""
    rows = [(1, 3, 1, 10, 10, 40, 40, 0), (2, 3, 1, 60, 60, 20, 30, 0), (3, 3, 4, 100, 100, 90, 99, 0),
            (4, 5, 1, 0, 0, 100, 100, 1), (5, 5, 1, 120, 120, 30, 30, 0), (6, 7, 4, 20, 20, 50, 20, 0),
            (7, 7, 4, 20, 45, 50, 20, 0)]
    objects = [{"id": i, "image_id": p, "category_id": c, "bbox": [x, y, w, h], "area": w * h, "iscrowd": crowd}
               for i, p, c, x, y, w, h, crowd in rows]
    objects[0]["id"] = first_id
    said = [(3, 1, 12, 10, 40, 40, .9), (3, 1, 11, 11, 40, 40, .8), (3, 1, 60, 62, 20, 30, .6),
            (5, 1, 10, 10, 30, 30, .85), (5, 1, 120, 118, 30, 30, .6), (5, 1, 150, 20, 20, 20, .6),
            (3, 4, 95, 105, 90, 90, .7), (7, 4, 22, 21, 50, 20, .7), (7, 4, 20, 20, 50, 45, .9), (7, 9, 0, 0, 10, 10, .9)]
    found = [{"image_id": p, "category_id": c, "bbox": [x, y, w, h], "score": s} for p, c, x, y, w, h, s in said]
    return [7, 3, 5], [1, 4, 9], objects, found


def write(path):
    lines = []
    for name, first_id, most in (("check", 1, [1, 10, 100]), ("id0", 0, [1, 10, 100]), ("most50", 1, [1, 10, 50])):
        e = evaluate(*check_set(first_id), most, "bbox")
        lines.append((name, "box", list(e.stats)))
        if name == "check":
            p = e.eval["precision"][:, :, :, 0, 2]
            lines.append((name, "class", [np.mean(c[c > -1]) if (c > -1).any() else -1 for c in np.moveaxis(p, 2, 0)]))
    for seed in range(50):
        pictures, classes, objects, found, most = make_set(seed)
        categories = list(range(classes))
        boxes = evaluate(pictures, categories, objects, found, most, "bbox")
        lines.append((seed, "box", list(boxes.stats) + voc(pictures, categories, objects, found)))
        masks = evaluate(pictures, categories, [compressed(o) for o in objects], [compressed(d) for d in found], most,
                         "segm")
        lines.append((seed, "mask", list(masks.stats)))
    with open(path, "w") as out:
        for name, kind, numbers in lines:
            print(name, kind, *("%.12g" % x for x in numbers), file=out)


def measure():
    draw = Draw(1)
    objects, found = [], []
    for picture in range(5000):
        for _ in range(7):
            x, y, w, h = draw.below(500), draw.below(400), 8 + draw.below(120), 8 + draw.below(120)
            objects.append({"id": len(objects) + 1, "image_id": picture, "category_id": draw.below(80),
                            "bbox": [x, y, w, h], "area": w * h, "iscrowd": int(draw.below(50) == 0)})
        own = objects[-7:]
        for _ in range(100):
            near = own[draw.below(7)]
            x, y, w, h = near["bbox"]
            found.append({"image_id": picture, "score": (1 + draw.below(1 << 20)) / (1 << 20),
                          "category_id": near["category_id"] if draw.below(2) else draw.below(80),
                          "bbox": [x + draw.below(9) - 4, y + draw.below(9) - 4, w, h]})
    with contextlib.redirect_stdout(io.StringIO()):
        start = time.time()
        e = evaluate(range(5000), range(80), objects, found, [1, 10, 100], "bbox")
        seconds = time.time() - start
    print("%.2f s, AP %.12g" % (seconds, e.stats[0]))


def check(results, truth, metrics, kind):
    names = "map map50 map75 map_small map_medium map_large ar1 ar10 ar100 ar_small ar_medium ar_large".split()
    said = json.load(open(results))
    if kind == "segm":
        for d in said:  # else pycocotools takes the box's area for the mask's
            d.pop("bbox")
    told = json.load(open(metrics))
    annotations = COCO(truth)
    e = COCOeval(annotations, annotations.loadRes(said), kind)
    e.evaluate()
    e.accumulate()
    e.summarize()
    worst = 0
    for name, value in zip(names, e.stats):
        ours = told[("mask_" if kind == "segm" else "") + name]
        worst = max(worst, abs((-1 if ours is None else ours) - value))
    print("largest difference: %.3g" % worst)
    return int(worst > 1e-9)


if __name__ == "__main__":
    if sys.argv[1:2] == ["--time"]:
        measure()
    elif sys.argv[1:2] == ["--check"]:
        sys.exit(check(*sys.argv[2:5], "segm" if sys.argv[5:] == ["masks"] else "bbox"))
    else:
        write(sys.argv[1] if len(sys.argv) > 1 else GOLDEN)
