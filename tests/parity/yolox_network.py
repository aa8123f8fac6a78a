"""YOLOX (Ge et al., 2021) for PyTorch, under the names of its published checkpoints: network, SimOTA, losses, detections.

Written from the paper and what tests/parity/yolox_nets.py sees the reference implementation compute; that script compares the two where PyPI's
`yolox` can be imported. A picture is (N, 3, H, W), BGR in 0..255. Cells are (A, 3): column, row and stride.
"""
import math
import torch, torchvision
from torch import nn
from torch.nn import functional as F

MODELS = {"nano": (0.33, 0.25, True), "tiny": (0.33, 0.375, False), "s": (0.33, 0.5, False), "m": (0.67, 0.75, False), "l": (1.0, 1.0, False), "x": (1.33, 1.25, False)}
STRIDES = (8, 16, 32)


class Unit(nn.Module):
    """Convolution, batch norm, SiLU."""

    def __init__(self, c_in, c_out, k, stride=1, groups=1):
        super().__init__()
        self.conv = nn.Conv2d(c_in, c_out, k, stride, k // 2, groups=groups, bias=False)
        self.bn = nn.BatchNorm2d(c_out, eps=1e-3, momentum=0.03)

    def forward(self, x):
        return F.silu(self.bn(self.conv(x)))


class Separable(nn.Module):
    def __init__(self, c_in, c_out, k, stride=1):
        super().__init__()
        self.dconv, self.pconv = Unit(c_in, c_in, k, stride, c_in), Unit(c_in, c_out, 1)

    def forward(self, x):
        return self.pconv(self.dconv(x))


class Bottleneck(nn.Module):
    def __init__(self, c, shortcut, unit):
        super().__init__()
        self.conv1, self.conv2, self.shortcut = Unit(c, c, 1), unit(c, c, 3), shortcut

    def forward(self, x):
        y = self.conv2(self.conv1(x))
        return x + y if self.shortcut else y


class Csp(nn.Module):
    def __init__(self, c_in, c_out, n, shortcut, unit):
        super().__init__()
        half = c_out // 2
        self.conv1, self.conv2, self.conv3 = Unit(c_in, half, 1), Unit(c_in, half, 1), Unit(2 * half, c_out, 1)
        self.m = nn.Sequential(*(Bottleneck(half, shortcut, unit) for _ in range(n)))

    def forward(self, x):
        return self.conv3(torch.cat([self.m(self.conv1(x)), self.conv2(x)], 1))


class Pooling(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv1, self.conv2 = Unit(c, c // 2, 1), Unit(4 * (c // 2), c, 1)

    def forward(self, x):
        x = self.conv1(x)
        return self.conv2(torch.cat([x, *(F.max_pool2d(x, k, 1, k // 2) for k in (5, 9, 13))], 1))


class Stem(nn.Module):
    def __init__(self, c):
        super().__init__()
        self.conv = Unit(12, c, 3)

    def forward(self, x):
        return self.conv(torch.cat([x[..., row::2, column::2] for column in (0, 1) for row in (0, 1)], 1))


class Trunk(nn.Module):
    def __init__(self, n, c, unit):
        super().__init__()
        self.stem = Stem(c)
        for i, (depth, pooled) in enumerate([(n, False), (3 * n, False), (3 * n, False), (n, True)]):
            wide = c << (i + 1)
            parts = [unit(c << i, wide, 3, 2), *([Pooling(wide)] if pooled else []), Csp(wide, wide, depth, not pooled, unit)]
            setattr(self, f"dark{i + 2}", nn.Sequential(*parts))

    def forward(self, x):
        maps = [self.dark3(self.dark2(self.stem(x)))]
        maps.append(self.dark4(maps[-1]))
        return [*maps, self.dark5(maps[-1])]


class Aggregation(nn.Module):
    def __init__(self, depth, width, unit):
        super().__init__()
        a, b, c = (int(channels * width) for channels in (256, 512, 1024))
        n = round(3 * depth)
        self.backbone = Trunk(max(n, 1), int(64 * width), unit)
        self.lateral_conv0, self.C3_p4 = Unit(c, b, 1), Csp(2 * b, b, n, False, unit)
        self.reduce_conv1, self.C3_p3 = Unit(b, a, 1), Csp(2 * a, a, n, False, unit)
        self.bu_conv2, self.C3_n3 = unit(a, a, 3, 2), Csp(2 * a, b, n, False, unit)
        self.bu_conv1, self.C3_n4 = unit(b, b, 3, 2), Csp(2 * b, c, n, False, unit)

    def forward(self, x):
        fine, middle, coarse = self.backbone(x)
        twice = lambda t: F.interpolate(t, scale_factor=2.0, mode="nearest")
        low = self.lateral_conv0(coarse)
        half = self.reduce_conv1(self.C3_p4(torch.cat([twice(low), middle], 1)))
        out = [self.C3_p3(torch.cat([twice(half), fine], 1))]
        out.append(self.C3_n3(torch.cat([self.bu_conv2(out[0]), half], 1)))
        return [*out, self.C3_n4(torch.cat([self.bu_conv1(out[1]), low], 1))]


class Head(nn.Module):
    def __init__(self, classes, width, unit):
        super().__init__()
        c = int(256 * width)
        tower = lambda: nn.ModuleList(nn.Sequential(unit(c, c, 3), unit(c, c, 3)) for _ in STRIDES)
        last = lambda n: nn.ModuleList(nn.Conv2d(c, n, 1) for _ in STRIDES)
        self.stems = nn.ModuleList(Unit(int(channels * width), c, 1) for channels in (256, 512, 1024))
        self.cls_convs, self.reg_convs = tower(), tower()
        self.cls_preds, self.reg_preds, self.obj_preds = last(classes), last(4), last(1)
        for module in (*self.cls_preds, *self.obj_preds):
            nn.init.constant_(module.bias, -math.log(99))

    def forward(self, maps):
        """deltas, objectness and classes of each map, (N, ., h, w)"""
        out = []
        for i, x in enumerate(maps):
            x = self.stems[i](x)
            box = self.reg_convs[i](x)
            out.append((self.reg_preds[i](box), self.obj_preds[i](box), self.cls_preds[i](self.cls_convs[i](x))))
        return out


class Yolox(nn.Module):
    def __init__(self, depth, width, depthwise, classes):
        super().__init__()
        unit = Separable if depthwise else Unit
        self.backbone, self.head = Aggregation(depth, width, unit), Head(classes, width, unit)

    def forward(self, image):
        return self.head(self.backbone(image))


def make(size, classes):
    return Yolox(*MODELS[size], classes)


# ---- what heads say ----


def rows(said):
    """deltas (N, A, 4), objectness (N, A), classes (N, A, K), cells (A, 3)"""
    flat = [torch.cat([maps[i].flatten(2).transpose(1, 2) for maps in said], 1) for i in range(3)]
    cells = []
    for stride, (deltas, _, _) in zip(STRIDES, said):
        row, column = torch.meshgrid(*(torch.arange(n) for n in deltas.shape[2:]), indexing="ij")
        cells.append(torch.stack([column, row, torch.full_like(row, stride)], -1).view(-1, 3))
    return flat[0], flat[1][..., 0], flat[2], torch.cat(cells).to(flat[0])


def decoded(deltas, cells):
    """x1, y1, x2, y2"""
    centre, side = (deltas[..., :2] + cells[:, :2]) * cells[:, 2:], deltas[..., 2:].exp() * cells[:, 2:]
    return torch.cat([centre - side / 2, centre + side / 2], -1)


def overlap(a, b):
    """IoU of boxes that are compared one to one; broadcasts."""
    low, high = torch.maximum(a[..., :2], b[..., :2]), torch.minimum(a[..., 2:], b[..., 2:])
    both = (high - low).prod(-1) * (low < high).all(-1)
    area = lambda t: (t[..., 2:] - t[..., :2]).prod(-1)
    return both / (area(a) + area(b) - both + 1e-16)


# ---- SimOTA ----


@torch.no_grad()
def assign(deltas, objectness, classes, cells, boxes, labels):
    """Of one picture: the object of each cell, -1 where there is none, and the IoU with it."""
    match, iou = torch.full(objectness.shape, -1), torch.zeros_like(objectness)
    at = (cells[:, :2] + 0.5) * cells[:, 2:]
    near = ((at[None] - ((boxes[:, :2] + boxes[:, 2:]) / 2)[:, None]).abs() < 1.5 * cells[None, :, 2:]).all(-1)  # (M, A)
    candidates = near.any(0).nonzero().flatten()
    if not len(candidates):
        return match, iou
    ious = overlap(boxes[:, None], decoded(deltas[candidates], cells[candidates])[None])
    p = (classes[candidates].sigmoid() * objectness[candidates, None].sigmoid()).sqrt()
    hot = F.one_hot(labels, classes.shape[1]).to(p)
    entropy = F.binary_cross_entropy(p[None].expand(len(boxes), -1, -1), hot[:, None].expand(-1, len(candidates), -1), reduction="none").sum(-1)
    cost = entropy - 3 * (ious + 1e-8).log() + 1e6 * ~near[:, candidates]
    takes = torch.zeros_like(cost, dtype=torch.bool)
    for o, k in enumerate(ious.topk(min(10, len(candidates)), 1).values.sum(1).int().clamp(min=1).tolist()):
        takes[o, cost[o].topk(k, largest=False).indices] = True
    several = takes.sum(0) > 1
    takes[:, several] = F.one_hot(cost.argmin(0), len(boxes)).T.bool()[:, several]
    taken = takes.any(0)
    match[candidates[taken]] = takes.int().argmax(0)[taken]
    iou[candidates[taken]] = (takes * ious).sum(0)[taken]
    return match, iou


def losses(said, boxes, labels, counts, closing):
    """The four losses, and what every cell was assigned, (N, A) each."""
    deltas, objectness, classes, cells = rows(said)
    found = [assign(deltas[i], objectness[i], classes[i], cells, boxes[i, :n].to(deltas), labels[i, :n]) for i, n in enumerate(counts.tolist())]
    match, quality = (torch.stack(t) for t in zip(*found))
    own = match >= 0
    n = max(1, int(own.sum()))
    index = match.clamp(min=0)
    object_ = boxes.to(deltas).gather(1, index[..., None].expand(-1, -1, 4))[own]
    target = F.one_hot(labels.gather(1, index)[own], classes.shape[2]) * quality[own][:, None]
    cell = cells.expand(len(deltas), -1, -1)[own]
    iou = overlap(decoded(deltas, cells)[own], object_)
    centre, side = (object_[:, :2] + object_[:, 2:]) / 2 / cell[:, 2:] - cell[:, :2], (object_[:, 2:] - object_[:, :2]) / cell[:, 2:]
    entropy = lambda x, t: F.binary_cross_entropy_with_logits(x, t, reduction="sum") / n
    return {
        "iou": 5 * (1 - iou**2).sum() / n,
        "conf": entropy(objectness, own.to(objectness)),
        "cls": entropy(classes[own], target.to(classes)),
        "l1": closing * (deltas[own] - torch.cat([centre, (side + 1e-8).log()], -1)).abs().sum() / n,
    }, match, quality


# ---- detections ----


def detections(said, sizes, most=None, threshold=0.01, overlap_=0.65):
    """As lists of boxes, scores and labels, one a picture; boxes are cut to the picture at the end."""
    deltas, objectness, classes, cells = rows(said)
    score, label = classes.sigmoid().max(2)
    score, boxes, out = score * objectness.sigmoid(), decoded(deltas, cells), []
    for i, (height, width) in enumerate(sizes.tolist()):
        kept = (score[i] >= threshold).nonzero().flatten()
        kept = kept[torchvision.ops.batched_nms(boxes[i, kept], score[i, kept], label[i, kept], overlap_)][:most]
        bounds = torch.tensor([width, height, width, height]).to(boxes)
        out.append({"boxes": boxes[i, kept].clamp(min=0).minimum(bounds), "scores": score[i, kept], "labels": label[i, kept]})
    return out


class Detector(nn.Module):
    """With the interface of torchvision's detectors: a list of pictures, RGB in 0..1, and of targets with labels from 1 on."""

    def __init__(self, size, classes):
        super().__init__()
        self.net = make(size, classes)

    def forward(self, images, targets=None):
        said = [tuple(t.float() for t in maps) for maps in self.net(torch.stack(images).flip(1) * 255)]
        if not self.training:
            found = detections(said, torch.tensor([image.shape[1:] for image in images]), 300)
            return [f | {"labels": f["labels"] + 1} for f in found]
        counts = torch.tensor([len(t["boxes"]) for t in targets])
        boxes = nn.utils.rnn.pad_sequence([t["boxes"] for t in targets], batch_first=True)
        labels = nn.utils.rnn.pad_sequence([t["labels"] - 1 for t in targets], batch_first=True)
        return losses(said, boxes, labels, counts, 0.0)[0]
