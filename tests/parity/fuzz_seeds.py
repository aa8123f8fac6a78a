"""Writes golden/fuzz/: the seeds of the fuzz targets that are not text, each below 4 kB.

    python3 fuzz_seeds.py OUT_FOLDER        (needs Pillow and safetensors)
"""
import gzip, io, os, pathlib, struct, sys, tarfile, zlib
from PIL import Image
from safetensors.numpy import load_file

out = sys.argv[1]


def put(target, name, data):
    assert len(data) <= 4096, (target, name, len(data))
    os.makedirs(f"{out}/{target}", exist_ok=True)
    with open(f"{out}/{target}/{name}", "wb") as f:
        f.write(data)


# ---- PNG: every colour type and depth, interlaced and not, and chunks that readers look at ----


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, colour, interlaced, raw, extra=b""):
    head = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, interlaced))
    return b"\x89PNG\r\n\x1a\n" + head + extra + chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b"")


def adam7(width, height, bits):
    raw = b""
    for x, y, dx, dy in ((0, 0, 8, 8), (4, 0, 8, 8), (0, 4, 4, 8), (2, 0, 4, 4), (0, 2, 2, 4), (1, 0, 2, 2), (0, 1, 1, 2)):
        columns, rows = (width - x + dx - 1) // dx, (height - y + dy - 1) // dy
        if columns > 0 and rows > 0:
            raw += (b"\0" + b"\x5a" * ((columns * bits + 7) // 8)) * rows
    return raw


for colour, channels in ((0, 1), (2, 3), (3, 1), (4, 2), (6, 4)):
    for depth in (1, 2, 4, 8, 16):
        if depth < 8 and colour not in (0, 3) or colour == 3 and depth == 16:
            continue
        extra = chunk(b"PLTE", bytes(range(3 * min(2**depth, 16)))) if colour == 3 else b""
        if colour in (0, 2, 3):
            extra += chunk(b"tRNS", b"\0" * (6 if colour == 2 else 2))
        row = b"\4" + b"\x91" * ((5 * depth * channels + 7) // 8)
        put("png", f"plain_{colour}_{depth}.png", png(5, 3, depth, colour, 0, row * 3, extra))
        put("png", f"interlaced_{colour}_{depth}.png", png(5, 6, depth, colour, 1, adam7(5, 6, depth * channels), extra))
known = [
    (b"gAMA", struct.pack(">I", 45455)), (b"sRGB", b"\0"), (b"cHRM", b"\0\0\x10\0" * 8), (b"pHYs", b"\0" * 9),
    (b"bKGD", b"\0" * 6), (b"tEXt", b"a\0b"), (b"zTXt", b"a\0\0" + zlib.compress(b"hi")),
    (b"iCCP", b"n\0\0" + zlib.compress(b"x" * 132)), (b"sBIT", b"\x08\x08\x08"), (b"eXIf", b"II*\0\x08\0\0\0\0\0\0\0\0\0"),
]
put("png", "chunks.png", png(3, 3, 8, 2, 0, (b"\1" + b"\7" * 9) * 3, b"".join(chunk(k, d) for k, d in known)))
put("png", "blank.png", png(4000, 1800, 1, 0, 0, (b"\0" * 501) * 1800))

# ---- JPEG: sampling, restarts, progressive, grey, CMYK, EXIF orientations of both byte orders ----

picture = Image.new("RGB", (41, 33))
picture.putdata([((7 * x) % 256, (5 * y + 3 * x) % 256, (x * y) % 256) for y in range(33) for x in range(41)])


def jpeg(p, **options):
    b = io.BytesIO()
    p.save(b, "JPEG", quality=60, **options)
    return b.getvalue()


def exif(orientation, big, more):
    e = ">" if big else "<"
    t = (b"MM\0*" if big else b"II*\0") + struct.pack(e + "IH", 8, 1 + more)
    for i in range(more):
        t += struct.pack(e + "HHII", 0x100 + i, 3, 1, 0)
    return b"Exif\0\0" + t + struct.pack(e + "HHIHHI", 0x112, 3, 1, orientation, 0, 0)


for progressive in (False, True):
    word = "progressive" if progressive else "baseline"
    for sampling in (0, 1, 2):
        put("jpeg", f"{word}_{sampling}.jpg", jpeg(picture, subsampling=sampling, progressive=progressive))
    put("jpeg", f"{word}_restarts.jpg", jpeg(picture, subsampling=2, progressive=progressive, restart_marker_blocks=1))
    put("jpeg", f"{word}_grey.jpg", jpeg(picture.convert("L"), progressive=progressive))
    put("jpeg", f"{word}_cmyk.jpg", jpeg(picture.convert("CMYK"), progressive=progressive))
for o in range(0, 10):
    put("jpeg", f"exif_{o}.jpg", jpeg(picture.crop((0, 0, 13, 9)), exif=exif(o, o % 2 == 0, o % 3)))
base = jpeg(picture, subsampling=2)
for factors in (0x41, 0x14, 0x44, 0x31, 0x42):
    odd = bytearray(base)
    odd[odd.index(b"\xff\xc0") + 11] = factors
    put("jpeg", f"sampling_{factors:02x}.jpg", bytes(odd))

# ---- WebP, BMP, TIFF: some of what codecs.py made ----

golden = load_file(pathlib.Path(__file__).resolve().parent.parent / "golden" / "codecs.safetensors")
for target, names in (
    ("webp", "lossy lossless lossy_alpha lossless_alpha animated animated_small exif6"),
    ("bmp", "palette1 core4 few_colours 555_masks 32_masks top_down 24 grey1 rle8 rle4"),
    ("tiff", "grey1 white4 palette4 grey16_1 rgb16_0 tile_planes planes alpha1 cmyk turned6 lzw adobe_deflate packbits "
             "predictor jpeg jpeg_grey zstd lzma webp group3 group4 ccitt ycbcr"),
):
    for name in names.split():
        put(target, name, golden[f"{target}_{name}/file"].tobytes())

# ---- IDX and CIFAR, plain and gzip ----


def idx(shape, data):
    return struct.pack(">HBB", 0, 8, len(shape)) + struct.pack(f">{len(shape)}I", *shape) + data


images, labels = idx((3, 2, 2), bytes(range(12))), idx((3,), b"\1\0\2")
for name, data in (("images", images), ("labels", labels)):
    put("idx", name, data)
    put("idx", name + ".gz", gzip.compress(data, mtime=0))
    put("idx", name + "_members.gz", gzip.compress(data[:7], mtime=0) + gzip.compress(data[7:], mtime=0))
words = "airplane automobile bird cat deer dog frog horse ship truck".split()
put("cifar", "one10", b"\3" + bytes(i % 251 for i in range(3072)))
put("cifar", "one100", b"\3\5" + bytes(i % 251 for i in range(3072)))
put("cifar", "zeros10.gz", gzip.compress((b"\7" + b"\0" * 3072) * 3, mtime=0))
put("cifar", "zeros100.gz", gzip.compress((b"\7\1" + b"\0" * 3072) * 4, mtime=0))
put("cifar", "many.gz", gzip.compress(b"\0" * 3073 * 600, mtime=0))
put("cifar", "names10", "\n".join(words).encode() + b"\n")
put("cifar", "names100", b"\r\n".join(b"n%d" % i for i in range(100)))

# ---- shards, in the formats of tar ----


def shard(form, names):
    f = io.BytesIO()
    with tarfile.open(fileobj=f, mode="w", format=form) as t:
        for name, data in names:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            t.addfile(member, io.BytesIO(data))
    return f.getvalue().rstrip(b"\0")


few = [("a.jpg", b"picture"), ("a.cls", b"3\n"), ("b.png", b""), ("b.json", b'{"x": [1, "}"], "label": 2}')]
for form, name in ((tarfile.USTAR_FORMAT, "ustar"), (tarfile.PAX_FORMAT, "pax"), (tarfile.GNU_FORMAT, "gnu")):
    put("tar", name, shard(form, few))
    put("tar", name + "_long", shard(form, [("d" * 90 + "/" + "n" * 70 + ".jpg", b"p"), ("d" * 90 + "/" + "n" * 70 + ".cls", b"0")]))
put("tar", "pax_name", shard(tarfile.PAX_FORMAT, [("\u00e9.jpg", b"p"), ("\u00e9.cls", b"1")]))

# ---- packed splits; the target makes the sums right ----


def pack(stored, shares, samples):
    """samples: (height, width, label, record)."""
    out, index = b"CVRPACK\0" + b"\0" * 8, b""
    for height, width, label, record in samples:
        out += b"\0" * (-len(out) % 64)
        index += struct.pack("<QQQIIq", len(out), len(record), 0, height, width, label)
        out += record
    names = b"cat\0dog\0"
    at = len(out)
    out += names + b"\0" * (-(at + len(names)) % 8)
    return out + index + struct.pack("<8sII7Q", b"CVRPACK", 1, stored, len(samples), 2, 3, shares, at, len(out), 0)


put("pack", "pixels", pack(0, 0, [(2, 3, 1, b"x" * 18), (1, 1, 0, b"abc")]))
put("pack", "shares", pack(0, 1, [(1, 2, -1, b"y" * 6 + struct.pack("<2f", 1, 0))]))
put("pack", "files", pack(1, 0, [(7, 9, 0, b"a picture's file"), (3, 3, 1, b"z")]))

# ---- the checkpoint of fuzz_checkpoint.c's network; the target makes the hash right ----

fields = "".join(f"{k} 1\n" for k in "step epoch batch epoch_samples images best_epoch finished".split())
fields += "".join(f"{k} 0x1.8p+1\n" for k in "loss_sum seconds wait_seconds epoch_seconds epoch_wait best_value".split())
fields += "metric 0x1p-1\n"
tensors = "tensor f32 48 fc.weight\ntensor f32 12 fc.bias\n"


def checkpoint(header, body):
    header += "\n" * (-len(header) % 8)
    return b"CVRSTAT1" + struct.pack("<Q", len(header)) + header.encode() + body + b"\0" * 8


body = b"\1" * 48 + b"\2" * 12 + b"\0" * 4
put("checkpoint", "plain", checkpoint(fields + tensors, body))
put("checkpoint", "state", checkpoint(fields + tensors + "state 5 acme.scale\n", body + b"hello\0\0\0"))
put("checkpoint", "short", checkpoint(fields, b""))
