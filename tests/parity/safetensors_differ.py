"""What cvrun's reader of safetensors takes and refuses, against the Python package: both must agree on every damaged header.

    python tests/parity/safetensors_differ.py build/bin/cvrun [FILES [SEED]]

Headers of small valid files lose, gain and repeat pieces of JSON, and the sizes before and behind them change. Where both
take a file, `cvrun convert` must write the same tensors. What is meant to differ is in meant(). Prints what was compared and ends with 1 where the two disagree.
"""
import collections
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile

from safetensors import SafetensorError, deserialize

cvrun = str(pathlib.Path(sys.argv[1]).resolve())
files = int(sys.argv[2]) if len(sys.argv) > 2 else 3000
draw = random.Random(int(sys.argv[3]) if len(sys.argv) > 3 else 1)
PIECES = [b"{", b"}", b"[", b"]", b":", b",", b'"', b" ", b"\n", b"\t", b"0", b"1", b"-1", b"1e1", b"1.0", b"\\", b"\\u0041",
          b"\\ud800", b"null", b"true", b"{}", b"[]", b"\xc3\xa9", b"\xff", b"18446744073709551615", b"9223372036854775808",
          b'"F32"', b'"U8"', b'"shape":', b'"dtype":', b'"data_offsets":[0,4]', b'"__metadata__":{"a":"b"},', b'"x":1,']


def valid():
    """A file of up to three tensors, sometimes with metadata: (header, bytes)."""
    header, at = {}, 0
    if draw.random() < 0.3:
        header["__metadata__"] = {"format": "pt"}
    for i in range(draw.randrange(4)):
        dtype, size = draw.choice([("F32", 4), ("BF16", 2), ("U8", 1), ("I64", 8), ("BOOL", 1)])
        shape = [draw.randrange(3) for _ in range(draw.randrange(3))]
        n = size
        for d in shape:
            n *= d
        header[draw.choice(["a", "b.weight", "\u00e9", "t"]) + str(i)] = {"dtype": dtype, "shape": shape, "data_offsets": [at, at + n]}
        at += n
    return json.dumps(header, separators=draw.choice([(",", ":"), (", ", ": ")])).encode(), bytes(draw.randrange(2) for _ in range(at))


def damage(header, data):
    text = bytearray(header)
    for _ in range(draw.choice((0, 1, 1, 1, 2))):
        at, what = draw.randrange(len(text) + 1), draw.randrange(4)
        if what == 0:
            text[at:at] = draw.choice(PIECES)
        elif what == 1:
            del text[at:at + draw.randrange(1, 4)]
        elif what == 2:
            text[at:at + draw.randrange(1, 6)] = draw.choice(PIECES)
        else:
            end = at + draw.randrange(1, 40)
            text[at:at] = text[at:end]
    if draw.random() < 0.1:
        data = draw.choice([data + b"\0", data[:-1]])
    length = len(text) + draw.choice([0] * 12 + [1, -1])
    return struct.pack("<Q", max(length, 0)) + bytes(text) + data


def python_says(content):
    try:
        return {name: (t["dtype"], list(t["shape"]), bytes(t["data"])) for name, t in deserialize(content)}
    except (SafetensorError, UnicodeError, ValueError) as e:
        return str(e)


def cvrun_says(folder, content):
    there, back = folder / "in.safetensors", folder / "out.safetensors"
    there.write_bytes(content)
    back.unlink(missing_ok=True)
    ran = subprocess.run([cvrun, "convert", there, back], capture_output=True, text=True, errors="replace", timeout=20)
    assert ran.returncode in (0, 1, 2), (ran.returncode, ran.stderr)
    return python_says(back.read_bytes()) if ran.returncode == 0 else ran.stderr.strip()


def meant(mine, theirs):
    """A type that only one of the two has; a tensor's member of another name, which cvrun takes for damage; and blanks
    before the header's brace, by which cvrun tells the format."""
    if isinstance(theirs, str):
        return "unknown variant" in theirs
    return isinstance(mine, str) and ("a type that cvrun has not" in mine or "a member other than" in mine or "is no file of weights" in mine)


counts, apart = collections.Counter(), []
with tempfile.TemporaryDirectory() as name:
    folder = pathlib.Path(name)
    for i in range(files):
        content = damage(*valid())
        mine, theirs = cvrun_says(folder, content), python_says(content)
        taken = (isinstance(mine, dict), isinstance(theirs, dict))
        counts["taken by both" if all(taken) else "refused by both" if not any(taken) else "apart"] += 1
        if mine != theirs and any(taken) and not meant(mine, theirs):
            apart.append((content, mine, theirs))
print(dict(counts), f"{len(apart)} of them not meant")
for content, mine, theirs in apart[:10]:
    print("\n", content, "\n  cvrun:", mine, "\n  safetensors:", theirs)
assert counts["taken by both"] > files / 20 and counts["refused by both"] > files / 20, "too one-sided to tell anything"
sys.exit(1 if apart else 0)
