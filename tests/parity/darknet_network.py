"""Darknet's networks with [yolo] as in YOLOv3 (Redmon and Farhadi, 2018) for PyTorch, from their .cfg and .weights files: network, losses,
detections, whole batches at a time. What is compared one number at a time is in darknet.py, darknet_torch.py and yolo_ops.py.

usage: darknet_network.py    checks the losses and their gradients against yolo_ops.py's, row by row, and what is found with
                             tests/golden/darknet/yolov3.weights against what Debian's darknet found

A picture is (N, 3, H, W), RGB in 0..1. Boxes are corners in pixels.
"""
import os
import sys

import numpy as np
import torch
import torchvision
from torch import nn
from torch.nn import functional as F

from darknet import HERE, picture, read_cfg

ACTIVATIONS = {"linear": nn.Identity, "leaky": lambda: nn.LeakyReLU(0.1), "relu": nn.ReLU}


def numbers(text):
    return [float(v) for v in text.split(",")]


class Unit(nn.Module):
    """[convolutional]"""

    def __init__(self, c, o, filters):
        super().__init__()
        k, norm = int(o["size"]), o.get("batch_normalize") == "1"
        self.conv = nn.Conv2d(c, filters, k, int(o.get("stride", 1)), k // 2 if o.get("pad") == "1" else 0, bias=not norm)
        nn.init.kaiming_normal_(self.conv.weight)
        self.bn = nn.BatchNorm2d(filters, momentum=0.01) if norm else nn.Identity()
        self.act = ACTIVATIONS[o["activation"]]()

    def forward(self, x):
        return self.act(self.bn(self.conv(x)))


class Pool(nn.Module):
    """[maxpool]: `padding` in all, the smaller half in front."""

    def __init__(self, o):
        super().__init__()
        self.stride = int(o.get("stride", 1))
        self.size = int(o.get("size", self.stride))
        self.padding = int(o.get("padding", self.size - 1))

    def pads(self, n):
        front, count = self.padding // 2, (n + self.padding - self.size) // self.stride + 1
        return front, max(0, (count - 1) * self.stride + self.size - front - n)

    def forward(self, x):
        pads = [*self.pads(x.shape[3]), *self.pads(x.shape[2])]
        return F.max_pool2d(F.pad(x, pads, value=-torch.inf) if any(pads) else x, self.size, self.stride)


class Head:
    """A [yolo]: all anchors of the network, and which are its own."""

    def __init__(self, o):
        flat = numbers(o["anchors"])
        later = [k for k in ("iou_loss", "scale_x_y", "new_coords", "iou_thresh", "max_delta", "label_smooth_eps") if k in o]
        assert not later, f"{later}: darknet_torch.py knows YOLOv4"
        self.anchors = torch.tensor(flat).view(-1, 2)
        self.mask = [int(v) for v in numbers(o["mask"])]
        self.ignore_thresh = float(o.get("ignore_thresh", 0.5))


class Network(nn.Module):
    """Parameters are named as cvrun names them, but that the head's are called `backbone`, too."""

    def __init__(self, cfg, classes):
        super().__init__()
        net, *self.sections = read_cfg(cfg)
        self.heads, self.backbone, channels = {}, nn.ModuleDict(), [int(net[1]["channels"])]
        for i, (kind, o) in enumerate(self.sections):
            c = channels[-1]
            if kind == "convolutional":
                after = self.sections[i + 1] if i + 1 < len(self.sections) else ("", {})
                filters = len(after[1]["mask"].split(",")) * (5 + classes) if after[0] == "yolo" else int(o["filters"])
                self.backbone[str(i)] = Unit(c, o, filters)
                c = filters
            elif kind == "maxpool":
                self.backbone[str(i)] = Pool(o)
            elif kind == "route":
                c = sum(channels[k + 1] for k in self.sources(i))
            elif kind == "yolo":
                self.heads[i] = Head(o)
            else:
                assert kind in ("shortcut", "upsample"), kind
            channels.append(c)

    def sources(self, i):
        o = self.sections[i][1]
        return [k if k >= 0 else i + k for k in map(int, o.get("layers", o.get("from")).split(","))]

    def forward(self, x):
        """[(head, (N, A * (5 + K), h, w))]"""
        values, said = [], []
        for i, (kind, o) in enumerate(self.sections):
            if str(i) in self.backbone:
                x = self.backbone[str(i)](x)
            elif kind == "route":
                parts = [values[k] for k in self.sources(i)]
                x = torch.cat(parts, 1) if len(parts) > 1 else parts[0]
            elif kind == "shortcut":
                x = ACTIVATIONS[o.get("activation", "linear")]()(x + values[self.sources(i)[0]])
            elif kind == "upsample":
                x = F.interpolate(x, scale_factor=float(o.get("stride", 2)), mode="nearest")
            else:
                said.append((self.heads[i], x))
            values.append(x)
        return said

    @torch.no_grad()
    def load(self, path):
        """A .weights file."""
        rest = torch.from_numpy(np.frombuffer(open(path, "rb").read()[20:], "<f4").copy())
        for unit in self.backbone.values():
            if isinstance(unit, Pool):
                continue
            norm = unit.bn
            parts = [norm.bias, norm.weight, norm.running_mean, norm.running_var] if isinstance(norm, nn.BatchNorm2d) else [unit.conv.bias]
            for part in (*parts, unit.conv.weight):
                part.copy_(rest[: part.numel()].view(part.shape))
                rest = rest[part.numel() :]
        assert not len(rest), f"{path} has {len(rest)} numbers too many"
        return self


# ---- what heads say ----


def rows(head, x):
    """(N, h, w, A, 5 + K), and boxes as x, y, w, h in shares of the picture whose size is `size`, (H, W)"""
    n, _, h, w = x.shape
    return x.view(n, len(head.mask), -1, h, w).permute(0, 3, 4, 1, 2)


def boxes_of(head, t, size):
    h, w = t.shape[1:3]
    y, x = torch.meshgrid(torch.arange(h), torch.arange(w), indexing="ij")
    cell, anchors = torch.stack([x, y], -1)[:, :, None], head.anchors[head.mask].to(t)
    return torch.cat([(t[..., :2].sigmoid() + cell) / torch.tensor([w, h]), t[..., 2:4].exp() * anchors / torch.tensor([size[1], size[0]])], -1)


def corners(box):
    return torch.cat([box[..., :2] - box[..., 2:] / 2, box[..., :2] + box[..., 2:] / 2], -1)


# ---- losses ----


def overlap(a, b):
    """IoU of each of a (N, P, 4) with each of b (N, M, 4)"""
    both = (torch.minimum(a[:, :, None, 2:], b[:, None, :, 2:]) - torch.maximum(a[:, :, None, :2], b[:, None, :, :2])).clamp(min=0).prod(-1)
    area = lambda t: (t[..., 2:] - t[..., :2]).prod(-1)
    return both / (area(a)[:, :, None] + area(b)[:, None] - both)


def seats(head, box, there, h, w, size):
    """Of each object (N, M), as x, y, w, h: whether this head learns it, and the row (y * w + x) * A + a that does."""
    side, anchors = box[..., 2:] * torch.tensor([size[1], size[0]]), head.anchors.to(box)
    both = torch.minimum(side[:, :, None], anchors).prod(-1)
    best = (both / (side.prod(-1)[..., None] + anchors.prod(-1) - both)).argmax(-1)
    place = torch.full((len(anchors),), -1)
    place[head.mask] = torch.arange(len(head.mask))
    learns = there & (place[best] >= 0) & (box[..., 2:].amin(-1) >= 1e-3) & (box[..., :2].amin(-1) >= 0) & (box[..., :2].amax(-1) < 1)
    column, row = ((box[..., k] * n).long().clamp(0, n - 1) for k, n in ((0, w), (1, h)))
    return learns, (row * w + column) * len(head.mask) + place[best].clamp(min=0)


def head_losses(head, x, boxes, labels, there, size):
    t = rows(head, x)
    n, h, w, each, _ = t.shape
    whole = torch.tensor([size[1], size[0]]).to(boxes)
    object_ = torch.cat([(boxes[..., :2] + boxes[..., 2:]) / 2 / whole, (boxes[..., 2:] - boxes[..., :2]) / whole], -1)
    with torch.no_grad():
        ious = overlap(corners(boxes_of(head, t, size)).reshape(n, -1, 4), boxes / whole.repeat(2))
        between = ((ious > head.ignore_thresh) & there[:, None]).any(-1)
        learns, row = seats(head, object_, there, h, w, size)
    t = t.reshape(n, h * w * each, -1)
    picture_, j = learns.nonzero(as_tuple=True)
    match = torch.full(t.shape[:2], -1)  # of several objects the last
    match.view(-1).scatter_reduce_(0, picture_ * t.shape[1] + row[picture_, j], j, "amax")
    classes = torch.zeros_like(t[..., 5:])
    classes[picture_, row[picture_, j], labels[picture_, j]] = 1
    own = match >= 0
    picture_, at = own.nonzero(as_tuple=True)
    mine, said, grid = object_[picture_, match[own]], t[own], torch.tensor([w, h])
    anchor = head.anchors[head.mask].to(t)[at % each]
    inside = mine[:, :2] * grid - torch.stack([at // each % w, at // each // w], -1)
    entropy = lambda v, y: F.binary_cross_entropy_with_logits(v, y.to(v), reduction="none")
    box = entropy(said[:, :2], inside).sum(1) + (said[:, 2:4] - (mine[:, 2:] * whole / anchor).log()).square().sum(1) / 2
    objectness = entropy(t[..., 4], own) * (own | ~between)
    return torch.stack([((2 - mine[:, 2:].prod(1)) * box).sum(), objectness.sum(), entropy(said[:, 5:], classes[own]).sum()]) / n


def losses(said, boxes, labels, counts, size):
    """box, objectness, class of boxes (N, M, 4), in pixels of pictures of this size, and labels (N, M)"""
    there = torch.arange(boxes.shape[1]) < counts[:, None]
    boxes, labels = boxes.where(there[..., None], 0), labels.where(there, 0)
    total = sum(head_losses(head, x, boxes, labels, there, size) for head, x in said)
    return dict(zip(("box", "objectness", "class"), total))


# ---- detections ----


def detections(said, size, most=300, threshold=0.005, overlap_=0.45, candidates=3000):
    """As boxes, scores and labels, a dictionary a picture; every class of a box is a detection of its own."""
    boxes, scores, out = [], [], []
    for head, x in said:
        t = rows(head, x)
        boxes.append(corners(boxes_of(head, t, size)).flatten(1, 3) * torch.tensor([size[1], size[0]]).repeat(2))
        scores.append((t[..., 4:5].sigmoid() * t[..., 5:].sigmoid()).flatten(1, 3))
    for box, score in zip(torch.cat(boxes, 1), torch.cat(scores, 1)):
        best, index = score.flatten().topk(min(candidates, score.numel()))
        best, index = best[best > threshold], index[best > threshold]
        row, label = index // score.shape[1], index % score.shape[1]
        kept = torchvision.ops.batched_nms(box[row], best, label, overlap_)[:most]
        bounds = torch.tensor([size[1], size[0]] * 2).to(box)
        out.append({"boxes": box[row[kept]].clamp(min=0).minimum(bounds), "scores": best[kept], "labels": label[kept]})
    return out


class Detector(nn.Module):
    """With the interface of torchvision's detectors: a list of pictures, RGB in 0..1, and of targets with labels from 1 on."""

    def __init__(self, cfg, classes):
        super().__init__()
        self.net = Network(cfg, classes)

    def forward(self, images, targets=None):
        x = torch.stack(images)
        said = [(head, t.float()) for head, t in self.net(x)]
        if not self.training:
            return [f | {"labels": f["labels"] + 1} for f in detections(said, x.shape[2:])]
        counts = torch.tensor([len(t["boxes"]) for t in targets])
        boxes = nn.utils.rnn.pad_sequence([t["boxes"] for t in targets], batch_first=True)
        labels = nn.utils.rnn.pad_sequence([t["labels"] - 1 for t in targets], batch_first=True)
        return losses(said, boxes, labels, counts, x.shape[2:])


# ---- checks ----


def check_losses():
    """The largest difference of a loss and of a gradient, relative, from yolo_ops.py's."""
    import yolo_ops

    torch.manual_seed(1)
    size, worst = [32, 64], 0.0
    layer, head = yolo_ops.Layer(size, [1, 2, 3], ignore_thresh=0.3), Head({"anchors": "5,6,8,14,15,11,30,24", "mask": "1,2,3", "ignore_thresh": "0.3"})
    for _ in range(20):
        x = (torch.randn(3, 24, 2, 4, dtype=torch.float64) * 0.7).requires_grad_(True)
        side = torch.rand(3, 8, 2, dtype=torch.float64) * 20 + 4
        low = torch.rand(3, 8, 2, dtype=torch.float64) * (torch.tensor([64.0, 32.0]) - side)
        boxes, labels, counts = torch.cat([low, low + side], 2), torch.randint(0, 3, (3, 8)), torch.tensor([8, 3, 0])
        boxes[0, 1], boxes[0, 2, 2] = boxes[0, 0] + 0.02, boxes[0, 2, 0] + 0.01  # one cell and anchor for two; too narrow
        mine = losses([(head, x)], boxes, labels, counts, size)
        slopes = [torch.autograd.grad(v, x, retain_graph=True)[0] for v in mine.values()]
        t, cell, anchor, cells = layer.rows(x.detach())
        sums, grads = torch.zeros(3, dtype=torch.float64), [[], [], []]
        for i, n in enumerate(counts.tolist()):
            _, found, grad = yolo_ops.of_picture(layer, t[i].clone().requires_grad_(True), cell, anchor, cells, boxes[i, :n], labels[i, :n])
            sums += torch.stack([v.double() for v in found]) / 3
            for k in range(3):
                grads[k].append(grad[k] / 3)
        for k, v in enumerate(mine.values()):
            back = rows(head, slopes[k]).reshape(3, -1, 8)
            worst = max(worst, abs(v.item() / sums[k].item() - 1), ((back - torch.stack(grads[k])).abs().max() / back.abs().max()).item())
    return worst


def check_found():
    """How far boxes and scores are from those that Debian's darknet printed, and how many there were."""
    net = Network(os.path.join(HERE, "yolov3.cfg"), 3).load(os.path.join(HERE, "yolov3.weights")).eval()
    far, off, n = 0.0, 0.0, 0
    for i in range(2):
        image = torch.from_numpy(picture(i, 64)).permute(2, 0, 1)[None].float() / 255
        with torch.no_grad():
            f = detections(net(image), (64, 64))[0]
        for line in open(os.path.join(HERE, "yolov3.txt")):
            p, label, score, *box = line.split()  # boxes end at the last pixel, not behind it
            if int(p) != i:
                continue
            same = f["labels"] == int(label)
            distance = (f["boxes"].clamp(max=63) - torch.tensor([float(v) for v in box])).abs().amax(1) + 1e3 * ~same
            k = distance.argmin()
            far, off, n = max(far, distance[k].item()), max(off, abs(f["scores"][k].item() - float(score))), n + 1
    return far, off, n


def main():
    torch.set_num_threads(1)
    worst, (far, off, n) = check_losses(), check_found()
    print(f"losses and gradients off by {worst:.1e}; {n} detections of darknet off by {far:.1e} pixels, scores by {off:.1e}")
    sys.exit(worst > 1e-9 or far > 0.02 or off > 1e-4 or n < 50)


if __name__ == "__main__":
    main()
