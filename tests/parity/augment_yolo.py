"""Expected pictures and objects for the transforms of YOLO's detectors, stated once more in NumPy and torch.

The semantics are YOLOX's (Apache-2.0) and Darknet's (public domain), but that pixels are looked up at their middles.
Writes tests/golden/augment_yolo.safetensors. Needs torch and safetensors. Fields of a case: see augment_boxes.py; the
other pictures of a mosaic are NAME/paste, NAME/paste2 and NAME/paste3, each with its _boxes, _labels and _masks.
"""
import math
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

rng = np.random.default_rng(22)
out = {}


def text(s):
    return torch.tensor(list((s + " ").encode()), dtype=torch.uint8)


class Scene:
    """image: (h, w, c) u8, boxes: (n, 4) f32, labels: (n) i64, masks: (n, h, w) u8."""

    def __init__(self, image, boxes, labels, masks):
        self.image, self.boxes, self.labels, self.masks = image, np.asarray(boxes, np.float64).reshape(-1, 4), labels, masks

    def put(self, name, word):
        out[f"{name}/{word}"] = torch.from_numpy(np.ascontiguousarray(self.image))
        out[f"{name}/{word}_boxes"] = torch.from_numpy(self.boxes.astype(np.float32))
        out[f"{name}/{word}_labels"] = torch.from_numpy(np.ascontiguousarray(self.labels))
        out[f"{name}/{word}_masks"] = torch.from_numpy(np.ascontiguousarray(self.masks))

    def solid(self):
        """Without objects whose boxes are empty."""
        keep = (self.boxes[:, 2] > self.boxes[:, 0]) & (self.boxes[:, 3] > self.boxes[:, 1])
        return Scene(self.image, self.boxes[keep], self.labels[keep], self.masks[keep])


def case(name, transform, settings, scene, want, params=(), tol=1, box_tol=64, pastes=()):
    assert name + "/in" not in out, name
    out[name + "/transform"], out[name + "/settings"] = text(transform)[:-1], text(settings)
    out[name + "/params"] = text(" ".join("%.17g" % p for p in params))
    for key, value in (("tol", tol), ("box_tol", box_tol), ("drawn", 0)):
        out[f"{name}/{key}"] = torch.tensor([value], dtype=torch.int64)
    scene.put(name, "in")
    want.put(name, "out")
    for word, p in zip(("paste", "paste2", "paste3"), pastes):
        p.put(name, word)


def scene(h, w, n=3, c=3):
    y, x = np.mgrid[0:h, 0:w]
    base = np.stack([120 + 80 * np.sin(0.35 * x + 0.2 * y + 2 * k) for k in range(c)], -1) + rng.uniform(0, 40, (h, w, c))
    lo = rng.uniform(0, 0.6, (n, 2)) * [w, h]
    boxes = np.concatenate([lo, lo + rng.uniform(0.15, 0.5, (n, 2)) * [w, h]], 1)
    boxes = np.minimum(boxes, [w, h, w, h]).astype(np.float32)
    masks = np.zeros((n, h, w), np.uint8)
    for k, (x1, y1, x2, y2) in enumerate(boxes.astype(int)):
        masks[k, y1:y2 + 1, x1:x2 + 1] = 1
    return Scene(base.clip(0, 255).astype(np.uint8), boxes, rng.integers(0, 9, n), masks)


def resized(image, h, w):
    x = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None].float()
    x = F.interpolate(x, size=(h, w), mode="bilinear", align_corners=False)
    return x[0].permute(1, 2, 0).round().clamp(0, 255).to(torch.uint8).numpy()


def resized_masks(masks, h, w):
    return F.interpolate(torch.from_numpy(np.ascontiguousarray(masks))[:, None], size=(h, w), mode="nearest")[:, 0].numpy()


def fit(h, w, to_h, to_w):
    scale = min(to_h / h, to_w / w)
    return scale, max(int(h * scale), 1), max(int(w * scale), 1)


def clip(boxes, h, w):
    return np.stack([boxes[:, 0].clip(0, w), boxes[:, 1].clip(0, h), boxes[:, 2].clip(0, w), boxes[:, 3].clip(0, h)], 1)


def on_canvas(image, h, w, top, left, fill):
    canvas = np.full((h, w, image.shape[2]), fill, np.uint8)
    canvas[top:top + image.shape[0], left:left + image.shape[1]] = image
    return canvas


def masks_on_canvas(masks, h, w, top, left):
    canvas = np.zeros((len(masks), h, w), np.uint8)
    canvas[:, top:top + masks.shape[1], left:left + masks.shape[2]] = masks
    return canvas


# ---- letterbox ----

def letterbox(s, to_h, to_w, centred, fill):
    h, w = s.image.shape[:2]
    scale, nh, nw = fit(h, w, to_h, to_w)
    top, left = ((to_h - nh) // 2, (to_w - nw) // 2) if centred else (0, 0)
    boxes = clip(s.boxes * scale, nh, nw) + [left, top, left, top]
    return Scene(on_canvas(resized(s.image, nh, nw), to_h, to_w, top, left, fill), boxes, s.labels,
                 masks_on_canvas(resized_masks(s.masks, nh, nw), to_h, to_w, top, left))


for k, (h, w, size, words, centred, fill) in enumerate([
        ((15), 22, (20, 20), "20", 0, 114), (30, 11, (17, 17), "17 center=yes", 1, 114), (13, 19, (24, 32), "24,32 fill=127 center=yes", 1, 127),
        (16, 16, (16, 16), "16", 0, 114), (40, 41, (13, 13), "13 fill=1,2,3", 0, [1, 2, 3]), (1, 60, (10, 10), "10", 0, 114)]):
    s = scene(h, w)
    want = s if (h, w) == size else letterbox(s, *size, centred, fill)
    case(f"letterbox_{k}", "letterbox", words, s, want)


# ---- mosaic ----

def matrix(angle, scale, tx, ty, shear_x, shear_y):
    """OpenCV's rotation about the corner, each row with a share of the other."""
    r = math.radians(angle)
    rotation = scale * np.array([[math.cos(r), math.sin(r)], [-math.sin(r), math.cos(r)]])
    a, b = math.tan(math.radians(shear_x)), math.tan(math.radians(shear_y))
    linear = np.stack([rotation[0] + b * rotation[1], rotation[1] + a * rotation[0]])
    return np.concatenate([linear, [[tx], [ty]]], 1)


def looked_up(m, h, w):
    """Where the middles of h x w pixels come from, in pixels of the canvas (corner 0)."""
    inverse = np.linalg.inv(np.vstack([m, [0, 0, 1]]))
    y, x = np.mgrid[0:h, 0:w] + 0.5
    return inverse[0, 0] * x + inverse[0, 1] * y + inverse[0, 2], inverse[1, 0] * x + inverse[1, 1] * y + inverse[1, 2]


def warped(image, m, h, w, fill):
    u, v = looked_up(m, h, w)
    u, v = u - 0.5, v - 0.5
    iu, iv = np.floor(u).astype(int), np.floor(v).astype(int)
    got = np.zeros((h, w, image.shape[2]))
    for dy in (0, 1):
        for dx in (0, 1):
            px, py = iu + dx, iv + dy
            inside = (px >= 0) & (py >= 0) & (px < image.shape[1]) & (py < image.shape[0])
            value = np.where(inside[..., None], image[py.clip(0, image.shape[0] - 1), px.clip(0, image.shape[1] - 1)], fill)
            got += (np.abs(1 - dx - (u - iu)) * np.abs(1 - dy - (v - iv)))[..., None] * value
    return np.floor(got + 0.5).clip(0, 255).astype(np.uint8)


def warped_mask(mask, m, h, w):
    u, v = looked_up(m, h, w)
    px, py = np.floor(u).astype(int), np.floor(v).astype(int)
    inside = (px >= 0) & (py >= 0) & (px < mask.shape[1]) & (py < mask.shape[0])
    return np.where(inside, mask[py.clip(0, mask.shape[0] - 1), px.clip(0, mask.shape[1] - 1)], 0).astype(np.uint8)


def hull(boxes, m, h, w):
    corners = boxes[:, [0, 1, 2, 1, 2, 3, 0, 3]].reshape(-1, 4, 2)
    moved = corners @ m[:, :2].T + m[:, 2]
    return clip(np.concatenate([moved.min(1), moved.max(1)], 1), h, w)


def mosaic(scenes, to_h, to_w, yc, xc, m, fill=114):
    canvas = np.full((2 * to_h, 2 * to_w, scenes[0].image.shape[2]), fill, np.uint8)
    boxes, labels, masks = [], [], []
    for i, s in enumerate(scenes):
        scale, h, w = fit(*s.image.shape[:2], to_h, to_w)
        y1, y2 = (yc, min(yc + h, 2 * to_h)) if i >= 2 else (max(yc - h, 0), yc)
        x1, x2 = (xc, min(xc + w, 2 * to_w)) if i % 2 else (max(xc - w, 0), xc)
        sy, sx = (0 if i >= 2 else h - (y2 - y1)), (0 if i % 2 else w - (x2 - x1))
        canvas[y1:y2, x1:x2] = resized(s.image, h, w)[sy:sy + y2 - y1, sx:sx + x2 - x1]
        placed = clip(s.boxes * scale + [x1 - sx, y1 - sy, x1 - sx, y1 - sy], 2 * to_h, 2 * to_w)
        boxes.append(hull(placed, m, to_h, to_w))
        labels.append(s.labels)
        for mask in resized_masks(s.masks, h, w):
            full = np.zeros(canvas.shape[:2], np.uint8)
            full[y1:y2, x1:x2] = mask[sy:sy + y2 - y1, sx:sx + x2 - x1]
            masks.append(warped_mask(full, m, to_h, to_w))
    masks = np.stack(masks) if masks else np.zeros((0, to_h, to_w), np.uint8)
    return Scene(warped(canvas, m, to_h, to_w, fill), np.concatenate(boxes), np.concatenate(labels), masks).solid()


for k, (size, yc, xc, params) in enumerate([
        ((24, 24), 22, 27, (0, 1, 0, 0, 0, 0)), ((24, 24), 30, 14, (7.3, 0.55, 1.7, -2.1, 1.9, -1.3)), ((20, 28), 11, 40, (-9.1, 1.83, -2.2, 1.4, -2, 0.7)),
        ((24, 24), 13, 33, (3.7, 0.13, 2.3, 2.1, 0.4, 1.1)), ((16, 16), 20, 12, (-4.4, 0.83, 0.31, 0.77, 0, 2))]):
    scenes = [scene(18, 25), scene(31, 14, 2), scene(12, 12, 0 if k == 3 else 4), scene(26, 26, 1)]
    want = mosaic(scenes, *size, yc, xc, matrix(*params))
    case(f"mosaic_{k}", "mosaic", f"{size[0]},{size[1]}", scenes[0], want, [1, yc, xc, *params], tol=2, pastes=scenes[1:])
s = scene(18, 25)
case("mosaic_not", "mosaic", "24", s, s, [0, 20, 20, 0, 1, 0, 0, 0, 0], pastes=[s, s, s])


# ---- mixup_boxes ----

def mixup(s, other, jitter, mirrored, at_y, at_x):
    h, w = s.image.shape[:2]
    scale, nh, nw = fit(*other.image.shape[:2], h, w)
    h2, w2 = max(int(h * jitter), 1), max(int(w * jitter), 1)
    picture = resized(on_canvas(resized(other.image, nh, nw), h, w, 0, 0, 114), h2, w2)
    masks = resized_masks(masks_on_canvas(resized_masks(other.masks, nh, nw), h, w, 0, 0), h2, w2)
    boxes = clip(other.boxes * scale * jitter, h2, w2)
    if mirrored:
        picture, masks = picture[:, ::-1], masks[:, :, ::-1]
        boxes = np.stack([w2 - boxes[:, 2], boxes[:, 1], w2 - boxes[:, 0], boxes[:, 3]], 1)
    top, left = int(at_y * max(h2 - h, 0)), int(at_x * max(w2 - w, 0))
    picture, masks = picture[top:top + h, left:left + w], masks[:, top:top + h, left:left + w]
    picture, masks = on_canvas(picture, h, w, 0, 0, 0), masks_on_canvas(masks, h, w, 0, 0)
    boxes = clip(boxes - [left, top, left, top], h, w)
    blended = ((s.image.astype(int) + picture) // 2).astype(np.uint8)
    return Scene(blended, np.concatenate([s.boxes, boxes]), np.concatenate([s.labels, other.labels]), np.concatenate([s.masks, masks])).solid()


for k, (jitter, mirrored, at_y, at_x) in enumerate([(1.37, 0, 0.6, 0.3), (0.61, 1, 0.2, 0.9), (1.5, 1, 0.99, 0.01)]):
    s, other = scene(20, 20), scene(17, 27, 4)
    case(f"mixup_{k}", "mixup_boxes", "", s, mixup(s, other, jitter, mirrored, at_y, at_x), [1, jitter, mirrored, at_y, at_x], pastes=[other])
for k, n in enumerate((0, 3)):
    s, other = scene(20, 20), scene(17, 27, n)
    case(f"mixup_not_{k}", "mixup_boxes", "", s, s, [1 - k, 1, 0, 0, 0], pastes=[other])


# ---- random_jitter_crop ----

def span(start, length, n, size):
    scale = size / length
    first = int(np.clip(np.rint(start), 0, n - 1))
    last = int(np.clip(np.rint(start + length), first + 1, n))
    to = int(np.clip(np.rint((first - start) * scale), 0, size - 1))
    end = int(np.clip(np.rint((last - start) * scale), to + 1, size))
    return scale, first, last, to, end


def jitter_crop(s, size, left, top, width, height, fill):
    h, w = s.image.shape[:2]
    sx, x1, x2, tx, ex = span(left, width, w, size[1])
    sy, y1, y2, ty, ey = span(top, height, h, size[0])
    picture = on_canvas(resized(s.image[y1:y2, x1:x2], ey - ty, ex - tx), *size, ty, tx, fill)
    masks = masks_on_canvas(resized_masks(s.masks[:, y1:y2, x1:x2], ey - ty, ex - tx), *size, ty, tx)
    boxes = clip((s.boxes - [left, top, left, top]) * [sx, sy, sx, sy], *size)
    return Scene(picture, boxes, s.labels, masks).solid()


for k, params in enumerate([(3.2, -4.1, 20.7, 19.3), (-6.4, 2.2, 33.1, 11.9), (-2.5, -1.1, 30.2, 25.4), (0, 0, 25, 18)]):
    s = scene(18, 25)
    case(f"jitter_{k}", "random_jitter_crop", "16 mode=crop" if k else "16,24", s, jitter_crop(s, (16, 16) if k else (16, 24), *params, 127), params)


# ---- random_hsv ----

def hsv_changed(image, turn, times_s, times_v, plus_s, plus_v):
    x = image.astype(np.float64) / 255
    most, least = x.max(-1), x.min(-1)
    span_ = most - least
    by = np.where(span_ > 0, span_, 1)
    r, g, b = x[..., 0], x[..., 1], x[..., 2]
    h = np.where(most == r, (g - b) / by, np.where(most == g, 2 + (b - r) / by, 4 + (r - g) / by))
    h = (h + turn) % 6
    s = (span_ / np.where(most > 0, most, 1) * times_s + plus_s).clip(0, 1)
    v = (most * times_v + plus_v).clip(0, 1)
    c = v * s
    mid = c * (1 - np.abs(h % 2 - 1))
    zero = np.zeros_like(c)
    table = np.stack([np.stack(p, -1) for p in ((c, mid, zero), (mid, c, zero), (zero, c, mid), (zero, mid, c), (mid, zero, c), (c, zero, mid))])
    sixth = np.floor(h).astype(int) % 6
    rgb = np.take_along_axis(table, sixth[None, ..., None], 0)[0] + (v - c)[..., None]
    return np.floor(rgb * 255 + 0.5).clip(0, 255).astype(np.uint8)


for k, (transform, params) in enumerate([
        ("random_hsv", (0.16, 1, 1, 0.1, -0.08)), ("random_hsv", (-0.12, 1, 1, -0.3, 0.2)), ("random_hsv_scale", (0.59, 1.4, 0.7, 0, 0)),
        ("random_hsv_scale", (-2.9, 0.67, 1.5, 0, 0)), ("random_hsv", (0, 1, 1, 0, 0))]):
    s = scene(13, 17)
    s.image[0, :6] = [[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 9, 9]]
    case(f"hsv_{k}", transform, "", s, Scene(hsv_changed(s.image, *params), s.boxes, s.labels, s.masks), params, box_tol=0)

path = pathlib.Path(__file__).parents[1] / "golden" / "augment_yolo.safetensors"
save_file({k: v.clone() for k, v in out.items()}, str(path))
print(path, path.stat().st_size, len([k for k in out if k.endswith("/in")]), "cases")
