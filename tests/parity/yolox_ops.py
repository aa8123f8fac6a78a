"""Golden numbers of YOLOX's ops by themselves, for yolox_nets.py --ops: tests/golden/layers_yolox.safetensors, in detect_ops.py's fields.

Numbers are yolox_network.py's, in double, which yolox_nets.py compares with the reference implementation.
"""
import torch
from torch.nn import functional as F
import yolox_network as net_
from detect_ops import Ops, i32


def cells_of(side):
    maps = [tuple(torch.zeros(1, 1, side // s, side // s) for _ in range(3)) for s in net_.STRIDES]
    return net_.rows(maps)[3]


def anchors_of(cells):
    corner = cells[:, :2] * cells[:, 2:]
    return torch.cat([corner - cells[:, 2:] / 2, corner + cells[:, 2:] / 2], 1)


class Scene:
    """Three pictures: with many objects that crowd each other, with one, and with none."""

    def __init__(self, f, side=64, classes=5):
        self.cells, self.classes, self.most = cells_of(side), classes, 12
        a = len(self.cells)
        self.anchors, self.counts = anchors_of(self.cells), torch.tensor([12, 1, 0])
        size = 6 + f.rand(3, self.most, 2) * 40
        low = f.rand(3, self.most, 2) * (side - size)
        self.boxes = torch.cat([low, low + size], 2)
        self.labels = torch.randint(0, classes, (3, self.most), generator=f.generator)
        self.deltas = f.randn(3, a, 4) * torch.tensor([0.6, 0.6, 0.5, 0.5]) + torch.tensor([0.5, 0.5, 1.0, 1.0]) / self.cells[:, 2:].sqrt() * 2
        near = ((self.cells[:, :2] + 0.5) * self.cells[:, 2:])[None, None] - ((self.boxes[..., :2] + self.boxes[..., 2:]) / 2)[:, :, None]
        for i, o, row in (near.abs().amax(-1) < 1.5 * self.cells[:, 2]).nonzero().tolist():
            self.deltas[i, row] = self.encoded(self.boxes[i, o], row) + 0.15 * f.randn(4)
        self.objectness, self.logits = f.randn(3, a) * 2 - 1, f.randn(3, a, classes) * 2 - 1

    def encoded(self, box, row):
        column, line, stride = self.cells[row]
        return torch.cat([(box[:2] + box[2:]) / 2 / stride - torch.stack([column, line]), ((box[2:] - box[:2]) / stride).log()])

    def assigned(self):
        found = []
        for i, n in enumerate(self.counts.tolist()):
            if n:
                found.append(net_.assign(self.deltas[i].double(), self.objectness[i].double(), self.logits[i].double(), self.cells.double(), self.boxes[i, :n].double(), self.labels[i, :n]))
            else:
                found.append((torch.full((len(self.cells),), -1), torch.zeros(len(self.cells), dtype=torch.float64)))
        return (torch.stack(t) for t in zip(*found))


def add_sim_ota(f, name, s):
    match, iou = s.assigned()
    inputs = [s.logits, s.objectness[..., None].contiguous(), s.deltas, s.anchors, s.boxes, s.labels, s.counts]
    f.case(name, "sim_ota", "", inputs, [i32(match), iou.float()])
    print(f"{name}: {[int((m >= 0).sum()) for m in match]} of {match.shape[1]} cells learn {s.counts.tolist()} objects")
    return match, iou


def add_losses(f, name, s, match, iou):
    own = match >= 0
    n = max(1, int(own.sum()))
    index = match.clamp(min=0)
    target = torch.where(own, s.labels.gather(1, index), -1)
    x = s.logits.clone().requires_grad_(True)
    hot = F.one_hot(target.clamp(min=0), s.classes) * iou.float()[..., None]
    loss = (F.binary_cross_entropy_with_logits(x, hot, reduction="none").sum(-1) * own).sum() / n
    f.case(f"{name}_classes", "anchor_quality_loss", "", [x, target, iou.float()], [loss], x)
    d = s.deltas.clone().requires_grad_(True)
    object_ = s.boxes.gather(1, index[..., None].expand(-1, -1, 4))
    loss = ((1 - net_.overlap(net_.decoded(d, s.cells), object_) ** 2) * own).sum() / n
    f.case(f"{name}_iou", "anchor_box_loss", "kind=squared_iou coder=center_open", [d, s.anchors, s.boxes, i32(match)], [loss], d)


def write():
    f = Ops("yolox")
    s = Scene(f)
    add_losses(f, "crowd", s, *add_sim_ota(f, "crowd", s))
    s = Scene(f)
    s.boxes[0] += 100  # no cell is near, and a large object beside others' cells
    s.boxes[1, 0] = torch.tensor([1.0, 1, 3, 3])
    add_sim_ota(f, "far_away", s)
    s = Scene(f, 32)
    s.boxes[0, 6:] = s.boxes[0, :6]  # twice the same: all but one of them may be left without a cell
    s.labels[0, 6:] = (s.labels[0, :6] + 1) % s.classes
    add_sim_ota(f, "twice", s)

    x, y = f.randn(2, 7, 5) * 3, f.randn(2, 7, 1) * 3
    x[0, 0], x[0, 1, 2:] = 1.5, 40.0
    score, label = x.sigmoid().max(2)
    label[0, 1] = 2
    f.case("best_class", "best_class", "", [x, y], [score * y[..., 0].sigmoid(), i32(label)])
    cells = cells_of(32)
    d = (f.randn(2, len(cells), 4) * 2).requires_grad_(True)
    with torch.no_grad():
        d[0, 0, 2], d[1, 3, 3] = 6.0, 5.5  # larger than other coders allow
    f.case("open", "decode_boxes", "coder=center_open", [d, anchors_of(cells)], [net_.decoded(d, cells)], d)
    f.write()
