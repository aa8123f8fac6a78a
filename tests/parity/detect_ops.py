#!/usr/bin/env python3
"""Numbers from torchvision for the ops of object detection (ops/detect.h).

Writes tests/golden/layers_detect.safetensors, in the fields that layers_b.py describes. Needs torch, torchvision, numpy
and safetensors. The same versions give the same bytes.
"""
import types

import numpy as np
import torch
import torchvision
from torchvision.models.detection import _utils, anchor_utils, fcos, image_list

from layers_b import GOLDEN, Family, text

torch.set_num_threads(1)
ops = torchvision.ops
BACKGROUND, BETWEEN = -1, -2


class Ops(Family):
    """Cases of ops: several outputs, of which only those that `gradient` names have one."""

    def case(self, name, op, settings, inputs, outputs, gradient=None):
        def put(field, t):
            t = t.detach().numpy() if isinstance(t, torch.Tensor) else np.asarray(t)
            self.tensors[f"{name}/{field}"] = np.array(t, order="C", copy=True)

        assert f"{name}/layer" not in self.tensors, name
        put("layer", text(f"op:{op}@*" if len(outputs) > 1 else f"op:{op}"))
        put("settings", text(settings))
        put("train", np.array(1, dtype=np.int64))
        for i, x in enumerate(inputs):
            put(f"in{i}", x)
        for i, y in enumerate(outputs):
            put(f"out{i}", y)
        if gradient is not None:
            gout = self.randn(*outputs[0].shape)
            outputs[0].backward(gout)
            put("gout0", gout)
            put("gin0", gradient.grad)

    def boxes(self, *shape, side=100.0, whole=False):
        a, b = self.rand(*shape, 2) * side, self.rand(*shape, 2) * side
        boxes = torch.cat([torch.minimum(a, b), torch.maximum(a, b)], -1)
        return boxes.round() if whole else boxes


def i32(x):
    return torch.as_tensor(x).to(torch.int32)


# ---- anchors ----


def images(n, h, w, maps):
    return image_list.ImageList(torch.zeros(n, 3, h, w), [(h, w)] * n), [torch.zeros(n, 1, *m) for m in maps]


def bytes_of(images):
    """Only their shape is read."""
    return images.tensors[:, :1].byte()


def anchors(f):
    def grid(name, size, cells, sizes, ratios):
        generator = anchor_utils.AnchorGenerator((tuple(sizes),), (tuple(ratios),))
        pictures, maps = images(1, *size, [cells])
        words = ",".join(map(str, sizes)), ",".join(map(str, ratios))
        f.case(name, "grid_anchors", f"sizes={words[0]} ratios={words[1]}", [bytes_of(pictures), maps[0]],
               [generator(pictures, maps)[0]])

    for i, size in enumerate((32, 64, 128, 256, 512)):
        grid(f"anchors_fpn{i}", (13, 21), (3, 4), [size], [0.5, 1.0, 2.0])
    for i, s in enumerate((32, 64, 128, 256, 512)):
        grid(f"anchors_retinanet{i}", (8, 8), (1, 2), [s, int(s * 2 ** (1 / 3)), int(s * 2 ** (2 / 3))], [0.5, 1.0, 2.0])
    grid("anchors_mobilenet", (9, 9), (2, 1), (32, 64, 128, 256, 512), (0.5, 1.0, 2.0))
    grid("anchors_fcos", (32, 40), (4, 5), [8], [1.0])

    ssd = anchor_utils.DefaultBoxGenerator([[2], [2, 3], [2, 3], [2, 3], [2], [2]],
                                           scales=[.07, .15, .33, .51, .69, .87, 1.05], steps=[8, 16, 32, 64, 100, 300])
    lite = anchor_utils.DefaultBoxGenerator([[2, 3]] * 6, min_ratio=0.2, max_ratio=0.95)
    # small pictures: 8732 and 3234 boxes are counted by detect_ops_test
    for label, g, side, cells in (("ssd", ssd, 30, (4, 3, 2, 2, 1, 1)), ("ssdlite", lite, 32, (3, 3, 2, 2, 1, 1))):
        pictures, maps = images(1, side, side + 3, [(c, c + 1) for c in cells])
        every, at = g(pictures, maps)[0], 0
        for k, c in enumerate(cells):
            n = c * (c + 1) * (2 + 2 * len(g.aspect_ratios[k]))
            ratios = ",".join(map(str, g.aspect_ratios[k]))
            step = f" step={g.steps[k]}" if g.steps else ""
            f.case(f"boxes_{label}{k}", "default_boxes",
                   f"scale={g.scales[k]!r} next_scale={g.scales[k + 1]!r} ratios={ratios}{step}",
                   [bytes_of(pictures), maps[k]], [every[at:at + n]])
            at += n
    wide = anchor_utils.DefaultBoxGenerator([[2]], scales=[0.9, 1.3], clip=False)
    pictures, maps = images(2, 20, 30, [(2, 3)])
    f.case("boxes_unclipped", "default_boxes", "scale=0.9 next_scale=1.3 ratios=2 clip=no", [bytes_of(pictures), maps[0]],
           [wide(pictures, maps)[0]])


# ---- coder ----


def coder(f):
    four = _utils.BoxCoder((10.0, 10.0, 5.0, 5.0))
    anchor = torch.tensor([[10.0, 10, 30, 50]])
    box, delta = torch.tensor([[12.0, 8, 40, 50]]), torch.tensor([[1.0, -2, 50, 0.5]])
    f.case("encode_check", "encode_boxes", "weights=10,10,5,5", [box[None], anchor], [four.encode_single(box, anchor)[None]])
    f.case("decode_check", "decode_boxes", "weights=10,10,5,5", [delta[None], anchor],
           [four.decode_single(delta, anchor)[None]])
    for name, weights in (("rpn", (1.0, 1.0, 1.0, 1.0)), ("roi", (10.0, 10.0, 5.0, 5.0))):
        c, words = _utils.BoxCoder(weights), ",".join(str(int(w)) for w in weights)
        anchor, box = f.boxes(2, 7), f.boxes(2, 7) + torch.tensor([0.0, 0, 1, 1])
        f.case(f"encode_{name}", "encode_boxes", f"weights={words}", [box, anchor],
               [torch.stack([c.encode_single(b, a) for b, a in zip(box, anchor)])])
        delta = (f.randn(2, 7, 12) * 3).requires_grad_()
        f.case(f"decode_{name}", "decode_boxes", f"weights={words}", [delta, anchor],
               [torch.stack([c.decode_single(d, a) for d, a in zip(delta, anchor)])], gradient=delta)
    linear = _utils.BoxLinearCoder()
    anchor, box = f.boxes(7) + torch.tensor([0.0, 0, 1, 1]), f.boxes(2, 7)
    f.case("encode_ltrb", "encode_boxes", "coder=ltrb", [box, anchor],
           [torch.stack([linear.encode(anchor, b) for b in box])])
    delta = f.randn(2, 7, 4).requires_grad_()
    f.case("decode_ltrb", "decode_boxes", "coder=ltrb", [delta, anchor],
           [torch.stack([linear.decode(d, anchor) for d in delta])], gradient=delta)
    boxes, size = f.randn(2, 9, 8) * 50, torch.tensor([[20.0, 30], [40, 10]])
    f.case("clip", "clip_boxes", "", [boxes, size],
           [torch.stack([ops.clip_boxes_to_image(b.view(-1, 4), tuple(s.tolist())).view(9, 8) for b, s in zip(boxes, size)])])


# ---- overlap and matching ----


def overlap(f):
    pair = torch.tensor([[0.0, 0, 10, 10], [5, 5, 15, 20]])
    f.case("iou_check", "box_iou", "", [pair, pair[None]], [ops.box_iou(pair, pair)[None]])
    a, b = f.boxes(2, 9), f.boxes(2, 5)
    a[0, 0, 2:] = a[0, 0, :2]  # empty: 0 / something, and 0 / 0 with the next
    b[0, 0] = a[0, 0]
    f.case("iou", "box_iou", "", [a, b], [torch.stack([ops.box_iou(x, y) for x, y in zip(a, b)])])
    counts = torch.tensor([2, 0])
    masked = torch.stack([ops.box_iou(x, y) for x, y in zip(a, b)]) * (torch.arange(5) < counts[:, None])[:, None]
    masked[~(torch.arange(5) < counts[:, None])[:, None].expand_as(masked)] = 0
    f.case("iou_padded", "box_iou", "", [a, b, counts], [masked])


def matched(matcher, anchor, boxes, counts):
    rows = []
    for a, b, n in zip(anchor if anchor.dim() == 3 else [anchor] * len(boxes), boxes, counts):
        rows.append(matcher(ops.box_iou(b[:n], a)) if n else torch.full((len(a),), BACKGROUND))
    return i32(torch.stack(rows))


def search_boxes(f, objects, wanted):
    """A box with about these overlaps, by random steps."""
    best, far = None, 9.0
    for i in range(12000):
        box = f.boxes(1, side=20)[0] - 4 if i < 3000 else best + f.randn(4) * 0.999 ** (i - 3000)
        if (box[2:] - box[:2]).min() <= 0.1:
            continue
        d = (ops.box_iou(box[None], objects)[0] - torch.tensor(wanted)).abs().max().item()
        if d < far:
            best, far = box, d
    assert far < 0.03, (wanted, far)
    return best


def matching(f):
    rpn = _utils.Matcher(0.7, 0.3, allow_low_quality_matches=True)
    # the anchors of a hand-made table of overlaps; number 4 is the best of both objects
    objects = torch.tensor([[0.0, 0, 10, 10], [0, 4, 10, 14]])
    table = [(.1, .2), (.5, .1), (.5, .6), (.2, .2), (.75, .65), (0.0, 0.0)]
    rows = [torch.tensor([50.0, 50, 60, 60]) if not any(t) else search_boxes(f, objects, t) for t in table]
    got = matched(rpn, torch.stack(rows), objects[None], [2])
    assert got.tolist() == [[-1, -2, -2, -1, 0, -1]], got
    assert rpn(torch.tensor(table).T).tolist() == got[0].tolist()
    f.case("match_check", "match_boxes", "high=0.7 low=0.3 low_quality=yes", [torch.stack(rows), objects[None], [2]], [got])
    counts = torch.tensor([4, 1, 0])
    kinds = {
        "rpn": (rpn, "high=0.7 low=0.3 low_quality=yes"),
        "roi": (_utils.Matcher(0.5, 0.5), "high=0.5 low=0.5"),
        "retinanet": (_utils.Matcher(0.5, 0.4, allow_low_quality_matches=True), "high=0.5 low=0.4 low_quality=yes"),
        "ssd": (_utils.SSDMatcher(0.5), "high=0.5 low=0.5 each_best=yes"),
    }
    for name, (matcher, settings) in kinds.items():
        # whole numbers: many are equal; the last object lies outside all anchors
        shared, own = f.boxes(60, side=6, whole=True), f.boxes(3, 60, side=9)
        boxes = f.boxes(3, 4, side=6, whole=True) + torch.tensor([0.0, 0, 1, 1])
        boxes[0, 3] = torch.tensor([90.0, 90, 95, 95])
        shared[:, 2:] += 1
        f.case(f"match_{name}", "match_boxes", settings, [shared, boxes, counts], [matched(matcher, shared, boxes, counts)])
        f.case(f"match_{name}_own", "match_boxes", settings, [own, boxes, counts], [matched(matcher, own, boxes, counts)])
        valid = i32([60, 7, 20])
        part = torch.full((3, 60), BETWEEN, dtype=torch.int32)
        for n in range(3):
            part[n, :valid[n]] = matched(matcher, own[n:n + 1, :valid[n]], boxes[n:n + 1], counts[n:n + 1])[0]
        f.case(f"match_{name}_valid", "match_boxes", settings, [own, boxes, counts, valid], [part])


def points(f):
    ends, anchor = [], []
    for stride in (8, 16, 32):
        cells = 96 // stride
        y, x = torch.meshgrid(torch.arange(cells) * float(stride), torch.arange(cells) * float(stride), indexing="ij")
        centre = torch.stack([x, y, x, y], -1).view(-1, 4)
        anchor.append(centre + torch.tensor([-1.0, -1, 1, 1]) * stride / 2)
        ends.append(len(anchor[-1]) + (ends[-1] if ends else 0))
    anchor = torch.cat(anchor)
    sizes = [b - a for a, b in zip([0] + ends, ends)]
    boxes, counts = f.boxes(3, 6, side=96, whole=True), torch.tensor([6, 2, 0])
    boxes[0, 1] = boxes[0, 0] + torch.tensor([8.0, 8, 8, 8])  # equal areas: the first
    boxes[0, 3:5] = torch.tensor([[2.0, 2, 3000, 3000], [2, 2, 3000, 3000.001]])  # equal only as float(1e8 - area)
    seen = {}
    fake = types.SimpleNamespace(center_sampling_radius=1.5,
                                 head=types.SimpleNamespace(compute_loss=lambda t, h, a, m: seen.update(m=m)))
    targets = [{"boxes": b[:n]} for b, n in zip(boxes, counts)]
    fcos.FCOS.compute_loss(fake, targets, {}, [anchor] * 3, sizes)
    words = ",".join(map(str, ends))
    f.case("points", "match_points", f"radius=1.5 level_ends={words}", [anchor, boxes, counts], [i32(torch.stack(seen["m"]))])
    fcos.FCOS.compute_loss(fake, targets[:1], {}, [anchor], [ends[-1]])
    f.case("points_one_level", "match_points", f"radius=1.5 level_ends={ends[-1]}", [anchor, boxes[:1], counts[:1]],
           [i32(torch.stack(seen["m"]))])


# ---- choosing rows ----


def rows(f):
    match = i32(torch.randint(-2, 3, (3, 40), generator=f.generator))
    match[1] = BETWEEN
    match[2, 5:] = BETWEEN
    for b, fraction in ((16, 0.25), (16, 0.5), (7, 0.5), (64, 0.25), (5, 1.0), (5, 0.0)):
        index, count = torch.zeros(3, b, dtype=torch.int32), torch.zeros(3, dtype=torch.int32)
        for n in range(3):
            positive, negative = torch.where(match[n] >= 0)[0], torch.where(match[n] == BACKGROUND)[0]
            positive = positive[:int(b * fraction)]
            taken = torch.cat([positive, negative[:b - len(positive)]]).sort().values
            count[n] = len(taken)
            index[n] = taken[torch.arange(b) % len(taken)] if len(taken) else 0
        f.case(f"sample_{b}_{fraction}", "sample_rows", f"rows={b} positive_fraction={fraction} draw=first",
               [match, torch.tensor(3), torch.tensor(4)], [index, count])
    index = i32(torch.randint(-2, 6, (2, 9), generator=f.generator))
    for name, shape, shared in (("rows", (2, 6, 3), 0), ("numbers", (2, 6), 0), ("shared", (6, 4), 1), ("shared_numbers", (6,), 1)):
        x = f.randn(*shape).requires_grad_()
        every = x.expand(2, *shape) if shared else x
        y = torch.stack([e[i.clamp(min=0).long()] * (i >= 0).float().view(-1, *[1] * (e.dim() - 1)) for e, i in zip(every, index)])
        f.case(f"gather_{name}", "gather_rows", "shared=yes" if shared else "", [x, index], [y], gradient=x)
    for name, dtype in (("i64", torch.int64), ("i32", torch.int32), ("u8", torch.uint8)):
        x = torch.randint(0, 99, (2, 6), generator=f.generator).to(dtype)
        y = torch.stack([e[i.clamp(min=0).long()] * (i >= 0) for e, i in zip(x, index)])
        f.case(f"gather_{name}", "gather_rows", "", [x, index], [y.to(dtype)])
    a, b, na, nb = f.randn(3, 4, 4), f.randn(3, 2, 4), i32([4, 0, 2]), torch.tensor([1, 0, 2])
    joined = torch.zeros(3, 6, 4)
    for n in range(3):
        joined[n, :na[n] + nb[n]] = torch.cat([a[n, :na[n]], b[n, :nb[n]]])
    f.case("append", "append_rows", "", [a, na, b, nb], [joined, i32(na + nb)])
    match, count = i32([[3, -1, -2, 0], [1, 1, 0, -1]]), i32([4, 1])
    f.case("cut", "cut_match", "", [match, count], [i32([[3, -1, -2, 0], [1, -2, -2, -2]])])
    x = f.randn(2, 300)
    x[:, ::3] = x[:, ::3].round()  # ties, and 0 beside -0
    x[1, 7] = float("-inf")
    for k, above in ((1, None), (40, None), (300, None), (40, 0.5), (40, 2.0), (300, -9.0), (9, 99.0)):
        values, index = x.sort(descending=True, stable=True)
        values, index = values[:, :k].clone(), index[:, :k].clone()
        count = (values > above).sum(1) if above is not None else torch.tensor([k, k])
        assert above is not None or torch.equal(values, torch.topk(x, k).values)
        past = torch.arange(k) >= count[:, None]
        values[past], index[past] = 0, -1
        more = f" above=yes threshold={above}" if above is not None else ""
        f.case(f"top_{k}_{above}", "top_k", f"k={k}{more}", [x], [values, i32(index), i32(count)])


def kept(lists, most):
    index, count = torch.full((len(lists), most), -1, dtype=torch.int32), torch.zeros(len(lists), dtype=torch.int32)
    for n, rows in enumerate(lists):
        rows = rows[:most]
        index[n, :len(rows)], count[n] = rows.int(), len(rows)
    return [index, count]


def suppression(f):
    boxes = torch.tensor([[0.0, 0, 10, 10], [0, 0, 10, 5], [1, 0, 10, 10], [20, 20, 30, 30], [20, 20, 30, 30],
                          [5, 5, 5, 9], [5, 5, 5, 9]])
    scores, classes = torch.tensor([.5, .9, .5, .7, .7, .6, .6]), torch.tensor([1, 1, 2, 1, 2, 1, 1])
    for thr, want in ((0.5, [1, 3, 5, 6, 0]), (0.499, [1, 3, 5, 6, 2])):
        got = ops.nms(boxes, scores, thr)
        assert got.tolist() == want, got
        f.case(f"nms_check_{thr}", "nms", f"iou_threshold={thr} max_out=7", [boxes[None], scores[None]], kept([got], 7))
    got = ops.batched_nms(boxes, scores, classes, 0.5)
    assert got.tolist() == [1, 3, 4, 5, 6, 0, 2], got
    f.case("nms_check_batched", "nms", "iou_threshold=0.5 max_out=9", [boxes[None], scores[None], i32(classes[None])],
           kept([got], 9))
    # an IoU of float(0.1), which is above 0.1
    pair, two = torch.tensor([[0.0, 0, 10, 1], [9, 0, 10, 1]]), torch.tensor([.9, .8])
    f.case("nms_check_double", "nms", "iou_threshold=0.1 max_out=2", [pair[None], two[None]], kept([ops.nms(pair, two, 0.1)], 2))
    boxes, scores = f.boxes(3, 60, side=14, whole=True), (f.rand(3, 60) * 20).round() / 20
    for thr in (0.0, 0.3, 0.5, 0.9):
        got = [ops.nms(b, s, thr) for b, s in zip(boxes, scores)]
        f.case(f"nms_{thr}", "nms", f"iou_threshold={thr} max_out=60", [boxes, scores], kept(got, 60))
    got = [ops.nms(b, s, 0.5) for b, s in zip(boxes, scores)]
    f.case("nms_most", "nms", "iou_threshold=0.5 max_out=11", [boxes, scores], kept(got, 11))

    def chosen(b, s, above, side, method=None, groups=None, thr=0.5, valid=None):
        keep = torch.where((s > above) & (torch.arange(len(s)) < (len(s) if valid is None else valid)))[0]
        keep = keep[ops.remove_small_boxes(b[keep], side)]
        if groups is None:
            return keep[ops.nms(b[keep], s[keep], thr)]
        call = {"offset": ops.boxes._batched_nms_coordinate_trick, "loop": ops.boxes._batched_nms_vanilla,
                "auto": ops.batched_nms}[method]
        if method == "auto" and len(keep) > 1000:
            assert len(keep) * 4 > 4000
        keep = keep[call(b[keep], s[keep], groups[keep], thr)].sort().values
        return keep[s[keep].sort(descending=True, stable=True).indices]  # the loop's own order of equal scores is open

    f.case("nms_chosen", "nms", "iou_threshold=0.5 max_out=99 score_threshold=0.3 min_size=4", [boxes, scores],
           kept([chosen(b, s, 0.3, 4) for b, s in zip(boxes, scores)], 99))
    group, valid = i32(torch.randint(0, 4, (3, 60), generator=f.generator)), i32([60, 20, 0])
    f.case("nms_valid", "nms", "iou_threshold=0.3 max_out=99 score_threshold=0.1", [boxes, scores, group, valid],
           kept([chosen(b, s, 0.1, 0, "auto", g, 0.3, v) for b, s, g, v in zip(boxes, scores, group, valid)], 99))
    flat = torch.arange(60) % 5
    for method in ("auto", "offset", "loop"):
        lists = [chosen(b, torch.where(flat > 0, s, torch.tensor(-1.0)), 0.05, 1, method, flat, 0.4) for b, s in zip(boxes, scores)]
        f.case(f"nms_flat_{method}", "nms",
               f"iou_threshold=0.4 max_out=60 score_threshold=0.05 min_size=1 n_groups=5 background=yes method={method}",
               [boxes, scores], kept(lists, 60))
    # far from 0, an offset costs digits: the ways differ, and the switch lies at 1000 candidates
    for n in (1000, 1001):
        at, side = f.rand(n, 2) * 1300, f.rand(n, 2) * 3 + 4
        b = torch.cat([at, at + side], -1)
        by = (b[:, 2] - b[:, 0]) * 0.3 / 1.7 + f.randn(n) * 1e-3  # about an IoU of 0.7 with its neighbour
        b[n // 2:] = (b + torch.stack([by, by * 0, by, by * 0], 1))[:n - n // 2]
        s, g = f.rand(n), torch.randint(0, 90, (n,), generator=f.generator)
        g[n // 2:] = g[:n - n // 2].clone()
        ways = {m: chosen(b, s, -1, 0, m, g, 0.7) for m in ("auto", "offset", "loop")}
        assert not torch.equal(ways["offset"], ways["loop"]), "the ways agree: draw others"
        assert torch.equal(ways["auto"], ways["loop" if n > 1000 else "offset"])
        f.case(f"nms_switch_{n}", "nms", f"iou_threshold=0.7 max_out={n}", [b[None], s[None], i32(g[None])], kept([ways["auto"]], n))


# ---- from heads to results (ops/detections.h) ----


def results(f):
    index = i32([[0, 17, -1, 90], [91, 5, 12, -3]])
    gone = index < 0
    f.case("split", "split_index", "columns=6", [index],
           [i32(torch.div(index, 6, rounding_mode="floor").masked_fill(gone, -1)), i32((index % 6).masked_fill(gone, -1))])
    group, index = i32([[3, -1, 0], [7, 2, -5]]), i32([[2, 1, -1, 0], [0, 0, 2, 1]])
    f.case("pick", "pick_labels", "", [group, index],
           [group.gather(1, index.clamp(min=0).long()).masked_fill(index < 0, -1).clamp(min=-1).long()])
    f.case("pick_all", "pick_labels", "", [group], [group.clamp(min=-1).long()])
    x, y = f.randn(2, 5, 4) * 4, f.randn(2, 5, 1) * 4
    f.case("joint", "joint_score", "", [x, y], [torch.sqrt(torch.sigmoid(x) * torch.sigmoid(y))])


def main():
    f = Ops("detect")
    for family in (anchors, coder, overlap, matching, points, rows, suppression, results):
        family(f)
    f.write()


if __name__ == "__main__":
    main()
