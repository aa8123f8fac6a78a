#!/usr/bin/env python3
"""Numbers from PyTorch for the layers of convolution, dense, pooling and resize.

Writes tests/golden/layers_{conv,linear,pool,resize}.safetensors, next to this script's folder. Needs torch, numpy and
safetensors. The same versions give the same bytes. Fields of a case CASE, as the test that reads them expects:
  CASE/layer, CASE/settings   text, u8: the layer and its settings as a recipe has them
  CASE/in0                    the input, logical NCHW; CASE/param.NAME its parameters
  CASE/train                  1: the graph of a training step
  CASE/out0, CASE/gout0       the output, and the gradient that is fed in for it
  CASE/gin0, CASE/gparam.NAME the gradients
"""
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


def text(s):
    return np.frombuffer(s.encode(), dtype=np.uint8).copy()


class Family:
    """All cases of one file."""

    def __init__(self, name):
        self.name = name
        self.tensors = {}
        self.generator = torch.Generator().manual_seed(sum(map(ord, name)))

    def randn(self, *shape):
        return torch.randn(*shape, generator=self.generator)

    def add(self, case, layer, settings, module, x):
        """Runs the module forward and backward on x, with random parameters, and keeps everything."""
        put = lambda field, t: self.tensors.__setitem__(f"{case}/{field}", np.ascontiguousarray(t))
        assert f"{case}/layer" not in self.tensors, case
        with torch.no_grad():
            for p in module.parameters():
                p.copy_(self.randn(*p.shape) * 0.5)
        x = x.clone().requires_grad_(True)
        y = module(x)
        gy = self.randn(*y.shape)
        y.backward(gy)
        put("layer", text(layer))
        put("settings", text(settings))
        put("train", np.array(1, dtype=np.int64))
        put("in0", x.detach().numpy())
        put("out0", y.detach().numpy())
        put("gout0", gy.numpy())
        put("gin0", x.grad.numpy())
        for name, p in module.named_parameters():
            put(f"param.{name}", p.detach().numpy())
            put(f"gparam.{name}", p.grad.numpy())

    def write(self):
        path = GOLDEN / f"layers_{self.name}.safetensors"
        save_file({k: self.tensors[k] for k in sorted(self.tensors)}, path)
        print(f"{path.name}: {len({k.split('/')[0] for k in self.tensors})} cases, {path.stat().st_size} bytes")


def words(settings):
    """PyTorch's keywords as a recipe writes them: {'bias': False, 'stride': (1, 2)} -> 'bias=no stride=1,2'."""

    def one(v):
        if isinstance(v, bool):
            return "yes" if v else "no"
        return ",".join(map(str, v)) if isinstance(v, tuple) else str(v)

    return " ".join(f"{k}={one(v)}" for k, v in settings.items())


def conv():
    f = Family("conv")

    def conv2d(case, shape, out, kernel_size, **kw):
        settings = words({"kernel_size": kernel_size, **kw})
        f.add(case, "conv2d", f"{out} {settings}", torch.nn.Conv2d(shape[1], out, kernel_size, **kw), f.randn(*shape))

    def conv_transpose2d(case, shape, out, kernel_size, **kw):
        settings = words({"kernel_size": kernel_size, **kw})
        module = torch.nn.ConvTranspose2d(shape[1], out, kernel_size, **kw)
        f.add(case, "conv_transpose2d", f"{out} {settings}", module, f.randn(*shape))

    conv2d("conv_3x3", (2, 3, 7, 6), 5, 3, padding=1)
    conv2d("conv_no_padding", (1, 2, 6, 5), 3, 3, bias=False)
    conv2d("conv_1x1", (2, 5, 3, 4), 7, 1)
    conv2d("conv_1x1_stride2", (1, 4, 5, 5), 6, 1, stride=2, bias=False)
    conv2d("conv_1x1_padding", (1, 2, 3, 3), 3, 1, padding=2)
    conv2d("conv_stride2", (2, 3, 9, 8), 4, 3, stride=2, padding=1)
    conv2d("conv_stride3_kernel2", (1, 2, 8, 10), 3, 2, stride=3)
    conv2d("conv_dilation2", (1, 3, 9, 9), 4, 3, padding=2, dilation=2)
    conv2d("conv_dilation_stride", (1, 2, 11, 12), 3, 3, padding=3, dilation=3, stride=2)
    conv2d("conv_pairs", (2, 2, 9, 8), 3, (2, 3), stride=(2, 1), padding=(1, 2), dilation=(3, 1))
    conv2d("conv_groups2", (1, 4, 6, 6), 6, 3, padding=1, groups=2)
    conv2d("conv_groups4_stride2", (1, 8, 7, 7), 4, 3, stride=2, padding=1, groups=4, bias=False)
    conv2d("conv_depthwise", (2, 6, 6, 7), 6, 3, padding=1, groups=6)
    conv2d("conv_depthwise_stride2_5x5", (1, 5, 9, 9), 5, 5, stride=2, padding=2, groups=5, bias=False)
    conv2d("conv_depthwise_multiplier", (1, 3, 6, 6), 6, 3, padding=1, groups=3)
    conv2d("conv_depthwise_70", (1, 70, 3, 3), 70, 3, padding=1, groups=70)
    conv2d("conv_patches", (1, 3, 9, 8), 5, 4, stride=4)
    conv2d("conv_whole_picture", (2, 3, 4, 5), 4, (4, 5))
    conv2d("conv_one_pixel", (1, 1, 1, 1), 1, 1)
    conv2d("conv_first_layer", (2, 1, 12, 12), 8, 3, padding=1)
    conv_transpose2d("transpose_2x2_stride2", (1, 3, 4, 5), 4, 2, stride=2)
    conv_transpose2d("transpose_3x3", (2, 3, 4, 4), 2, 3, padding=1, bias=False)
    conv_transpose2d("transpose_output_padding", (1, 3, 4, 4), 5, 3, stride=2, padding=1, output_padding=1)
    conv_transpose2d("transpose_groups", (1, 4, 4, 3), 6, 3, stride=2, padding=1, groups=2)
    conv_transpose2d("transpose_depthwise", (1, 5, 4, 4), 5, 4, stride=2, padding=1, groups=5, bias=False)
    conv_transpose2d("transpose_pairs", (1, 2, 4, 5), 3, (3, 2), stride=(1, 3), padding=(1, 0), output_padding=(0, 2),
                     dilation=(2, 1))
    conv_transpose2d("transpose_output_padding_past_stride", (1, 2, 4, 4), 3, 3, stride=1, dilation=3,
                     output_padding=2)
    conv_transpose2d("transpose_stride_past_kernel", (1, 2, 3, 3), 2, 2, stride=3)
    f.write()


def linear():
    f = Family("linear")
    for case, shape, out, bias in [
        ("linear", (5, 12), 7, True),
        ("linear_no_bias", (3, 4), 6, False),
        ("linear_one", (1, 1), 1, True),
        ("linear_wide", (2, 150), 11, True),
        ("linear_rank3", (2, 3, 5), 4, True),
        ("linear_rank5", (2, 1, 3, 2, 5), 3, False),
        ("linear_rank6", (1, 2, 1, 3, 2, 4), 2, True),
    ]:
        settings = f"{out}" if bias else f"{out} bias=no"
        f.add(case, "linear", settings, torch.nn.Linear(shape[-1], out, bias=bias), f.randn(*shape))
    f.write()


def pool():
    f = Family("pool")

    def case(name, layer, module, x, kernel, **kw):
        f.add(name, layer, f"{words({'kernel_size': kernel})} {words(kw)}".strip(), module(kernel, **kw), x)

    def max_pool2d(name, x, kernel, **kw):
        case(name, "max_pool2d", torch.nn.MaxPool2d, x, kernel, **kw)

    def avg_pool2d(name, x, kernel, **kw):
        case(name, "avg_pool2d", torch.nn.AvgPool2d, x, kernel, **kw)

    max_pool2d("max_2x2", f.randn(2, 3, 6, 8), 2)
    max_pool2d("max_odd", f.randn(1, 2, 7, 5), 2)
    max_pool2d("max_odd_ceil", f.randn(1, 2, 7, 5), 2, ceil_mode=True)
    max_pool2d("max_resnet", f.randn(2, 3, 9, 9), 3, stride=2, padding=1)
    max_pool2d("max_resnet_ceil", f.randn(1, 3, 8, 9), 3, stride=2, padding=1, ceil_mode=True)
    max_pool2d("max_overlap", f.randn(1, 2, 6, 6), 3, stride=1)
    max_pool2d("max_stride_past_kernel", f.randn(1, 2, 8, 8), 2, stride=3)
    max_pool2d("max_dilation", f.randn(1, 2, 9, 8), 3, stride=2, padding=1, dilation=2)
    max_pool2d("max_pairs", f.randn(2, 2, 7, 9), (2, 3), stride=(1, 2), padding=(1, 0), dilation=(2, 1))
    max_pool2d("max_large_window", f.randn(1, 1, 18, 20), (17, 16), stride=(1, 2))
    max_pool2d("max_ties", torch.zeros(1, 2, 4, 4), 2)
    max_pool2d("max_70_channels", f.randn(1, 70, 4, 4), 2)
    special = f.randn(1, 1, 6, 6)
    special[0, 0, 0, 0] = special[0, 0, 3, 3] = special[0, 0, 3, 2] = float("nan")
    special[0, 0, 4:6, 0:2] = -float("inf")
    special[0, 0, 1, 4] = float("inf")
    max_pool2d("max_nan_and_infinity", special, 2)
    max_pool2d("max_negative_infinity_padding", torch.full((1, 1, 3, 3), -float("inf")), 3, stride=2, padding=1)

    avg_pool2d("avg_2x2", f.randn(2, 3, 6, 8), 2)
    avg_pool2d("avg_padding", f.randn(1, 3, 7, 7), 3, stride=2, padding=1)
    avg_pool2d("avg_exclude_pad", f.randn(1, 3, 7, 7), 3, stride=2, padding=1, count_include_pad=False)
    avg_pool2d("avg_ceil", f.randn(1, 2, 8, 7), 3, stride=2, padding=1, ceil_mode=True)
    avg_pool2d("avg_ceil_exclude_pad", f.randn(1, 2, 8, 7), 3, stride=2, padding=1, ceil_mode=True,
               count_include_pad=False)
    avg_pool2d("avg_divisor", f.randn(1, 2, 6, 6), 3, stride=2, padding=1, divisor_override=5)
    avg_pool2d("avg_pairs", f.randn(2, 2, 7, 9), (2, 3), stride=(1, 2), padding=(1, 0))
    avg_pool2d("avg_overlap_70_channels", f.randn(1, 70, 4, 4), 3, stride=1)

    for size, shape in [(1, (2, 5, 7, 7)), (7, (1, 2, 5, 4)), ((3, 2), (1, 3, 8, 7)), ((4, 5), (2, 2, 4, 5)),
                        (3, (1, 70, 5, 5))]:
        name = words({"": size})[1:].replace(",", "x")
        f.add(f"adaptive_{name}_of_{shape[2]}x{shape[3]}", "adaptive_avg_pool2d", words({"output_size": size}),
              torch.nn.AdaptiveAvgPool2d(size), f.randn(*shape))
    f.write()


def resize():
    f = Family("resize")

    def upsample(case, shape, **kw):
        f.add(case, "upsample", words(kw), torch.nn.Upsample(**kw), f.randn(*shape))

    for mode in ("nearest", "bilinear"):
        upsample(f"{mode}_size", (2, 3, 4, 5), size=(7, 11), mode=mode)
        upsample(f"{mode}_double", (1, 3, 4, 3), scale_factor=2, mode=mode)
        upsample(f"{mode}_same", (1, 2, 3, 4), size=(3, 4), mode=mode)
        upsample(f"{mode}_down", (1, 2, 9, 8), size=(4, 3), mode=mode)
        upsample(f"{mode}_factor", (1, 2, 5, 6), scale_factor=1.7, mode=mode)
        upsample(f"{mode}_factor_down", (1, 2, 9, 7), scale_factor=0.6, mode=mode)
        upsample(f"{mode}_factors", (1, 2, 5, 4), scale_factor=(1.3, 2.5), mode=mode)
        upsample(f"{mode}_factor_to_same", (1, 1, 5, 5), scale_factor=1.1, mode=mode)
        upsample(f"{mode}_one_pixel", (1, 2, 1, 1), size=(3, 4), mode=mode)
        upsample(f"{mode}_to_one_pixel", (1, 2, 4, 3), size=(1, 1), mode=mode)
    upsample("corners_size", (2, 3, 4, 5), size=(7, 11), mode="bilinear", align_corners=True)
    upsample("corners_down", (1, 2, 9, 8), size=(4, 3), mode="bilinear", align_corners=True)
    upsample("corners_factor", (1, 2, 5, 6), scale_factor=1.7, mode="bilinear", align_corners=True)
    upsample("corners_one_row", (1, 2, 5, 6), size=(1, 4), mode="bilinear", align_corners=True)
    f.write()


if __name__ == "__main__":
    torch.set_num_threads(1)
    GOLDEN.mkdir(parents=True, exist_ok=True)
    conv()
    linear()
    pool()
    resize()
