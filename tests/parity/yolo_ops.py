#!/usr/bin/env python3
"""Golden numbers of the ops of Darknet's [yolo] and [region] by themselves (ops/yolo.h): tests/golden/layers_yolo.safetensors, in
detect_ops.py's fields.

The formulas in double, row by row; derivatives by autograd, losses of overlap by torchvision.ops. What Debian's darknet and networks
make of them is in darknet.py and darknet_torch.py. Needs torch, torchvision, numpy and safetensors.
"""
import torch
from torch.nn import functional as F
from torchvision import ops

from detect_ops import BACKGROUND, BETWEEN, Ops, i32

OVERLAP = {"giou": ops.generalized_box_iou_loss, "diou": ops.distance_box_iou_loss, "ciou": ops.complete_box_iou_loss}
ANCHORS = [(5.0, 6.0), (8.0, 14.0), (15.0, 11.0), (30.0, 24.0)]


class Layer:
    """What a layer of boxes is told; `size` is H, W of the picture, `mask` its anchors of all."""

    def __init__(self, size, mask, **told):
        self.size, self.mask, self.told = size, mask, told
        words = {"ignore_thresh": 0.5, "iou_thresh": 1.0, "scale_x_y": 1.0, "new_coords": "no", "box": "squares", "box_weight": 1.0, "objectness_weight": 1.0, "class_weight": 1.0, "max_delta": 1e9, "label_smooth": 0.0}
        self.__dict__.update({**words, **told})
        self.new = self.new_coords == "yes"

    def settings(self, anchors, *more):
        flat = ",".join(f"{v:g}" for a in anchors for v in a)
        return " ".join([f"size={self.size[0]},{self.size[1]} anchors={flat}", *more, *(f"{k}={v}" for k, v in self.told.items())])

    def rows(self, x):
        """(N, A*(5+K), h, w) -> (N, P, 5+K); cell (P, 2), x first; anchor (P, 2)"""
        n, _, h, w = x.shape
        each = len(self.mask)
        t = x.view(n, each, -1, h, w).permute(0, 3, 4, 1, 2).reshape(n, h * w * each, -1)
        y, x_, _ = torch.meshgrid(torch.arange(h), torch.arange(w), torch.arange(each), indexing="ij")
        anchor = torch.tensor([ANCHORS[m] for m in self.mask], dtype=torch.float64).repeat(h * w, 1)
        return t, torch.stack([x_, y], -1).reshape(-1, 2), anchor, torch.tensor([w, h])

    def boxes(self, t, cell, anchor, cells):
        """x, y, w, h in units of the picture"""
        z, whole = self.scale_x_y, torch.tensor(self.size[::-1], dtype=torch.float64)
        inside = t[..., :2] if self.new else t[..., :2].sigmoid()
        grow = (2 * t[..., 2:4]) ** 2 if self.new else t[..., 2:4].exp()
        return torch.cat([(cell + z * inside - (z - 1) / 2) / cells, grow * anchor / whole], -1)


def corners(box):
    return ops.box_convert(box, "cxcywh", "xyxy")


def decoded(f, name, layer, x, softmax=False):
    t, cell, anchor, cells = layer.rows(x.double())
    box = corners(layer.boxes(t, cell, anchor, cells)) * torch.tensor(layer.size[::-1] * 2)
    pick = (lambda v: v) if layer.new else torch.sigmoid
    classes = t[..., 5:].softmax(-1) if softmax else pick(t[..., 5:])
    settings = layer.settings([ANCHORS[m] for m in layer.mask], *(["softmax=yes"] if softmax else []))
    f.case(name, "yolo_boxes", settings, [x], [box.float(), (pick(t[..., 4:5]) * classes).float()])


def seats(layer, objects, cells):
    """Of each object the rows (cell, place in the mask) that are its own."""
    found = []
    for x1, y1, x2, y2 in objects.tolist():
        side = [(x2 - x1), (y2 - y1)]
        centre = [(x1 + x2) / 2 / layer.size[1], (y1 + y2) / 2 / layer.size[0]]
        if min(side[0] / layer.size[1], side[1] / layer.size[0]) < 1e-3 or min(centre) < 0 or max(centre) >= 1:
            found.append([])
            continue
        both = [min(side[0], a[0]) * min(side[1], a[1]) for a in ANCHORS]
        iou = [b / (side[0] * side[1] + a[0] * a[1] - b) for a, b in zip(ANCHORS, both)]
        at = int(centre[1] * cells[1]) * int(cells[0]) + int(centre[0] * cells[0])
        found.append([at * len(layer.mask) + i for i, m in enumerate(layer.mask) if m == iou.index(max(iou)) or iou[m] > layer.iou_thresh])
    return found


def of_picture(layer, t, cell, anchor, cells, objects, labels):
    """match (P), the three losses, and the gradient of each for t, that of the boxes as ops/yolo.h says."""
    whole = torch.tensor(layer.size[::-1], dtype=torch.float64)
    box = layer.boxes(t, cell, anchor, cells)
    match = torch.full((len(t),), BACKGROUND)
    if len(objects):
        match[ops.box_iou(corners(box.detach()) * whole.repeat(2), objects).amax(1) > layer.ignore_thresh] = BETWEEN
    classes = torch.zeros(len(t), t.shape[1] - 5, dtype=torch.float64)
    for j, rows in enumerate(seats(layer, objects, cells)):
        for row in rows:
            match[row] = j
            classes[row, labels[j]] = 1
    error = (lambda v, y: (v - y) ** 2 / 2) if layer.new else (lambda v, y: F.binary_cross_entropy_with_logits(v, y, reduction="none"))
    own, z = match >= 0, layer.scale_x_y
    target = classes * (1 - layer.label_smooth) + layer.label_smooth / 2
    object_ = objects[match[own]] / whole.repeat(2)
    side, middle = object_[:, 2:] - object_[:, :2], (object_[:, :2] + object_[:, 2:]) / 2
    if layer.box == "squares":
        told = (side * whole / (4 * anchor[own])).sqrt() if layer.new else (side * whole / anchor[own]).log()
        place = (middle * cells - cell[own] + (z - 1) / 2) / z
        loss = z * error(t[own, :2], place).sum(1) + ((t[own, 2:4] - told) ** 2).sum(1) / 2
        found = ((2 - side.prod(1)) * loss).sum() * layer.box_weight
        slope = torch.autograd.grad(found, t)[0] if own.any() else torch.zeros_like(t)
    else:
        free = box[own].detach().requires_grad_(True)
        found = OVERLAP[layer.box](corners(free), object_).sum() * layer.box_weight
        slope = torch.zeros_like(t)
        if own.any():
            grow = torch.ones_like(side) if layer.new else t[own, 2:4].detach().exp()
            slope[own, :4] = torch.autograd.grad(found, free)[0] * torch.cat([torch.ones_like(side), grow], 1)
    slope = slope.clamp(-layer.max_delta, layer.max_delta)
    objectness = (error(t[:, 4], own.double()) * (match != BETWEEN)).sum() * layer.objectness_weight
    of_class = error(t[own, 5:], target[own]).sum() * layer.class_weight
    grads = [slope, *(torch.autograd.grad(v, t, allow_unused=True)[0] for v in (objectness, of_class))]
    return match, [found.detach(), objectness.detach(), of_class.detach()], [torch.zeros_like(t) if g is None else g for g in grads]


def lost(f, name, layer, x, boxes, labels, counts):
    t, cell, anchor, cells = layer.rows(x.double())
    n, gout = len(x), [f.randn() for _ in range(3)]
    match, sums, slope = [], [0.0] * 3, []
    for i, count in enumerate(counts.tolist()):
        m, losses, grads = of_picture(layer, t[i].clone().requires_grad_(True), cell, anchor, cells, boxes[i, :count].double(), labels[i, :count])
        match.append(m)
        sums = [a + b / n for a, b in zip(sums, losses)]
        slope.append(sum(g * v.double() / n for g, v in zip(grads, gout)))
    h, w = x.shape[2:]
    dx = torch.stack(slope).view(n, h, w, len(layer.mask), -1).permute(0, 3, 4, 1, 2).reshape(x.shape)
    settings = layer.settings(ANCHORS, "mask=" + ",".join(map(str, layer.mask)))
    f.case(name, "yolo_loss", settings, [x, boxes, labels, counts], [*(v.float() for v in sums), i32(torch.stack(match))])
    f.tensors[f"{name}/gin0"] = dx.float().numpy().copy()
    for i, v in enumerate(gout):
        f.tensors[f"{name}/gout{i}"] = v.numpy().copy()
    m = torch.stack(match)
    print(f"{name}: {[int((r >= 0).sum()) for r in m]} rows of {m.shape[1]} with objects, {[int((r == BETWEEN).sum()) for r in m]} between")


def scene(f, size, rows=(7, 3, 0), classes=3):
    """Pictures with objects, the last one with none. What stands past the objects is of no account."""
    h, w = size
    boxes, labels = torch.full((len(rows), 8, 4), torch.nan), torch.full((len(rows), 8), 99)
    for i, n in enumerate(rows):
        side = torch.tensor([4.0, 4.0]) + f.rand(n, 2) * 20
        low = f.rand(n, 2) * (torch.tensor([w, h]) - side)
        boxes[i, :n] = torch.cat([low, low + side], 1)
        labels[i, :n] = torch.randint(0, classes, (n,), generator=f.generator)
    for j, other in ((1, 1), (4, 0), (5, 1)):  # of one cell and anchor, each of two classes twice
        boxes[0, j], labels[0, j] = boxes[0, 0] + 0.02 * j, (labels[0, 0] + other) % classes
    boxes[0, 2, 2] = boxes[0, 2, 0] + w * 5e-4  # too narrow
    boxes[0, 3] = torch.tensor([-9.0, 2, 5, 9])  # its centre is outside
    return boxes, labels, torch.tensor(rows)


def main():
    torch.set_num_threads(1)
    f = Ops("yolo")
    size, cells = [32, 64], (2, 4)
    made = lambda n, each, classes=3: f.randn(n, each * (5 + classes), *cells) * 0.7
    decoded(f, "boxes", Layer(size, [0, 1, 2]), made(2, 3))
    decoded(f, "boxes_scaled", Layer(size, [1, 3], scale_x_y=1.2), made(2, 2))
    decoded(f, "boxes_new", Layer(size, [2, 3], scale_x_y=2.0, new_coords="yes"), made(2, 2).sigmoid())
    decoded(f, "boxes_region", Layer(size, [0, 1]), made(2, 2) * 3, softmax=True)

    lost(f, "v3", Layer(size, [0, 1, 2], ignore_thresh=0.3), made(3, 3), *scene(f, size))
    lost(f, "scaled", Layer(size, [1, 3], ignore_thresh=0.3, iou_thresh=0.2, scale_x_y=1.2, box_weight=0.5, objectness_weight=2.0, class_weight=1.5, label_smooth=0.1), made(3, 2), *scene(f, size))
    lost(f, "new", Layer(size, [1, 2, 3], ignore_thresh=0.3, iou_thresh=0.2, scale_x_y=2.0, new_coords="yes"), made(3, 3).sigmoid(), *scene(f, size))
    lost(f, "cut", Layer(size, [0, 1, 2], iou_thresh=0.2, max_delta=0.2), made(3, 3), *scene(f, size))
    for kind in OVERLAP:
        lost(f, kind, Layer(size, [1, 2, 3], box=kind, iou_thresh=0.2, box_weight=0.07), made(3, 3), *scene(f, size))
    lost(f, "ciou_new", Layer(size, [2, 3], box="ciou", iou_thresh=0.2, scale_x_y=2.0, new_coords="yes", box_weight=0.5, max_delta=0.3), made(3, 2).sigmoid(), *scene(f, size))
    lost(f, "nothing", Layer(size, [0, 1], box="ciou"), made(2, 2), *scene(f, size, (4, 0))[:2], torch.tensor([0, 0]))
    f.write()


if __name__ == "__main__":
    main()
