"""PNG, JPEG, WebP, BMP and TIFF files of every kind with the pixels that PIL gives for them.

Writes tests/golden/codecs.safetensors; needs torch, safetensors and Pillow. A case NAME has the fields
  NAME/file   u8 (n)        the file's bytes
  NAME/rgb    u8 (H, W, 3)  PIL's exif_transpose, then convert("RGB"), of it
  NAME/grey   u8 (H, W, 1)  the same with convert("L")
  NAME/own    i64           channels that are its own: 1 or 3
What PIL cannot write is put together here; of 16 bits the high byte counts, as cvrun documents it.
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
    image = Image.open(io.BytesIO(data)) if rgb is None else None
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

# ---- WebP ----

image = Image.fromarray(picture(13, 18))
add("webp_lossy", saved(image, format="WEBP", quality=70))
add("webp_lossless", saved(image, format="WEBP", lossless=True))
add("webp_lossy_alpha", saved(Image.fromarray(picture(13, 18, 4)), format="WEBP", quality=70))
add("webp_lossless_alpha", saved(Image.fromarray(picture(13, 18, 4)), format="WEBP", lossless=True))
frames = [Image.fromarray(picture(12, 15)) for _ in range(2)]
add("webp_animated", saved(frames[0], format="WEBP", save_all=True, append_images=frames[1:], lossless=True))
for k in (3, 6, 8):
    exif = Image.Exif()
    exif[0x0112] = k
    add(f"webp_exif{k}", saved(Image.fromarray(picture(5, 9)), format="WEBP", lossless=True, exif=exif))


def u24(x):
    return struct.pack("<I", x)[:3]


def riff(kind, body):
    return kind + struct.pack("<I", len(body)) + body + b"\0" * (len(body) % 2)


# A first frame that is smaller than its canvas.
small = saved(Image.fromarray(picture(6, 8)), format="WEBP", lossless=True)[12:]
frame = u24(2) + u24(1) + u24(7) + u24(5) + u24(100) + b"\0" + small
body = (riff(b"VP8X", struct.pack("<I", 2) + u24(14) + u24(11)) + riff(b"ANIM", b"\x10\x20\x30\xff\0\0") +
        riff(b"ANMF", frame))
add("webp_animated_small", riff(b"RIFF", b"WEBP" + body))

# ---- BMP ----


def bmp(bits, rows, w, h, palette=b"", compression=0, masks=b"", size=40, top_down=False, colours=0):
    """rows: the bytes of all rows as the file has them."""
    if size == 12:
        head = struct.pack("<IHHHH", 12, w, h, 1, bits)
    else:
        head = struct.pack("<IiiHHIIiiII", size, w, -h if top_down else h, 1, bits, compression, len(rows), 0, 0, colours, 0)
        head += masks + b"\0" * (size - 40 - len(masks) if size > 40 else 0)
    at = 14 + len(head) + len(palette)
    return b"BM" + struct.pack("<IHHI", at + len(rows), 0, 0, at) + head + palette + rows


def bmp_rows(samples, bits):
    h, w = samples.shape
    out = b""
    for row in samples[::-1]:
        if bits < 8:
            b = np.packbits(np.unpackbits(row.reshape(-1, 1).astype(np.uint8), axis=1)[:, 8 - bits:].reshape(-1)).tobytes()
        else:
            b = row.astype(f"<u{bits // 8}").tobytes()
        out += b + b"\0" * (-len(b) % 4)
    return out


for bits in (1, 4, 8):
    n = 1 << bits
    x = rng.integers(0, n, (7, 11))
    palette = rng.integers(0, 256, (n, 4)).astype(np.uint8)
    add(f"bmp_palette{bits}", bmp(bits, bmp_rows(x, bits), 11, 7, palette.tobytes()))
    add(f"bmp_core{bits}", bmp(bits, bmp_rows(x, bits), 11, 7, palette[:, :3].tobytes(), size=12))
x = rng.integers(0, 5, (4, 6))
add("bmp_few_colours", bmp(8, bmp_rows(x, 8), 6, 4, palette[:5].tobytes(), colours=5))
x = rng.integers(0, 65536, (7, 11))
add("bmp_555", bmp(16, bmp_rows(x, 16), 11, 7))
add("bmp_565", bmp(16, bmp_rows(x, 16), 11, 7, compression=3, masks=struct.pack("<3I", 0xf800, 0x7e0, 0x1f)))
add("bmp_555_masks", bmp(16, bmp_rows(x, 16), 11, 7, compression=3, masks=struct.pack("<3I", 0x7c00, 0x3e0, 0x1f)))
x = rng.integers(0, 1 << 32, (5, 6))
add("bmp_32", bmp(32, bmp_rows(x, 32), 6, 5))
rgba = struct.pack("<4I", 0xff, 0xff00, 0xff0000, 0xff000000)
add("bmp_32_masks", bmp(32, bmp_rows(x, 32), 6, 5, compression=3, masks=rgba, size=124))
add("bmp_top_down", bmp(32, bmp_rows(x, 32), 6, 5, top_down=True))
add("bmp_24", saved(Image.fromarray(picture(11, 14)), format="BMP"))
add("bmp_grey8", saved(Image.fromarray(picture(5, 6, 1)[:, :, 0]), format="BMP"))
add("bmp_grey1", saved(Image.fromarray(picture(5, 9, 1)[:, :, 0]).convert("1"), format="BMP"))
palette = rng.integers(0, 256, (256, 4)).astype(np.uint8)
runs = bytes([5, 7, 3, 9, 0, 0, 0, 5, 1, 2, 3, 4, 5, 0, 0, 2, 1, 1, 2, 200, 0, 0, 0, 3, 8, 9, 10, 0, 5, 1, 0, 0, 8, 77, 0, 1])
add("bmp_rle8", bmp(8, runs, 8, 5, palette.tobytes(), compression=1))
runs = bytes([5, 0x71, 3, 0x9a, 0, 0, 0, 5, 0x12, 0x34, 0x50, 0, 0, 2, 2, 1, 1, 0xc0, 0, 0, 0, 7, 0x89, 0xab, 0xcd, 0xe0, 0, 0, 8, 0x55, 0, 1])
add("bmp_rle4", bmp(4, runs, 8, 5, palette[:16].tobytes(), compression=2))

# ---- TIFF ----


def tiff(tags, blocks, big=False, offsets=273, counts=279):
    """tags: {tag: (type, values)}; offsets and byte counts of the blocks are added. Type 3: u16, 4: u32."""
    e = ">" if big else "<"
    out = (b"MM" if big else b"II") + struct.pack(e + "HI", 42, 0)
    places = []
    for block in blocks:
        places.append(len(out))
        out += block
    tags = dict(tags)
    tags[offsets], tags[counts] = (4, places), (4, [len(b) for b in blocks])
    entries, extra = [], b""
    out += b"\0" * (len(out) % 2)
    first = len(out)
    beyond = first + 2 + 12 * len(tags) + 4
    for tag in sorted(tags):
        kind, values = tags[tag]
        data = struct.pack(e + str(len(values)) + {3: "H", 4: "I"}[kind], *values)
        if len(data) > 4:
            entry = struct.pack(e + "I", beyond + len(extra))
            extra += data
        else:
            entry = data + b"\0" * (4 - len(data))
        entries.append(struct.pack(e + "HHI", tag, kind, len(values)) + entry)
    out = out[:4] + struct.pack(e + "I", first) + out[8:]
    return out + struct.pack(e + "H", len(entries)) + b"".join(entries) + b"\0" * 4 + extra


def tags(h, w, bits, photometric, samples=1, rows=None, **more):
    t = {256: (4, [w]), 257: (4, [h]), 258: (3, [bits] * samples), 259: (3, [1]), 262: (3, [photometric]), 277: (3, [samples])}
    if rows:
        t[278] = (4, [rows])
    t.update({int(k[1:]): v for k, v in more.items()})
    return t


def packed(samples, bits, e="<"):
    """(H, W, channels) as the rows of a strip or tile."""
    h = samples.shape[0]
    if bits >= 8:
        return samples.astype(f"{e}u{bits // 8}").tobytes()
    wide = np.unpackbits(samples.reshape(h, -1, 1).astype(np.uint8), axis=2)[:, :, 8 - bits:].reshape(h, -1)
    return np.packbits(wide, axis=1).tobytes()


for bits in (1, 4, 8):
    x = rng.integers(0, 1 << bits, (7, 11, 1))
    scale = 255 // ((1 << bits) - 1)
    add(f"tiff_grey{bits}", tiff(tags(7, 11, bits, 1, rows=3), [packed(x[i:i + 3], bits) for i in (0, 3, 6)]))
    add(f"tiff_white{bits}", tiff(tags(7, 11, bits, 0, rows=7), [packed(x, bits)]), (255 - x * scale).astype(np.uint8))
    palette = rng.integers(0, 65536, (3, 1 << bits))
    colours = (3, [int(v) for v in palette.reshape(-1)])
    add(f"tiff_palette{bits}", tiff(tags(7, 11, bits, 3, rows=7, t320=colours), [packed(x, bits)]))
x = rng.integers(0, 65536, (7, 11, 1))
for big in (False, True):
    e = ">" if big else "<"
    add(f"tiff_grey16_{int(big)}", tiff(tags(7, 11, 16, 1, rows=7), [packed(x, 16, e)], big), (x >> 8).astype(np.uint8))
    y = rng.integers(0, 65536, (5, 6, 3))
    add(f"tiff_rgb16_{int(big)}", tiff(tags(5, 6, 16, 2, 3, rows=5), [packed(y, 16, e)], big))
x = picture(20, 30)
cells = [(i, j) for i in (0, 16) for j in (0, 16)]
wide = np.pad(x, ((0, 12), (0, 2), (0, 0)))
tiles = [packed(wide[i:i + 16, j:j + 16], 8) for i, j in cells]
tile = {"t322": (3, [16]), "t323": (3, [16])}
add("tiff_tiles", tiff(tags(20, 30, 8, 2, 3, **tile), tiles, False, 324, 325), x)
planes = [packed(wide[i:i + 16, j:j + 16, k:k + 1], 8) for k in range(3) for i, j in cells]
add("tiff_tile_planes", tiff(tags(20, 30, 8, 2, 3, t284=(3, [2]), **tile), planes, False, 324, 325), x)
x = picture(7, 11)
strips = [packed(x[i:i + 4, :, k:k + 1], 8) for k in range(3) for i in (0, 4)]
add("tiff_planes", tiff(tags(7, 11, 8, 2, 3, rows=4, t284=(3, [2])), strips), x)
x = picture(7, 11, 4)
for kind in (0, 1, 2):
    add(f"tiff_alpha{kind}", tiff(tags(7, 11, 8, 2, 4, rows=7, t338=(3, [kind])), [packed(x, 8)]))
add("tiff_cmyk", tiff(tags(7, 11, 8, 5, 4, rows=7), [packed(x, 8)]))
x = picture(7, 11, 2)
add("tiff_grey_alpha", tiff(tags(7, 11, 8, 1, 2, rows=7, t338=(3, [2])), [packed(x, 8)]))
for k in range(1, 9):
    x = picture(5, 9)
    add(f"tiff_turned{k}", tiff(tags(5, 9, 8, 2, 3, rows=5, t274=(3, [k])), [packed(x, 8)]))
image = Image.fromarray(picture(11, 14))
for name in ("tiff_lzw", "tiff_adobe_deflate", "packbits", "jpeg", "zstd", "lzma"):
    add("tiff_" + name.replace("tiff_", ""), saved(image, format="TIFF", compression=name))
add("tiff_webp", tiff(tags(11, 14, 8, 2, 3, rows=11, t259=(3, [50001])), [saved(image, format="WEBP", lossless=True)]),
    np.asarray(image))
add("tiff_predictor", saved(image, format="TIFF", compression="tiff_lzw", tiffinfo={317: 2}))
add("tiff_jpeg_grey", saved(image.convert("L"), format="TIFF", compression="jpeg"))
for name in ("group3", "group4", "tiff_ccitt"):
    add("tiff_" + name.replace("tiff_", ""), saved(image.convert("1"), format="TIFF", compression=name))
# Luma and chroma, a chroma sample for 2 x 2 pixels: blocks of four of one and one of each other.
x = rng.integers(16, 240, (4, 4, 6))
add("tiff_ycbcr", tiff(tags(8, 8, 8, 6, 3, rows=8, t530=(3, [2, 2]), t259=(3, [8])), [zlib.compress(packed(x, 8))]))

path = pathlib.Path(__file__).resolve().parent.parent / "golden" / "codecs.safetensors"
save_file(out, path)
print(path, len(out) // 4, "cases,", path.stat().st_size, "bytes")
