#!/usr/bin/env python3
"""Numbers from PyTorch for fake_quantize: torch.fake_quantize_per_tensor_affine and _per_channel_affine, with their gradients.

Writes tests/golden/layers_quant.safetensors. Scales are powers of two, so that PyTorch's product with 1 / scale is our
quotient, ties included. Fields as in layers_a.py; inputs in1 (scale) and in2 (zero point) have no gradient.
"""
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
tensors = {}
generator = torch.Generator().manual_seed(20)


def case(name, lowest, highest, x, scale, zero, run):
    x = x.clone().requires_grad_(True)
    y = run(x)
    gy = torch.randn(*y.shape, generator=generator)
    y.backward(gy)
    fields = {
        "layer": np.frombuffer(b"op:fake_quantize", dtype=np.uint8),
        "settings": np.frombuffer(f"lowest={lowest} highest={highest}".encode(), dtype=np.uint8),
        "train": np.array(1, dtype=np.int64),
        "in0": x.detach().numpy(),
        "in1": scale.numpy(),
        "in2": zero.numpy().astype(np.float32),
        "out0": y.detach().numpy(),
        "gout0": gy.numpy(),
        "gin0": x.grad.numpy(),
    }
    for field, value in fields.items():
        tensors[f"{name}/{field}"] = np.ascontiguousarray(value)


def per_tensor(name, scale, zero, shape):
    # a third beyond the range on either side, and ties
    x = torch.randn(*shape, generator=generator) * 200 * scale
    x.view(-1)[::5] = (x.view(-1)[::5] / scale).round() * scale + scale / 2
    s, z = torch.tensor(scale), torch.tensor(zero, dtype=torch.int32)
    case(name, 0, 255, x, s, z, lambda v: torch.fake_quantize_per_tensor_affine(v, s, z, 0, 255))


def per_channel(name, shape):
    rows = shape[0]
    x = torch.randn(*shape, generator=generator)
    scale = torch.tensor([2.0 ** -(5 + k % 4) for k in range(rows)])
    zero = torch.zeros(rows, dtype=torch.int32)
    one = [rows] + [1] * (len(shape) - 1)
    case(name, -127, 127, x, scale.view(one), zero.view(one), lambda v: torch.fake_quantize_per_channel_affine(v, scale, zero, 0, -127, 127))


per_tensor("tensor", 0.0625, 100, (2, 3, 5, 4))
per_tensor("relu", 0.03125, 0, (3, 7))
per_channel("rows", (6, 3, 3, 3))
per_channel("linear", (5, 9))
path = GOLDEN / "layers_quant.safetensors"
save_file({k: tensors[k] for k in sorted(tensors)}, path)
print(f"{path.name}: {len({k.split('/')[0] for k in tensors})} cases, {path.stat().st_size} bytes")
