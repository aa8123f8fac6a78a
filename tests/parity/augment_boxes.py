"""Expected pictures and objects for the transforms of boxes, from torchvision v2 and its detectors' own transform.

Writes tests/golden/augment_boxes.safetensors. Needs torch, torchvision and safetensors. A case NAME has the fields
  NAME/transform  text   name of the transform
  NAME/settings   text   its settings, as in a recipe
  NAME/params     text   what make_params would have drawn, space-separated; the transform's source says what they mean
  NAME/drawn      i64    1: make_params draws just these, since it has no choice
  NAME/in, NAME/out                  u8 or f32 (H, W, C)
  NAME/in_boxes, NAME/out_boxes      f32 (object, 4)
  NAME/in_labels, NAME/out_labels    i64 (object)
  NAME/in_masks, NAME/out_masks      u8 (object, H, W)
  NAME/tol, NAME/box_tol             i64 largest difference: levels of u8, or units of 2^-20 of f32
and where a second picture is pasted from, the same as NAME/paste, NAME/paste_boxes, NAME/paste_labels, NAME/paste_masks.
"""
import pathlib
from unittest import mock

import torch
from safetensors.torch import save_file
from torchvision import tv_tensors
from torchvision.models.detection.transform import _resize_image_and_masks, resize_boxes
from torchvision.ops import masks_to_boxes
from torchvision.transforms import v2
from torchvision.transforms.v2 import functional as F

torch.manual_seed(0)
out = {}


def text(s):
    return torch.tensor(list((s + " ").encode()), dtype=torch.uint8)


def picture(h, w, c=1):
    y, x = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing="ij")
    base = torch.stack([(0.5 + 0.5 * torch.sin(5 * x + 3 * y + k)) for k in range(c)])
    return (base * 200 + torch.rand(c, h, w) * 56).clamp(0, 255).to(torch.uint8)


class Scene:
    """A picture and its objects, as torchvision's tv_tensors."""

    def __init__(self, image, boxes, labels, masks):
        h, w = image.shape[-2:]
        self.image, self.labels, self.masks = tv_tensors.Image(image), labels, tv_tensors.Mask(masks)
        self.boxes = tv_tensors.BoundingBoxes(boxes, format="XYXY", canvas_size=(h, w))

    def moved(self, t, drawn):
        """Everything through `transform` of a torchvision transform with this draw."""
        return Scene(t.transform(self.image, drawn), t.transform(self.boxes, drawn).as_subclass(torch.Tensor), self.labels,
                     t.transform(self.masks, drawn))

    def kept(self, keep):
        return Scene(self.image, self.boxes.as_subclass(torch.Tensor)[keep], self.labels[keep], self.masks[keep])

    def put(self, name, word):
        out[f"{name}/{word}"] = self.image.as_subclass(torch.Tensor).permute(1, 2, 0).contiguous()
        for field in ("boxes", "labels", "masks"):
            out[f"{name}/{word}_{field}"] = getattr(self, field).as_subclass(torch.Tensor).contiguous()


def case(name, transform, settings, scene, want, params=(), tol=0, box_tol=0, paste=None, drawn=False):
    assert name + "/in" not in out, name
    out[name + "/transform"], out[name + "/settings"] = text(transform)[:-1], text(settings)
    out[name + "/params"] = text(" ".join("%.17g" % p for p in params))
    for key, value in (("tol", tol), ("box_tol", box_tol), ("drawn", int(drawn))):
        out[f"{name}/{key}"] = torch.tensor([value], dtype=torch.int64)
    scene.put(name, "in")
    want.put(name, "out")
    if paste:
        paste.put(name, "paste")


H, W = 14, 19
BOXES = torch.tensor([[1.5, 2, 9, 8.25], [0, 0, W, H], [5, 5, 6, 9], [-3, 4, 30, 20], [10.2, 1.1, 16.9, 3.3], [13, 9, 15.5, 11]])
LABELS = torch.tensor([3, 0, 7, 1, 2, 9])


def objects(h, w, n):
    masks = torch.zeros(n, h, w, dtype=torch.uint8)
    for k in range(n):
        top, left = (2 * k) % (h - 3), (3 * k) % (w - 4)
        masks[k, top:top + 3 + k % 3, left:left + 4 + k % 2] = 1
    return masks


def scene(h=H, w=W, c=1):
    return Scene(picture(h, w, c), BOXES, LABELS, objects(h, w, len(BOXES)))


def centres(boxes, top, left, h, w):
    cx, cy = 0.5 * (boxes[:, 0] + boxes[:, 2]), 0.5 * (boxes[:, 1] + boxes[:, 3])
    return (left < cx) & (cx < left + w) & (top < cy) & (cy < top + h)


# random_iou_crop: what SanitizeBoundingBoxes drops after it, zeroed there, is gone at once
for k, (top, left, h, w) in enumerate([(0, 0, 9, 12), (3, 5, 10, 14), (1, 9, 5, 10), (0, 0, H, W), (7, 11, 7, 6)]):
    s = scene()
    keep = centres(BOXES, top, left, h, w)
    moved = s.moved(v2.RandomIoUCrop(), dict(top=top, left=left, height=h, width=w, is_within_crop_area=keep))
    assert keep.any() and (moved.boxes[~keep] == 0).all()
    case(f"iou_crop_{k}", "random_iou_crop", "", s, moved.kept(keep), [1, top, left, h, w])
s = scene()
case("iou_crop_not", "random_iou_crop", "", s, s, [0] * 5)

# random_zoom_out
for k, (settings, fill, padding) in enumerate([("", 0, [3, 1, 8, 20]), ("fill=123,117,104 side_range=1,2", [123.0, 117.0, 104.0], [0, 5, 4, 0])]):
    s = scene(c=1 if fill == 0 else 3)
    t = v2.RandomZoomOut(fill={tv_tensors.Mask: 0, "others": fill})
    case(f"zoom_out_{k}", "random_zoom_out", settings, s, s.moved(t, dict(padding=padding)), padding)

# random_shortest_size: one size to choose from, so that the draw is known
for k, (h, w, size, most) in enumerate([(H, W, 9, None), (H, W, 21, 25), (19, 14, 21, 27), (15, 15, 7, 5), (17, 10, 13, 40)]):
    s = scene(h, w)
    t = v2.RandomShortestSize([size], max_size=most)
    drawn = t.make_params([s.image])
    case(f"shortest_{k}", "random_shortest_size", f"{size}" + (f" max_size={most}" if most else ""), s, s.moved(t, drawn), drawn["size"], drawn=True)

# scale_jitter
for k, (target, scale) in enumerate([((24, 24), 0.55), ((24, 24), 1.7), ((30, 30), 0.1)]):
    s = scene()
    t = v2.ScaleJitter(target)
    with mock.patch.object(torch, "rand", lambda *n: torch.tensor([(scale - 0.1) / 1.9])):
        drawn = t.make_params([s.image])
    case(f"jitter_{k}", "scale_jitter", f"target_size={target[0]},{target[1]}", s, s.moved(t, drawn), drawn["size"])


def fixed_size_crop(s, size, at, fill):
    """What the references' FixedSizeCrop does, in v2's functions."""
    h, w = s.image.shape[-2:]
    new_h, new_w = min(h, size[0]), min(w, size[1])
    top, left = int(max(h - size[0], 0) * at), int(max(w - size[1], 0) * at)
    image, boxes, masks, labels = s.image, s.boxes, s.masks, s.labels
    if (new_h, new_w) != (h, w):
        image, boxes, masks = (F.crop(x, top, left, new_h, new_w) for x in (image, boxes, masks))
        keep = (boxes[:, 0] < boxes[:, 2]) & (boxes[:, 1] < boxes[:, 3])
        boxes, masks, labels = tv_tensors.wrap(boxes[keep], like=boxes), tv_tensors.Mask(masks[keep]), labels[keep]
    pad = [0, 0, max(size[1] - new_w, 0), max(size[0] - new_h, 0)]
    image, boxes, masks = F.pad(image, pad, fill=fill), F.pad(boxes, pad), F.pad(masks, pad)
    return Scene(image, boxes.as_subclass(torch.Tensor), labels, masks), [top, left]


for k, (size, at, words, fill) in enumerate([((8, 8), 0.3, "", 0), ((20, 9), 0.99, "fill=9", 9), ((9, 30), 0.5, "", 0), ((20, 25), 0.7, "fill=1,2,3", [1, 2, 3]),
                                             ((4, 5), 0.95, "", 0), ((14, 19), 0.2, "", 0)]):
    s = scene(c=3 if isinstance(fill, list) else 1)
    want, params = fixed_size_crop(s, size, at, fill)
    case(f"fixed_{k}", "fixed_size_crop", f"{size[0]},{size[1]} {words}", s, want, params)

# sanitize_bounding_boxes, clamp_bounding_boxes
EDGES = torch.tensor([[0, 0, W, H], [3, 3, 4, 4], [3, 3, 3.99, 8], [2, 2, 2, 9], [5, 5, 4, 9], [-0.5, 1, 9, 9], [1, 1, W + 0.25, 5], [1, 1, 3.5, 3.25],
                      [1, 2, float("nan"), 9]])
for k, (settings, t) in enumerate([("", v2.SanitizeBoundingBoxes()), ("min_size=2 min_area=6", v2.SanitizeBoundingBoxes(2, 6)), ("1 5.625", v2.SanitizeBoundingBoxes(1, 5.625))]):
    s = Scene(picture(H, W), EDGES, torch.arange(len(EDGES)), objects(H, W, len(EDGES)))
    got = t(dict(image=s.image, boxes=s.boxes, labels=s.labels, masks=s.masks))
    case(f"sanitize_{k}", "sanitize_bounding_boxes", settings, s, Scene(got["image"], got["boxes"].as_subclass(torch.Tensor), got["labels"], got["masks"]))
s = scene()
case("clamp", "clamp_bounding_boxes", "", s, Scene(s.image, v2.ClampBoundingBoxes()(s.boxes).as_subclass(torch.Tensor), s.labels, s.masks))

# resize as the detectors have it: floating point there, so that u8 may be a level away
for k, (h, w, short, most) in enumerate([(12, 16, 20, 30), (16, 12, 20, 33), (11, 30, 25, 40), (21, 21, 10, 10), (23, 17, 9, 14)]):
    s = scene(h, w)
    image, target = _resize_image_and_masks(s.image.as_subclass(torch.Tensor).float(), short, most, dict(masks=s.masks.as_subclass(torch.Tensor)))
    boxes = resize_boxes(BOXES, (h, w), image.shape[-2:])
    case(f"detector_{k}", "resize", f"{short} max_size={most} sides=scaled antialias=no", s, Scene(image.round().to(torch.uint8), boxes, LABELS, target["masks"]), tol=1)
for k, (h, w, side) in enumerate([(12, 16, 20), (20, 15, 9)]):
    s = scene(h, w)
    image, target = _resize_image_and_masks(s.image.as_subclass(torch.Tensor).float(), 0, 0, dict(masks=s.masks.as_subclass(torch.Tensor)), fixed_size=(side, side))
    case(f"square_{k}", "resize", f"{side},{side} antialias=no", s,
         Scene(image.round().to(torch.uint8), resize_boxes(BOXES, (h, w), (side, side)), LABELS, target["masks"]), tol=1)


def philox(key, n):
    """The first n 32-bit words of cvrun's generator under this key."""
    words = []
    for counter in range((n + 3) // 4):
        x, k = [counter & 0xFFFFFFFF, counter >> 32, 0, 0], [key & 0xFFFFFFFF, key >> 32]
        for _ in range(10):
            p, q = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
            x = [(q >> 32) ^ x[1] ^ k[0], q & 0xFFFFFFFF, (p >> 32) ^ x[3] ^ k[1], p & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        words += x
    return words[:n]


def below(key, n, most):
    """cvr_rng_below(most), n times; `most` is a power of two, so that no number is thrown away."""
    words = philox(key, 2 * n)
    return [(words[2 * i] << 32 | words[2 * i + 1]) % most for i in range(n)]


def copy_paste(s, paste, selection, blending):
    """What SimpleCopyPaste of torchvision's prototype does, in v2's functions."""
    p = paste.kept(selection)
    size = list(s.image.shape[-2:])
    image, masks, boxes = p.image, p.masks, p.boxes
    if list(image.shape[-2:]) != size:
        image, masks, boxes = F.resize(image, size), F.resize(masks, size), F.resize(boxes, size)
    cover = masks.as_subclass(torch.Tensor).sum(0) > 0
    if blending:
        cover = F.gaussian_blur(cover.unsqueeze(0), kernel_size=[5, 5], sigma=[2.0])[0]
    image = torch.where(cover, image.as_subclass(torch.Tensor), s.image.as_subclass(torch.Tensor))
    left = s.masks.as_subclass(torch.Tensor) * ~cover
    keep = left.sum((-1, -2)) > 0
    left = left[keep]
    own = masks_to_boxes(left)
    own[:, 2:] += 1
    both = torch.cat([own, boxes.as_subclass(torch.Tensor)])
    valid = (both[:, 2:] > both[:, :2]).all(1)
    return Scene(image, both[valid], torch.cat([s.labels[keep], p.labels])[valid], torch.cat([left, masks.as_subclass(torch.Tensor)])[valid])


for k, (key, blending, size) in enumerate([(0x123456789ABCDEF, True, (H, W)), (0xFEDCBA98, False, (H, W)), (77, True, (9, 25)), (5, False, (20, 11))]):
    s = Scene(picture(H, W), BOXES, LABELS, objects(H, W, 6))
    masks = objects(*size, 4)
    boxes = masks_to_boxes(masks)
    boxes[:, 2:] += 1
    boxes[2, 2] = boxes[2, 0] if k == 1 else boxes[2, 2]
    paste = Scene(picture(*size), boxes, torch.tensor([20, 21, 22, 23]), masks)
    selection = sorted(set(below(key, 4, 4)))
    case(f"copy_paste_{k}", "simple_copy_paste", "" if blending else "blending=no", s, copy_paste(s, paste, torch.tensor(selection), blending),
         [key & 0xFFFFFFFF, key >> 32], paste=paste)

path = pathlib.Path(__file__).parents[1] / "golden" / "augment_boxes.safetensors"
save_file({k: v.clone() for k, v in out.items()}, str(path))
print(path, path.stat().st_size, len([k for k in out if k.endswith("/in")]), "cases")
