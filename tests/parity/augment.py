"""Expected pictures for the transforms, from torchvision v2 on uint8 (and float) tensors.

Writes tests/golden/augment.safetensors. Needs torch, torchvision and safetensors. A case NAME has the fields
  NAME/transform  text   name of the transform
  NAME/settings   text   its settings, as in a recipe
  NAME/params     text   what make_params would have drawn, space-separated; the transform's source says what they mean
  NAME/in         u8 or f32 (H, W, C)
  NAME/out        u8 or f32 (H, W, C)
  NAME/tol        i64    largest difference allowed: levels of u8, or units of 2^-20 of f32
A case of geometry also has, as "in_..." and "out_...":
  mask            u8     (H, W)
  boxes           f32    (object, 4)
  masks           u8     (object, H, W)
A case of a batch has `batch` and `labels` in place of `in`, (N, H, W, C) f32 and (N, classes) f32, and `out` and `out_labels`.
"""
import math
import pathlib
from unittest import mock

import numpy as np
import torch
from safetensors.torch import save_file
from torchvision import tv_tensors
from torchvision.transforms import v2

torch.manual_seed(0)
out = {}


def text(s):
    return torch.tensor(list(s.encode()), dtype=torch.uint8)


def picture(h, w, c, dtype=torch.uint8):
    """Smooth and rough at once: gradients with noise, so that edges and roundings both show."""
    y, x = torch.meshgrid(torch.linspace(0, 1, h), torch.linspace(0, 1, w), indexing="ij")
    base = torch.stack([(0.5 + 0.5 * torch.sin(5 * x + 3 * y + k)) for k in range(c)])
    noisy = (base * 200 + torch.rand(c, h, w) * 56).clamp(0, 255)
    return noisy.to(torch.uint8) if dtype == torch.uint8 else (noisy / 255).float()


def case(name, transform, settings, t, image, drawn=None, params=(), tol=0):
    """`t`: the torchvision transform; `drawn`: its params dict; `params`: the same as cvrun has them."""
    result = t.transform(image, drawn or {}) if drawn is not None or isinstance(t, v2.Transform) else t(image)
    assert name + "/in" not in out, name
    out[name + "/transform"] = text(transform)
    out[name + "/settings"] = text(settings + " ")
    out[name + "/params"] = text(" ".join("%.17g" % p for p in params) + " ")
    out[name + "/in"] = image.permute(1, 2, 0).contiguous()
    out[name + "/out"] = result.permute(1, 2, 0).contiguous()
    out[name + "/tol"] = torch.tensor([tol], dtype=torch.int64)


F32 = torch.float32

# resize
for k, (h, w, c, size) in enumerate([(19, 31, 3, (8, 12)), (19, 31, 1, (40, 37)), (30, 17, 3, (11, 40)),
                                     (16, 16, 3, (16, 9)), (16, 16, 2, (5, 16)), (64, 48, 3, (3, 2)),
                                     (5, 7, 3, (15, 21)), (9, 9, 4, (4, 13)), (33, 1, 3, (10, 5)), (1, 1, 3, (4, 3))]):
    for antialias in (True, False):
        word = "yes" if antialias else "no"
        settings = f"size={size[0]},{size[1]} antialias={word}"
        case(f"resize_{k}_{word}", "resize", settings, v2.Resize(size, antialias=antialias), picture(h, w, c))
    case(f"resize_{k}_f32", "resize", f"size={size[0]},{size[1]}", v2.Resize(size), picture(h, w, c, F32), tol=4)
    case(f"resize_{k}_nearest", "resize", f"{size[0]},{size[1]} interpolation=nearest",
         v2.Resize(size, interpolation=v2.InterpolationMode.NEAREST), picture(h, w, c))
    cubic = v2.Resize(size, interpolation=v2.InterpolationMode.BICUBIC)
    case(f"resize_{k}_bicubic", "resize", f"size={size[0]},{size[1]} interpolation=bicubic", cubic, picture(h, w, c))
    case(f"resize_{k}_bicubic_f32", "resize", f"size={size[0]},{size[1]} interpolation=bicubic", cubic,
         picture(h, w, c, F32), tol=16)
case("resize_f32_plain", "resize", "10,30 antialias=no", v2.Resize((10, 30), antialias=False), picture(23, 19, 3, F32),
     tol=16)
for k, (h, w, size, most) in enumerate([(31, 20, 13, None), (20, 31, 13, None), (20, 31, 13, 15), (41, 20, 7, 14),
                                        (10, 10, 6, 9), (29, 37, None, 17), (37, 29, None, 16)]):
    settings = "size=" + (str(size) if size else "") + (f" max_size={most}" if most else "")
    case(f"resize_short_{k}", "resize", settings, v2.Resize(size, max_size=most), picture(h, w, 3))

# crops and padding
for k, (h, w, size) in enumerate([(20, 23, (9, 12)), (20, 23, (21, 10)), (7, 8, (12, 15)), (7, 9, (12, 5)), (8, 8, (8, 8)),
                                  (11, 14, (4, 5)), (10, 13, (4, 4))]):
    case(f"center_crop_{k}", "center_crop", f"{size[0]},{size[1]}", v2.CenterCrop(size), picture(h, w, 3))
case("center_crop_one", "center_crop", "size=6", v2.CenterCrop(6), picture(11, 12, 1, F32))
for mode in ("constant", "edge", "reflect", "symmetric"):
    case(f"pad_{mode}", "pad", f"padding=1,2,3,4 padding_mode={mode}", v2.Pad([1, 2, 3, 4], padding_mode=mode),
         picture(6, 7, 3))
    case(f"pad_{mode}_f32", "pad", f"2,5 padding_mode={mode}", v2.Pad([2, 5], padding_mode=mode), picture(6, 7, 1, F32))
case("pad_fill", "pad", "padding=2 fill=77", v2.Pad(2, fill=77), picture(5, 4, 3))
case("pad_fills", "pad", "padding=2,1 fill=10,20,30", v2.Pad([2, 1], fill=[10, 20, 30]), picture(5, 4, 3))
for k, (settings, t, pad, top, left) in enumerate([
        ("size=6,7", v2.RandomCrop((6, 7)), [0, 0, 0, 0], 3, 2),
        ("size=8 padding=4", v2.RandomCrop(8, padding=4), [4, 4, 4, 4], 1, 9),
        ("size=9,10 padding=1,2 padding_mode=reflect", v2.RandomCrop((9, 10), padding=[1, 2], padding_mode="reflect"),
         [1, 2, 1, 2], 4, 0),
        ("size=20 pad_if_needed=yes fill=9", v2.RandomCrop(20, pad_if_needed=True, fill=9), [8, 10, 8, 10], 5, 7)]):
    h, w = 10, 12
    drawn = dict(needs_crop=True, top=top, left=left, height=t.size[0], width=t.size[1], needs_pad=any(pad), padding=pad)
    case(f"random_crop_{k}", "random_crop", settings, t, picture(h, w, 3), drawn, pad + [top, left])
for k, (settings, t, box) in enumerate([
        ("size=8", v2.RandomResizedCrop(8), (3, 2, 11, 14)),
        ("size=17,9", v2.RandomResizedCrop((17, 9)), (0, 0, 20, 25)),
        ("size=7 antialias=no", v2.RandomResizedCrop(7, antialias=False), (4, 5, 12, 13)),
        ("size=6 interpolation=nearest", v2.RandomResizedCrop(6, interpolation=v2.InterpolationMode.NEAREST), (1, 6, 9, 8)),
        ("size=5,8", v2.RandomResizedCrop((5, 8)), (2, 3, 5, 8))]):
    drawn = dict(zip(("top", "left", "height", "width"), box))
    case(f"random_resized_crop_{k}", "random_resized_crop", settings, t, picture(20, 25, 3), drawn, box)

# flips and turns
for c in (1, 2, 3):
    case(f"hflip_{c}", "random_horizontal_flip", "p=1", v2.RandomHorizontalFlip(1), picture(5, 6, c), {}, [1])
    case(f"vflip_{c}", "random_vertical_flip", "", v2.RandomVerticalFlip(), picture(5, 6, c), {}, [1])
case("hflip_f32", "random_horizontal_flip", "", v2.RandomHorizontalFlip(), picture(5, 7, 3, F32), {}, [1])
for k, (h, w, angle, options) in enumerate([
        (11, 11, 17.3, {}), (11, 16, -41.7, {}), (11, 16, 90, {}), (11, 11, 90, {}), (11, 16, 90, dict(expand=True)),
        (11, 16, 270, dict(expand=True)), (11, 16, 180, {}), (11, 16, -360, {}), (11, 16, 33.3, dict(expand=True)),
        (11, 16, 133.3, dict(expand=True)), (11, 16, 12.9, dict(center=[3.0, 4.5])), (11, 16, 61.1, dict(fill=99)),
        (11, 16, 61.1, dict(fill=[9.0, 99.0, 199.0]))]):
    words = dict(expand=lambda v: "yes", center=lambda v: "%g,%g" % tuple(v),
                 fill=lambda v: ",".join("%g" % x for x in (v if isinstance(v, list) else [v])))
    settings = "degrees=180" + "".join(f" {k}={words[k](v)}" for k, v in options.items())
    for mode in ("nearest", "bilinear"):
        t = v2.RandomRotation(180, interpolation=v2.InterpolationMode(mode), **options)
        case(f"rotation_{k}_{mode}", "random_rotation", f"{settings} interpolation={mode}", t, picture(h, w, 3),
             dict(angle=float(angle)), [angle], tol=1 if mode == "bilinear" else 0)
case("rotation_f32", "random_rotation", "degrees=-10,50 interpolation=bilinear",
     v2.RandomRotation([-10, 50], interpolation=v2.InterpolationMode.BILINEAR), picture(13, 14, 1, F32),
     dict(angle=23.0), [23], tol=64)

# types and colours
case("normalize", "normalize", "mean=0.485,0.456,0.406 std=0.229,0.224,0.225",
     v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]), picture(6, 5, 3, F32), tol=1)
case("normalize_one", "normalize", "0.5 0.25", v2.Normalize([0.5], [0.25]), picture(6, 5, 1, F32), tol=1)
for c, n in ((3, 1), (3, 3), (1, 1), (1, 3)):
    case(f"grayscale_{c}_{n}", "grayscale", f"{n}", v2.Grayscale(n), picture(12, 11, c))
case("grayscale_f32", "grayscale", "", v2.Grayscale(), picture(12, 11, 3, F32), tol=1)
names = ("brightness", "contrast", "saturation", "hue")
for k, (order, factors, c, dtype) in enumerate([
        ((0, 1, 2, 3), (1.3, None, None, None), 3, torch.uint8), ((0, 1, 2, 3), (0.4, None, None, None), 1, torch.uint8),
        ((0, 1, 2, 3), (None, 1.7, None, None), 3, torch.uint8), ((0, 1, 2, 3), (None, 0.3, None, None), 1, torch.uint8),
        ((0, 1, 2, 3), (None, None, 1.9, None), 3, torch.uint8), ((0, 1, 2, 3), (None, None, 0.1, None), 3, torch.uint8),
        ((0, 1, 2, 3), (None, None, 1.9, 0.2), 1, torch.uint8), ((0, 1, 2, 3), (None, None, None, 0.13), 3, torch.uint8),
        ((0, 1, 2, 3), (None, None, None, -0.37), 3, torch.uint8), ((3, 1, 0, 2), (1.2, 0.7, 1.4, 0.05), 3, torch.uint8),
        ((2, 0, 3, 1), (0.8, 1.3, 0.5, -0.1), 3, torch.uint8), ((1, 2, 3, 0), (1.1, 1.2, 1.3, 0.21), 3, F32)]):
    keys = {n: (0.5 if n == "hue" else 2.0) for n, f in zip(names, factors) if f is not None}
    drawn = dict(fn_idx=torch.tensor(order), **{n + "_factor": f for n, f in zip(names, factors)})
    params = list(order) + [f if f is not None else (0 if n == "hue" else 1) for n, f in zip(names, factors)]
    several = sum(f is not None for f in factors) > 1
    case(f"color_jitter_{k}", "color_jitter", " ".join(f"{n}={v}" for n, v in keys.items()), v2.ColorJitter(**keys),
         picture(12, 13, c, dtype), drawn, params, tol=(64 if dtype == F32 else 1 if several else 0))
for k, (value, word, box, c, dtype) in enumerate([([0.0], "0", (2, 3, 4, 5), 3, F32),
                                                  ([0.5, 0.25, 0.125], "0.5,0.25,0.125", (0, 0, 7, 3), 3, F32),
                                                  ([-77.9], "-77.9", (1, 1, 1, 1), 1, F32)]):
    i, j, h, w = box
    drawn = dict(i=i, j=j, h=h, w=w, v=torch.tensor(value)[:, None, None])
    case(f"random_erasing_{k}", "random_erasing", f"p=1 value={word}", v2.RandomErasing(1), picture(8, 9, c, dtype), drawn,
         [1, i, j, h, w, 0, 0])

# bytes to floats
levels = torch.arange(256, dtype=torch.uint8).reshape(1, 16, 16)
case("normalize_u8", "normalize", "0.286 0.353", lambda x: v2.Normalize([0.286], [0.353])(x.float().div(255)), levels, tol=1)
case("normalize_u8_3", "normalize", "mean=0.485,0.456,0.406 std=0.229,0.224,0.225",
     lambda x: v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])(x.float().div(255)), picture(6, 5, 3), tol=1)
case("to_tensor", "to_tensor", "", lambda x: x.float().div(255), levels)

# everything that has places in it, through every transform of geometry
MH, MW = 12, 17
MASK = (torch.rand(MH, MW) * 21).to(torch.uint8)
MASK[3:5, 2:9] = 255
BOXES = torch.tensor([[1.5, 2, 9, 8.25], [0, 0, MW, MH], [5, 5, 5, 9], [-3, 4, 30, 20], [10.2, 1.1, 16.9, 3.3], [13, 9, 15.5, 11]])
OBJECTS = torch.zeros(2, MH, MW, dtype=torch.uint8)
OBJECTS[0, 2:9, 1:9] = (torch.rand(7, 8) < 0.8).to(torch.uint8)
OBJECTS[1, 1:4, 10:17] = 1


def moved(name, transform, settings, t, drawn=None, params=(), plain=None, tol=0, box_tol=0):
    """`plain`: the transform for the masks of objects, where `t` fills the other kind of mask with a class of its own."""
    case(name, transform, settings, t, picture(MH, MW, 1), drawn, params, tol)
    boxes = tv_tensors.BoundingBoxes(BOXES, format="XYXY", canvas_size=(MH, MW))
    # Expanded, torchvision's boxes can have another canvas than the picture; these cases are chosen so that they have not.
    assert t.transform(boxes, drawn or {}).canvas_size == tuple(out[name + "/out"].shape[:2]), name
    for field, value, f in (("mask", tv_tensors.Mask(MASK), t), ("boxes", boxes, t), ("masks", tv_tensors.Mask(OBJECTS), plain or t)):
        out[f"{name}/in_{field}"] = value.as_subclass(torch.Tensor)
        out[f"{name}/out_{field}"] = f.transform(value, drawn or {}).as_subclass(torch.Tensor).contiguous()
    out[name + "/box_tol"] = torch.tensor([box_tol], dtype=torch.int64)


def per_type(fill, mask_fill):
    return {tv_tensors.Mask: mask_fill, "others": fill}


for k, size in enumerate([(7, 9), (31, 20), (24, 34), (12, 17), (6, 17)]):
    moved(f"moved_resize_{k}", "resize", f"size={size[0]},{size[1]}", v2.Resize(size))
moved("moved_resize_short", "resize", "size=9 max_size=11", v2.Resize(9, max_size=11))
for k, size in enumerate([(7, 9), (5, 8), (16, 21), (17, 10)]):
    moved(f"moved_center_crop_{k}", "center_crop", f"{size[0]},{size[1]}", v2.CenterCrop(size))
moved("moved_pad", "pad", "1,2,3,4", v2.Pad([1, 2, 3, 4]))
moved("moved_pad_fill", "pad", "2 fill=9 mask_fill=255", v2.Pad(2, fill=per_type(9, 255)), plain=v2.Pad(2))
for k, (settings, t, pad, top, left, plain) in enumerate([
        ("size=6,7", v2.RandomCrop((6, 7)), [0, 0, 0, 0], 3, 2, None),
        ("size=8 padding=4", v2.RandomCrop(8, padding=4), [4, 4, 4, 4], 1, 11, None),
        ("size=20 pad_if_needed=yes fill=9 mask_fill=255", v2.RandomCrop(20, pad_if_needed=True, fill=per_type(9, 255)), [3, 8, 3, 8], 5, 1,
         v2.RandomCrop(20, pad_if_needed=True))]):
    drawn = dict(needs_crop=True, top=top, left=left, height=t.size[0], width=t.size[1], needs_pad=any(pad), padding=pad)
    moved(f"moved_random_crop_{k}", "random_crop", settings, t, drawn, pad + [top, left], plain)
for k, (settings, t, box) in enumerate([
        ("size=8", v2.RandomResizedCrop(8), (3, 2, 9, 14)), ("size=17,9", v2.RandomResizedCrop((17, 9)), (0, 0, 12, 17)),
        ("size=6 interpolation=nearest", v2.RandomResizedCrop(6, interpolation=v2.InterpolationMode.NEAREST), (1, 6, 9, 8)),
        ("size=5,8", v2.RandomResizedCrop((5, 8)), (2, 3, 5, 8))]):
    moved(f"moved_random_resized_crop_{k}", "random_resized_crop", settings, t, dict(zip(("top", "left", "height", "width"), box)), box)
moved("moved_hflip", "random_horizontal_flip", "", v2.RandomHorizontalFlip(), {}, [1])
moved("moved_vflip", "random_vertical_flip", "", v2.RandomVerticalFlip(), {}, [1])
for k, (angle, options) in enumerate([
        (17.3, {}), (-41.7, {}), (90, {}), (90, dict(expand=True)), (270, dict(expand=True)), (180, {}), (0, {}),
        (35.0, dict(expand=True)), (133.3, dict(expand=True)), (12.9, dict(center=[3.0, 4.5])), (61.1, dict(fill=per_type(99, 255)))]):
    words = dict(expand=lambda v: "expand=yes", center=lambda v: "center=%g,%g" % tuple(v), fill=lambda v: "fill=99 mask_fill=255")
    plain = v2.RandomRotation(180) if "fill" in options else None
    moved(f"moved_rotation_{k}", "random_rotation", " ".join(["degrees=180"] + [words[o](v) for o, v in options.items()]),
          v2.RandomRotation(180, **options), dict(angle=float(angle)), [angle], plain, box_tol=32)


# single ops of colour, on pictures of every channel count and both types
def colour(name, transform, settings, t, tol=0, drawn=(1,), float_tol=64, sides=(13, 17)):
    for c, dtype in ((3, torch.uint8), (1, torch.uint8), (3, F32)):
        suffix = f"_{c}" + ("_f32" if dtype == F32 else "")
        own = t(dtype) if callable(t) and not isinstance(t, v2.Transform) else t
        case(name + suffix, transform, settings(dtype) if callable(settings) else settings, own, picture(*sides, c, dtype), {}, drawn,
             float_tol if dtype == F32 else tol)


class Drawn(v2.Transform):
    """A transform whose draw is given."""

    def __init__(self, t, **drawn):
        super().__init__()
        self.t, self.drawn = t, drawn

    def transform(self, inpt, params):
        return self.t.transform(inpt, dict(self.drawn))


colour("random_invert", "random_invert", "", v2.RandomInvert(), float_tol=0)
colour("random_autocontrast", "random_autocontrast", "p=1", v2.RandomAutocontrast(1), float_tol=1)
colour("random_equalize", "random_equalize", "", v2.RandomEqualize(), float_tol=0, sides=(20, 19))
colour("random_equalize_small", "random_equalize", "", v2.RandomEqualize(), float_tol=0, sides=(5, 6))
case("random_autocontrast_flat", "random_autocontrast", "", v2.RandomAutocontrast(), torch.full((3, 4, 5), 77, dtype=torch.uint8), {}, [1])
case("random_equalize_flat", "random_equalize", "", v2.RandomEqualize(), torch.full((3, 4, 5), 77, dtype=torch.uint8), {}, [1])
case("random_equalize_dark", "random_equalize", "", v2.RandomEqualize(), picture(20, 19, 3) // 9, {}, [1])
for bits in (0, 1, 3, 5, 8):
    colour(f"random_posterize_{bits}", "random_posterize", f"{bits} 0.7", v2.RandomPosterize(bits), float_tol=0)
for threshold in (0, 100.5, 128, 255):
    colour(f"random_solarize_{threshold}", "random_solarize",
           lambda dtype: f"threshold={threshold if dtype == torch.uint8 else threshold / 255!r}",
           lambda dtype: v2.RandomSolarize(threshold if dtype == torch.uint8 else threshold / 255), float_tol=0)
for factor in (0, 0.3, 1, 1.9, 5):
    colour(f"random_adjust_sharpness_{factor}", "random_adjust_sharpness", f"{factor}", v2.RandomAdjustSharpness(factor))
case("random_adjust_sharpness_thin", "random_adjust_sharpness", "2", v2.RandomAdjustSharpness(2), picture(2, 9, 3), {}, [1])
for c, dtype in ((3, torch.uint8), (1, torch.uint8), (3, F32)):
    case(f"random_grayscale_{c}" + ("_f32" if dtype == F32 else ""), "random_grayscale", "p=1", v2.RandomGrayscale(1), picture(12, 11, c, dtype),
         dict(num_input_channels=c), [1], 1 if dtype == F32 else 0)
case("random_grayscale_not", "random_grayscale", "", lambda x: x, picture(12, 11, 3), None, [0])
for k, (size, sigma) in enumerate([((3, 3), 0.5), ((5, 9), 1.7), ((23, 1), 2.0), ((1, 7), 0.1)]):
    colour(f"gaussian_blur_{k}", "gaussian_blur", f"kernel_size={size[0]},{size[1]} sigma=0.1,5",
           Drawn(v2.GaussianBlur(size), sigma=[sigma, sigma]), tol=1, drawn=[sigma])
case("gaussian_blur_one", "gaussian_blur", "3 sigma=1.5", Drawn(v2.GaussianBlur(3, 1.5), sigma=[1.5, 1.5]), picture(9, 8, 2), {}, [1.5], 1)


# affine, perspective, elastic
def setting(v):
    return ",".join("%.17g" % x for x in v) if isinstance(v, (list, tuple)) else str(v)


AFFINE = [(dict(angle=17.3), {}), (dict(angle=-90.0), {}), (dict(translate=(3, -2)), {}), (dict(scale=1.37), {}), (dict(scale=0.6), dict(fill=99)),
          (dict(shear=(21.0, 0.0)), {}), (dict(shear=(-10.0, 33.0)), {}), (dict(angle=200.0, shear=(7.0, 5.0), scale=0.9, translate=(2, 4)), {}),
          (dict(angle=-33.0, scale=1.2, shear=(-15.0, 0.0)), dict(center=[3.0, 4.5])), (dict(angle=45.0), dict(fill=[9.0, 99.0, 199.0]))]
for k, (drawn, options) in enumerate(AFFINE):
    drawn = dict(dict(angle=0.0, translate=(0, 0), scale=1.0, shear=(0.0, 0.0)), **drawn)
    params = [drawn["angle"], *drawn["translate"], drawn["scale"], *drawn["shear"]]
    settings = "degrees=180" + "".join(f" {o}={setting(v)}" for o, v in options.items())
    for mode in ("nearest", "bilinear"):
        t = v2.RandomAffine(180, interpolation=v2.InterpolationMode(mode), **options)
        case(f"affine_{k}_{mode}", "random_affine", f"{settings} interpolation={mode}", t, picture(12, 17, 3), drawn, params, 1 if mode == "bilinear" else 0)
    if k == 7:
        case("affine_f32", "random_affine", "180 interpolation=bilinear", v2.RandomAffine(180, interpolation=v2.InterpolationMode.BILINEAR),
             picture(12, 17, 3, F32), drawn, params, 256)
    if not isinstance(options.get("fill"), list):
        fills = "fill" in options
        moved(f"moved_affine_{k}", "random_affine", settings + (" mask_fill=255" if fills else ""),
              v2.RandomAffine(180, **dict(options, **(dict(fill=per_type(99, 255)) if fills else {}))), drawn, params,
              v2.RandomAffine(180) if fills else None, box_tol=64)


def perspective(h, w, corners):
    start = [[0, 0], [w - 1, 0], [w - 1, h - 1], [0, h - 1]]
    return dict(coefficients=v2.functional._geometry._get_perspective_coeffs(start, corners))


for k, corners in enumerate([[[2, 1], [15, 0], [13, 10], [1, 9]], [[0, 0], [16, 0], [16, 11], [0, 11]], [[4, 3], [12, 1], [16, 11], [3, 8]]]):
    params = [1] + [x for corner in corners for x in corner]
    for mode in ("nearest", "bilinear"):
        for fill in (0, 99):
            case(f"perspective_{k}_{mode}_{fill}", "random_perspective", f"p=1 fill={fill} interpolation={mode}",
                 v2.RandomPerspective(p=1, fill=fill, interpolation=v2.InterpolationMode(mode)), picture(12, 17, 3), perspective(12, 17, corners),
                 params, 1 if mode == "bilinear" else 0)
    moved(f"moved_perspective_{k}", "random_perspective", "", v2.RandomPerspective(), perspective(12, 17, corners), params, tol=1, box_tol=256)


def philox(key, stream, n):
    """n numbers in [0, 1) of cvrun's generator: Philox4x32-10, 53 bits of two words."""
    words = []
    for counter in range((2 * n + 3) // 4):
        x, k = [counter & 0xFFFFFFFF, counter >> 32, stream & 0xFFFFFFFF, stream >> 32], [key & 0xFFFFFFFF, key >> 32]
        for _ in range(10):
            p, q = 0xD2511F53 * x[0], 0xCD9E8D57 * x[2]
            x = [(q >> 32) ^ x[1] ^ k[0], q & 0xFFFFFFFF, (p >> 32) ^ x[3] ^ k[1], p & 0xFFFFFFFF]
            k = [(k[0] + 0x9E3779B9) & 0xFFFFFFFF, (k[1] + 0xBB67AE85) & 0xFFFFFFFF]
        words += x
    return torch.tensor([((words[2 * i] >> 5) * 67108864.0 + (words[2 * i + 1] >> 6)) / 9007199254740992.0 for i in range(n)]).float()


def elastic(t, h, w, key):
    """What ElasticTransform draws, from these numbers."""
    queue = [philox(key, 0, h * w).reshape(1, 1, h, w), philox(key, 1, h * w).reshape(1, 1, h, w)]
    with mock.patch.object(torch, "rand", lambda *size: queue.pop(0)):
        return t.make_params([torch.zeros(3, h, w)])


KEY = 0x123456789ABCDEF
for k, (alpha, sigma, options) in enumerate([([50.0], [1.0], {}), ([20.0, 60.0], [0.7, 1.2], dict(fill=99)), ([9.0], [0.0], {})]):
    for mode in ("nearest", "bilinear"):
        t = v2.ElasticTransform(alpha * (3 - len(alpha)), sigma * (3 - len(sigma)), interpolation=v2.InterpolationMode(mode), **options)
        words = f"alpha={setting(alpha)} sigma={setting(sigma)}" + "".join(f" {o}={v}" for o, v in options.items()) + f" interpolation={mode}"
        case(f"elastic_{k}_{mode}", "elastic_transform", words, t, picture(12, 17, 3), elastic(t, 12, 17, KEY), [KEY & 0xFFFFFFFF, KEY >> 32],
             1 if mode == "bilinear" else 0)
    t = v2.ElasticTransform(alpha * (3 - len(alpha)), sigma * (3 - len(sigma)))
    moved(f"moved_elastic_{k}", "elastic_transform", f"{setting(alpha)} {setting(sigma)}".replace(setting(alpha), f"alpha={setting(alpha)}", 1)
          .replace(f" {setting(sigma)}", f" sigma={setting(sigma)}", 1), t, elastic(t, MH, MW, KEY), [KEY & 0xFFFFFFFF, KEY >> 32], tol=1, box_tol=64)


# the policies: torchvision's own code, its draws given
def policy(name, transform, settings, t, image, integers, floats, params, shares=(), tol=0):
    """`integers`, `floats`, `shares`: what torch.randint, torch.rand and _sample_dirichlet give, one after the other."""
    integers, floats, shares = list(integers), list(floats), list(shares)
    with mock.patch.object(torch, "randint", lambda *a, **k: torch.tensor(integers.pop(0))), \
         mock.patch.object(torch, "rand", lambda *a, **k: torch.tensor(floats.pop(0))), \
         mock.patch.object(torch, "_sample_dirichlet", lambda *a: torch.tensor([shares.pop(0)])):
        result = t(image)
    assert not integers and not floats and not shares, name
    case(name, transform, settings, lambda x: result, image, None, list(params) + [0] * (-len(params) % 32 if len(params) > 2 else 0), tol)


def choice(op, at, bins, negative):
    return (-1 if negative else 1) * (1 + op * bins + at)


def many(t, op, at):
    """Whether an op has a magnitude, and a sign."""
    f, signed = t[list(t)[op]]
    return f(31, 8, 8) is not None, signed


for op in range(14):
    for k, (at, negative) in enumerate([(0, False), (7, True), (19, False), (30, True)]):
        space = v2.TrivialAugmentWide._AUGMENTATION_SPACE
        has, signed = many(space, op, at)
        if not has and k or (negative and not signed and k == 1):
            continue
        at, negative = at if has else 0, negative and signed
        mode, fill = ("nearest", None) if k % 2 == 0 else ("bilinear", None if k == 1 else [9.0, 99.0, 199.0])
        settings = f"interpolation={mode}" + ("" if fill is None else " fill=9,99,199")
        t = v2.TrivialAugmentWide(interpolation=v2.InterpolationMode(mode), fill=fill)
        policy(f"trivial_augment_wide_{op}_{k}", "trivial_augment_wide", settings, t, picture(15, 21, 3), [op] + [at] * has,
               [0.25 if negative else 0.75] * signed, [choice(op, at, 31, negative)], tol=1 if mode == "bilinear" else 0)
for k, (c, ops, negative) in enumerate([(3, (1, 7), (1, 0)), (3, (4, 10), (0, 0)), (1, (5, 8), (1, 1)), (3, (3, 13), (1, 0)), (3, (0, 12), (0, 0)),
                                        (1, (2, 11), (0, 0)), (3, (6, 9), (1, 1))]):
    space = v2.RandAugment._AUGMENTATION_SPACE
    floats = [0.25 if n else 0.75 for op, n in zip(ops, negative) if many(space, op, 9)[1]]
    params = [choice(op, 9 if many(space, op, 9)[0] else 0, 31, n) for op, n in zip(ops, negative)]
    policy(f"rand_augment_{k}", "rand_augment", "", v2.RandAugment(), picture(17, 19, c), ops, floats, params + [0] * 30)
policy("rand_augment_three", "rand_augment", "num_ops=3 magnitude=4 num_magnitude_bins=5", v2.RandAugment(3, 4, 5), picture(17, 19, 3), (5, 7, 10),
       (0.75, 0.25), [choice(5, 4, 5, 0), choice(7, 4, 5, 1), choice(10, 4, 5, 0)] + [0] * 29)
ops_of_auto = list(v2.AutoAugment._AUGMENTATION_SPACE)
for name in v2.AutoAugmentPolicy:
    t = v2.AutoAugment(name)
    for pair in range(25):
        floats, params = [], []
        for i, (op, p, at) in enumerate(t._policies[pair]):
            done = p > 0 and (pair + i) % 5 != 0 or p == 1
            floats.append(p - 1e-3 if done else p + 1e-3)
            if not done:
                params.append(0)
                continue
            signed, negative = v2.AutoAugment._AUGMENTATION_SPACE[op][1], (pair + i) % 2 == 0
            floats += [0.25 if negative else 0.75] * signed
            params.append(choice(ops_of_auto.index(op), at or 0, 10, negative and signed))
        policy(f"auto_augment_{name.value}_{pair}", "auto_augment", f"policy={name.value}", t, picture(12, 14, 3), [pair], floats, params)
for k, (settings, options, chains, m, w) in enumerate([
        ("", {}, [[(0, 1, 1)], [(12, 2, 0), (5, 0, 0)], [(8, 0, 0), (3, 2, 0), (10, 1, 1)]], (0.3, 0.7), (0.2, 0.5, 0.3)),
        ("severity=9 mixture_width=2 chain_depth=2 interpolation=nearest all_ops=no fill=7",
         dict(severity=9, mixture_width=2, chain_depth=2, all_ops=False, interpolation=v2.InterpolationMode.NEAREST, fill=7),
         [[(4, 8, 1), (6, 5, 0)], [(7, 0, 0), (1, 7, 0)]], (0.6, 0.4), (0.45, 0.55))]):
    for c in (3, 1):
        t = v2.AugMix(**options)
        space = v2.AugMix._AUGMENTATION_SPACE if t.all_ops else v2.AugMix._PARTIAL_AUGMENTATION_SPACE
        integers, floats, depth = [], [], max(t.chain_depth, 3 if t.chain_depth < 0 else 0)
        params = [np.float32(m[0])] + [np.float32(x) * np.float32(m[1]) for x in w]
        for chain in chains:
            integers += [len(chain)] if t.chain_depth < 0 else []
            for op, at, negative in chain:
                has, signed = many(space, op, at)
                integers += [op] + [at] * has
                floats += [0.25 if negative else 0.75] * signed
                params.append(choice(op, at if has else 0, 10, negative))
            params += [0] * (depth - len(chain))
        policy(f"aug_mix_{k}_{c}", "aug_mix", settings, t, picture(19, 21, c), integers, floats, [float(p) for p in params] + [0] * (32 - len(params)),
               [m, w], tol=1)


# whole batches
def mixed(name, t, drawn, params, images, labels):
    drawn = dict(drawn, labels=labels, batch_size=len(labels))
    out[name + "/transform"] = text(type(t).__name__.lower())
    out[name + "/settings"] = text(" ")
    out[name + "/params"] = text(" ".join("%.17g" % p for p in params) + " ")
    out[name + "/batch"] = images.permute(0, 2, 3, 1).contiguous()
    out[name + "/labels"] = labels if labels.ndim == 2 else torch.nn.functional.one_hot(labels, t.num_classes).float()
    out[name + "/out"] = t.transform(images, drawn).permute(0, 2, 3, 1).contiguous()
    out[name + "/out_labels"] = t.transform(labels, drawn).contiguous()


for k, (n, c, lam) in enumerate([(4, 3, 0.25), (3, 1, 0.87654321), (1, 2, 0.5)]):
    lam = float(torch.tensor(lam))
    mixed(f"mixup_{k}", v2.MixUp(num_classes=5), dict(lam=lam), [1, lam, 0, 0, 0, 0], torch.randn(n, c, 11, 9), torch.randint(5, (n,)))
for k, (n, c, h, (x1, y1, x2, y2)) in enumerate([(4, 3, 11, (2, 1, 8, 6)), (3, 1, 11, (0, 0, 9, 11)), (2, 2, 11, (4, 4, 4, 9)),
                                                  (3, 40, 3, (0, 1, 8, 3))]):
    lam = 1.0 - (x2 - x1) * (y2 - y1) / (9 * h)
    mixed(f"cutmix_{k}", v2.CutMix(num_classes=5), dict(box=(x1, y1, x2, y2), lam_adjusted=lam), [2, lam, y1, x1, y2, x2],
          torch.randn(n, c, h, 9), torch.randint(5, (n,)))
mixed("mixup_soft", v2.MixUp(), dict(lam=0.75), [1, 0.75, 0, 0, 0, 0], torch.randn(3, 1, 2, 2), torch.rand(3, 4).softmax(1))

# random sizes, and colours as SSD distorts them
for k, (size, options) in enumerate([(7, {}), (15, {}), (12, {}), (9, dict(antialias=False)), (20, dict(interpolation=v2.InterpolationMode.NEAREST))]):
    words = "".join({"antialias": " antialias=no", "interpolation": " interpolation=nearest"}[o] for o in options)
    moved(f"moved_random_resize_{k}", "random_resize", f"5 21{words}", v2.RandomResize(5, 21, **options), dict(size=[size]), [size, int(size * MW / MH)])
for k, (h, w) in enumerate([(6, 8), (24, 34), (12, 17), (1, 2), (19, 27)]):
    moved(f"moved_scale_jitter_{k}", "scale_jitter", "target_size=17,12", v2.ScaleJitter((17, 12)), dict(size=(h, w)), [h, w])
for k, (factors, before, order) in enumerate([
        ((1.1, None, None, None), 0, None), ((None, 1.4, None, None), 0, None), ((None, 0.6, None, None), 1, None),
        ((None, None, 1.5, None), 0, None), ((None, None, None, -0.04), 1, None), ((None, None, None, None), 0, (2, 0, 1)),
        ((0.9, 1.2, 0.7, 0.05), 1, (0, 2, 1)), ((1.12, 0.8, 1.3, 0.03), 0, (1, 0, 2)), ((None, None, None, None), 1, None)]):
    factors = [f if f is None else float(torch.tensor(f)) for f in factors]  # as it is drawn
    names = ("brightness_factor", "contrast_factor", "saturation_factor", "hue_factor")
    drawn = dict(zip(names, factors), contrast_before=bool(before), channel_permutation=None if order is None else torch.tensor(order))
    params = [n if f is None else f for f, n in zip(factors, (1, 1, 1, 0))] + [before] + list(order or (0, 1, 2))
    several = sum(f is not None for f in factors) > 1
    for dtype in (torch.uint8, F32):
        case(f"photometric_{k}" + ("_f32" if dtype == F32 else ""), "random_photometric_distort", "", v2.RandomPhotometricDistort(),
             picture(12, 13, 3, dtype), drawn, params, 64 if dtype == F32 else 1 if several else 0)
case("gaussian_blur_not", "gaussian_blur", "5 p=0.5", lambda x: x, picture(9, 8, 3), None, [0])

path = pathlib.Path(__file__).resolve().parent.parent / "golden" / "augment.safetensors"
save_file({k: v.clone() for k, v in out.items()}, path)
print(path, sum(k.endswith("/transform") for k in out), "cases,", path.stat().st_size, "bytes")
