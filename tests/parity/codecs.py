"""PNG and JPEG files of every kind with the pixels that PIL gives for them.

Writes tests/golden/codecs.safetensors; needs torch, safetensors and Pillow. A case NAME has the fields
  NAME/file   u8 (n)        the file's bytes
  NAME/rgb    u8 (H, W, 3)  PIL's exif_transpose, then convert("RGB"), of it
  NAME/grey   u8 (H, W, 1)  the same with convert("L")
  NAME/own    i64           channels that are its own: 1 or 3
PNGs that PIL cannot write are put together here; of 16 bits the high byte counts, as cvrun documents it.
"""
import io
import pathlib
import struct
import zlib

import numpy as np
import torch
from PIL import Image, ImageOps
from safetensors.torch import save_file

rng = np.random.default_rng(0)
out = {}


def picture(h, w, c=3):
    y, x = np.mgrid[0:h, 0:w]
    base = np.stack([127 + 80 * np.sin(x / 3 + y / 5 + k) for k in range(c)], -1)
    return np.clip(base + rng.integers(-20, 20, (h, w, c)), 0, 255).astype(np.uint8)


def add(name, data, rgb=None, grey=None):
    image = Image.open(io.BytesIO(data))
    own = 1 if rgb is None and image.mode in ("1", "L", "LA", "I;16") or (rgb is not None and rgb.shape[2] == 1) else 3
    if rgb is None:
        image = ImageOps.exif_transpose(image)
        rgb = np.asarray(image.convert("RGB"))
        grey = np.asarray(image.convert("RGB").convert("L") if own == 3 else image.convert("L"))[:, :, None]
    elif rgb.shape[2] == 1:
        grey, rgb = rgb, np.repeat(rgb, 3, 2)
    else:
        grey = np.asarray(Image.fromarray(rgb).convert("L"))[:, :, None]
    out[name + "/file"] = torch.tensor(list(data), dtype=torch.uint8)
    out[name + "/rgb"] = torch.from_numpy(np.ascontiguousarray(rgb).copy())
    out[name + "/grey"] = torch.from_numpy(np.ascontiguousarray(grey).copy())
    out[name + "/own"] = torch.tensor([own])


def saved(image, **options):
    f = io.BytesIO()
    image.save(f, **options)
    return f.getvalue()


def chunk(kind, body):
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(samples, depth, colour, extra=b"", interlace=False):
    """samples: (H, W, channels) of `depth` bits; filter 0 in every row."""
    h, w, _ = samples.shape
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    raw = b""
    for top, left, dy, dx in passes if interlace else [(0, 0, 1, 1)]:
        part = samples[top::dy, left::dx]
        for row in part if part.size else []:
            if depth == 16:
                raw += b"\0" + row.astype(">u2").tobytes()
            else:
                bits = np.unpackbits(row.reshape(-1, 1).astype(np.uint8), axis=1)[:, 8 - depth:]
                raw += b"\0" + np.packbits(bits.reshape(-1)).tobytes()
    head = struct.pack(">IIBBBBB", w, h, depth, colour, 0, 0, int(interlace))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", head) + extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


for depth in (1, 2, 4, 8):
    x = rng.integers(0, 1 << depth, (9, 13, 1))
    add(f"png_grey{depth}", png(x, depth, 0), (x * (255 // ((1 << depth) - 1))).astype(np.uint8))
    palette = rng.integers(0, 256, (1 << depth, 3)).astype(np.uint8)
    extra = chunk(b"PLTE", palette.tobytes())
    add(f"png_palette{depth}", png(x, depth, 3, extra))
    add(f"png_palette{depth}_trns", png(x, depth, 3, extra + chunk(b"tRNS", bytes([0, 128]))), palette[x[:, :, 0]])
x = rng.integers(0, 65536, (7, 10, 1))
add("png_grey16", png(x, 16, 0), (x >> 8).astype(np.uint8))
x = rng.integers(0, 65536, (7, 10, 3))
add("png_rgb16", png(x, 16, 2), (x >> 8).astype(np.uint8))
x = rng.integers(0, 65536, (7, 10, 4))
add("png_rgba16", png(x, 16, 6), (x[:, :, :3] >> 8).astype(np.uint8))
x = rng.integers(0, 65536, (7, 10, 2))
add("png_la16", png(x, 16, 4), (x[:, :, :1] >> 8).astype(np.uint8))
add("png_rgb", saved(Image.fromarray(picture(11, 14)), format="PNG"))
add("png_rgba", saved(Image.fromarray(picture(11, 14, 4)), format="PNG"))
add("png_la", saved(Image.fromarray(picture(11, 14, 2)), format="PNG"))
add("png_rgb_trns", png(picture(5, 6), 8, 2, chunk(b"tRNS", struct.pack(">3H", 1, 2, 3))))
x = picture(5, 6, 1)
add("png_grey_trns", png(x, 8, 0, chunk(b"tRNS", struct.pack(">H", int(x[0, 0, 0])))), x)
add("png_gamma", png(picture(5, 6), 8, 2, chunk(b"gAMA", struct.pack(">I", 100000))))
for h, w in ((1, 1), (5, 3), (16, 17)):
    add(f"png_interlaced_{h}", png(picture(h, w), 8, 2, interlace=True))
x = rng.integers(0, 2, (9, 9, 1))
add("png_interlaced_grey1", png(x, 1, 0, interlace=True), (x * 255).astype(np.uint8))

photo = picture(19, 26)
add("jpeg_444", saved(Image.fromarray(photo), format="JPEG", quality=90, subsampling=0))
add("jpeg_422", saved(Image.fromarray(photo), format="JPEG", quality=80, subsampling=1))
add("jpeg_420", saved(Image.fromarray(photo), format="JPEG", quality=75, subsampling=2))
add("jpeg_progressive", saved(Image.fromarray(photo), format="JPEG", quality=75, progressive=True))
add("jpeg_restart", saved(Image.fromarray(photo), format="JPEG", quality=75, restart_marker_blocks=1))
add("jpeg_grey", saved(Image.fromarray(photo[:, :, 0]), format="JPEG", quality=85))
add("jpeg_rgb", saved(Image.fromarray(photo), format="JPEG", quality=85, keep_rgb=True))
add("jpeg_cmyk", saved(Image.fromarray(picture(9, 12, 4), mode="CMYK"), format="JPEG", quality=85))
add("jpeg_1x1", saved(Image.fromarray(photo[:1, :1]), format="JPEG"))
for k in range(1, 9):
    exif = Image.Exif()
    exif[0x0112] = k
    add(f"jpeg_exif{k}", saved(Image.fromarray(picture(5, 9)), format="JPEG", quality=80, subsampling=0, exif=exif))

path = pathlib.Path(__file__).resolve().parent.parent / "golden" / "codecs.safetensors"
save_file(out, path)
print(path, len(out) // 4, "cases,", path.stat().st_size, "bytes")
