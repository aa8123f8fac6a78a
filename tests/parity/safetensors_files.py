"""Files that the safetensors plugin is held to, in both directions.

tests/golden/python.safetensors is written by the Python package, with every type that both sides have.
tests/golden/cvrun.safetensors is what cvrun's writer has to give for the tensors in tests/plugins/safetensors_test.c; it is
put together here byte by byte from the format's description, and the Python package has to read it.
"""
import json
import pathlib
import struct

import torch
from safetensors.torch import load_file, save_file

golden = pathlib.Path(__file__).resolve().parent.parent / "golden"

save_file({
    "f32": torch.tensor([[1.5, -2.25, 3e38], [0.0, -0.0, 1e-40]]),
    "f16": torch.tensor([1.0, 65504.0, -0.5], dtype=torch.float16),
    "bf16": torch.tensor([1.0, -3.0, 256.0], dtype=torch.bfloat16),
    "u8": torch.tensor([0, 255], dtype=torch.uint8),
    "i8": torch.tensor([-128, 127], dtype=torch.int8),
    "i32": torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32),
    "i64": torch.tensor(2**62, dtype=torch.int64),
    "f64": torch.tensor([0.1], dtype=torch.float64),
    "bool": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3),
    'name "quoted" \\ \u00e9 \U0001f600': torch.ones(1),
}, golden / "python.safetensors", metadata={"format": "pt", "note": "a\nb"})

tensors = {  # in byte order of the names
    "a.num_batches_tracked": ("I64", [], struct.pack("<q", 7)),
    "b.mask": ("U8", [3], bytes([1, 2, 3])),
    "c.half": ("F16", [2], struct.pack("<2e", 1.0, -2.0)),
    "c.weight": ("F32", [2, 1, 1, 2], struct.pack("<4f", 1, 2, 3, 4)),
    "d \"\u00e9\"\n": ("BF16", [1], struct.pack("<H", 0x3F80)),
    "e.empty": ("F32", [0, 5], b""),
}
width = {"I64": 8, "F32": 4, "F16": 2, "BF16": 2, "U8": 1}
order = sorted(tensors, key=lambda n: (-width[tensors[n][0]], n.encode()))
at, begin = 0, {}
for name in order:
    begin[name] = at
    at += len(tensors[name][2])
header = {"__metadata__": {"a": "1", "format": "pt"}}
for name, (dtype, shape, data) in tensors.items():
    header[name] = {"dtype": dtype, "shape": shape, "data_offsets": [begin[name], begin[name] + len(data)]}
text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
text += b" " * (-len(text) % 8)
path = golden / "cvrun.safetensors"
path.write_bytes(struct.pack("<Q", len(text)) + text + b"".join(tensors[n][2] for n in order))
back = load_file(path)
assert set(back) == set(tensors)
assert back["a.num_batches_tracked"].item() == 7 and back["c.weight"].flatten().tolist() == [1, 2, 3, 4]
assert back["c.half"].tolist() == [1, -2] and back["e.empty"].shape == (0, 5)
print("ok")
