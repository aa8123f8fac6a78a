#!/usr/bin/env python3
"""Numbers from PyTorch for the layers of normalisation, activation, shape, arithmetic, dropout, loss and attention.

Writes tests/golden/layers_{norm,activation,shape,arith,dropout,loss,attention,stochastic_depth,tokens,window}.safetensors, next to this script's folder. Needs
torch, torchvision, numpy and safetensors. The same versions give the same bytes. Fields of a case CASE:
  CASE/layer, CASE/settings        text, u8: the layer and its settings as a recipe has them
  CASE/in0, in1, ...               the inputs, logical NCHW; CASE/param.NAME parameters and buffers before
  CASE/train                       1: the graph of a training step; 0: of evaluation
  CASE/out0, CASE/gout0            the output, and the gradient that is fed in for it
  CASE/gin0, ..., CASE/gparam.NAME the gradients; CASE/after.NAME the buffers afterwards
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file
from torch import nn
from torchvision.ops import FrozenBatchNorm2d, StochasticDepth, sigmoid_focal_loss

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
        return torch.randn(shape, generator=self.generator)

    def rand(self, *shape):
        return torch.rand(shape, generator=self.generator)

    def add(self, case, layer, settings, module, *inputs, train=True, const=()):
        """Runs the module forward and backward and keeps everything. `const`: numbers of f32 inputs without gradient."""

        def put(field, t):
            t = t.detach().numpy() if isinstance(t, torch.Tensor) else t
            self.tensors[f"{case}/{field}"] = np.array(t, order="C", copy=True)

        assert f"{case}/layer" not in self.tensors, case
        parameters, buffers = {}, {}
        if isinstance(module, nn.Module):
            module.train(train)
            parameters, buffers = dict(module.named_parameters()), dict(module.named_buffers())
            with torch.no_grad():
                for p in parameters.values():
                    p.copy_(self.randn(*p.shape) * 0.5)
                for name, b in buffers.items():
                    if b.is_floating_point():
                        b.copy_(self.rand(*b.shape) + 0.5 if name == "running_var" else self.randn(*b.shape))
                    else:
                        b.fill_(7)
        for name, t in [*parameters.items(), *buffers.items()]:
            put(f"param.{name}", t)
        xs = [x.clone() for x in inputs]
        wanted = [i for i, x in enumerate(xs) if x.is_floating_point() and i not in const]
        for i in wanted:
            xs[i].requires_grad_(True)
        y = module(*xs)
        gy = self.randn(*y.shape)
        y.backward(gy)
        put("layer", text(layer))
        put("settings", text(settings))
        put("train", np.array(int(train), dtype=np.int64))
        for i, x in enumerate(xs):
            put(f"in{i}", x)
        put("out0", y)
        put("gout0", gy)
        for i in wanted:
            put(f"gin{i}", xs[i].grad)
        for name, p in parameters.items():
            if train:
                put(f"gparam.{name}", p.grad)
        for name, b in buffers.items():
            put(f"after.{name}", b)

    def write(self):
        path = GOLDEN / f"layers_{self.name}.safetensors"
        save_file({k: self.tensors[k] for k in sorted(self.tensors)}, path)
        print(f"{path.name}: {len({k.split('/')[0] for k in self.tensors})} cases, {path.stat().st_size} bytes")


class LayerNorm2d(nn.LayerNorm):
    """As torchvision's convnext has it: over the channels of each pixel."""

    def forward(self, x):
        x = x.permute(0, 2, 3, 1)
        return F.layer_norm(x, self.normalized_shape, self.weight, self.bias, self.eps).permute(0, 3, 1, 2)


def norm():
    f = Family("norm")
    bn = nn.BatchNorm2d
    f.add("bn_train", "batch_norm2d", "", bn(5), f.randn(3, 5, 4, 7))
    f.add("bn_one_channel", "batch_norm2d", "", bn(1), f.randn(2, 1, 9, 5))
    f.add("bn_wide", "batch_norm2d", "", bn(70), f.randn(3, 70, 2, 3))
    f.add("bn_one_pixel", "batch_norm2d", "", bn(3), f.randn(4, 3, 1, 1))
    f.add("bn_far_mean", "batch_norm2d", "", bn(4), f.randn(2, 4, 5, 5) * 0.5 + 20)
    f.add("bn_settings", "batch_norm2d", "eps=0.001 momentum=0.03", bn(6, eps=0.001, momentum=0.03), f.randn(2, 6, 5, 3))
    f.add("bn_no_affine", "batch_norm2d", "affine=no", bn(3, affine=False), f.randn(2, 3, 5, 5))
    f.add("bn_no_running", "batch_norm2d", "track_running_stats=no", bn(3, track_running_stats=False), f.randn(2, 3, 4, 4))
    f.add("bn_eval", "batch_norm2d", "", bn(5), f.randn(2, 5, 3, 4), train=False)
    f.add("bn_eval_one_pixel", "batch_norm2d", "", bn(5), f.randn(1, 5, 1, 1), train=False)
    f.add("bn_eval_no_affine", "batch_norm2d", "affine=no eps=0.01", bn(3, affine=False, eps=0.01), f.randn(2, 3, 5, 5), train=False)
    f.add("bn_eval_no_running", "batch_norm2d", "track_running_stats=no", bn(3, track_running_stats=False), f.randn(2, 3, 4, 4), train=False)
    ln = nn.LayerNorm
    f.add("ln_rank2", "layer_norm", "10", ln(10), f.randn(4, 10))
    f.add("ln_rank3", "layer_norm", "33 eps=1e-06", ln(33, eps=1e-6), f.randn(2, 5, 33))
    f.add("ln_two_axes", "layer_norm", "5,6", ln((5, 6)), f.randn(3, 5, 6))
    f.add("ln_no_bias", "layer_norm", "8 bias=no", ln(8, bias=False), f.randn(3, 2, 8))
    f.add("ln_no_affine", "layer_norm", "8 elementwise_affine=no", ln(8, elementwise_affine=False), f.randn(3, 8))
    f.add("ln_chw", "layer_norm", "3,4,5", ln((3, 4, 5)), f.randn(2, 3, 4, 5))
    f.add("ln_hw", "layer_norm", "4,5", ln((4, 5)), f.randn(2, 3, 4, 5))
    f.add("ln_w", "layer_norm", "5", ln(5), f.randn(2, 3, 4, 5))
    f.add("ln_nchw", "layer_norm", "2,3,4,5", ln((2, 3, 4, 5)), f.randn(2, 3, 4, 5))
    f.add("ln_rank5", "layer_norm", "3,2", ln((3, 2)), f.randn(2, 2, 2, 3, 2))
    f.add("ln2d", "layer_norm2d", "eps=1e-06", LayerNorm2d(12, eps=1e-6), f.randn(2, 12, 3, 5))
    f.add("ln2d_plain", "layer_norm2d", "elementwise_affine=no", LayerNorm2d(7, elementwise_affine=False), f.randn(2, 7, 2, 3))
    gn = nn.GroupNorm
    f.add("gn", "group_norm", "3", gn(3, 12), f.randn(2, 12, 4, 5))
    f.add("gn_one", "group_norm", "1 eps=0.001", gn(1, 6, eps=0.001), f.randn(3, 6, 3, 3))
    f.add("gn_each", "group_norm", "5", gn(5, 5), f.randn(2, 5, 4, 4))
    f.add("gn_no_affine", "group_norm", "2 affine=no", gn(2, 4, affine=False), f.randn(2, 4, 3, 2))
    f.add("gn_wide", "group_norm", "32", gn(32, 96), f.randn(1, 96, 3, 3))
    f.add("gn_rank2", "group_norm", "2", gn(2, 8), f.randn(3, 8))
    f.add("gn_rank3", "group_norm", "4", gn(4, 8), f.randn(2, 8, 9))
    l2 = lambda x: F.normalize(x, dim=1)
    f.add("l2", "l2_norm2d", "", l2, f.randn(2, 7, 3, 4))
    f.add("l2_zero", "l2_norm2d", "eps=0.5", lambda x: F.normalize(x, dim=1, eps=0.5), torch.cat([torch.zeros(1, 3, 2, 2), f.randn(1, 3, 2, 2) * 0.1, f.randn(1, 3, 2, 2)]))
    for train in (True, False):
        name = "frozen_train" if train else "frozen_eval"
        f.add(name, "frozen_batch_norm2d", "", FrozenBatchNorm2d(5), f.randn(2, 5, 3, 4), train=train)
    f.add("frozen_eps", "frozen_batch_norm2d", "eps=0", FrozenBatchNorm2d(70, eps=0.0), f.randn(1, 70, 2, 2))
    f.write()


def activation():
    f = Family("activation")
    edges = torch.tensor([-120.0, -88.0, -20.0, -9.1, -6.0, -3.0, -1.0, -1e-3, -0.0, 0.0, 1e-6, 0.5, 3.0, 6.0, 9.1, 20.0, 88.0, 120.0])
    modules = {
        "relu": ("", nn.ReLU()),
        "relu6": ("", nn.ReLU6()),
        "leaky_relu": ("", nn.LeakyReLU()),
        "leaky_relu_slope": ("0.3", nn.LeakyReLU(0.3)),
        "leaky_relu_negative": ("negative_slope=-0.5", nn.LeakyReLU(-0.5)),
        "gelu": ("", nn.GELU()),
        "gelu_tanh": ("approximate=tanh", nn.GELU(approximate="tanh")),
        "silu": ("", nn.SiLU()),
        "hardswish": ("", nn.Hardswish()),
        "hardsigmoid": ("", nn.Hardsigmoid()),
        "sigmoid": ("", nn.Sigmoid()),
        "tanh": ("", nn.Tanh()),
    }
    layer_of = {"leaky_relu_slope": "leaky_relu", "leaky_relu_negative": "leaky_relu", "gelu_tanh": "gelu"}
    for name, (settings, module) in modules.items():
        layer = layer_of.get(name, name)
        f.add(name, layer, settings, module, f.randn(2, 3, 5, 7) * 3)
        f.add(f"{name}_edges", layer, settings, module, edges)
        f.add(f"{name}_scalar", layer, settings, module, f.randn())
    for name, module in (("softmax", nn.Softmax), ("log_softmax", nn.LogSoftmax)):
        for dim in (0, 1, 2, -1):
            f.add(f"{name}_rank4_{dim}", name, f"dim={dim}", module(dim), f.randn(3, 5, 4, 6) * 2)
        f.add(f"{name}_rank2", name, "1", module(1), f.randn(4, 10) * 10)
        f.add(f"{name}_rank2_0", name, "0", module(0), f.randn(4, 10))
        f.add(f"{name}_rank3", name, "dim=1", module(1), f.randn(2, 7, 3))
        f.add(f"{name}_far", name, "dim=-1", module(-1), f.randn(2, 3, 9) * 50 + 1000)
        f.add(f"{name}_one", name, "0", module(0), f.randn(1))
        f.add(f"{name}_long", name, "-1", module(-1), f.randn(2, 1500))
    f.add("mish", "mish", "", nn.Mish(), f.randn(2, 3, 5, 7) * 3)
    f.add("mish_edges", "mish", "", nn.Mish(), edges)
    f.write()


def shape():
    f = Family("shape")
    f.add("flatten", "flatten", "", nn.Flatten(), f.randn(2, 3, 4, 5))
    f.add("flatten_one_channel", "flatten", "", nn.Flatten(), f.randn(2, 1, 4, 5))
    f.add("flatten_pooled", "flatten", "", nn.Flatten(), f.randn(2, 7, 1, 1))
    f.add("flatten_all", "flatten", "start_dim=0", nn.Flatten(0), f.randn(2, 3, 4, 5))
    f.add("flatten_hw", "flatten", "2", nn.Flatten(2), f.randn(2, 3, 4, 5))
    f.add("flatten_ch", "flatten", "1 2", nn.Flatten(1, 2), f.randn(2, 3, 4, 5))
    f.add("flatten_nothing", "flatten", "1 1", nn.Flatten(1, 1), f.randn(2, 3, 4, 5))
    f.add("flatten_rank2", "flatten", "", nn.Flatten(), f.randn(3, 4))
    f.add("flatten_rank5", "flatten", "start_dim=-3 end_dim=-2", nn.Flatten(-3, -2), f.randn(2, 3, 2, 2, 3))
    for name, start, to in (
        ("4_to_2", (2, 3, 4, 5), (2, -1)),
        ("4_to_4", (2, 3, 4, 5), (3, 2, 5, 4)),
        ("2_to_4", (4, 30), (4, 5, -1, 3)),
        ("3_to_2", (2, 3, 4), (6, 4)),
        ("4_to_1", (2, 3, 2, 2), (-1,)),
        ("1_to_4", (24,), (2, 3, 2, 2)),
        ("plain_4", (2, 6, 1, 1), (2, 2, 3)),
        ("to_6", (2, 3, 4, 5), (2, 3, 2, 2, 5, 1)),
    ):
        settings = ",".join(map(str, to))
        f.add(f"reshape_{name}", "reshape", f"shape={settings}", lambda x, to=to: x.reshape(to), f.randn(*start))
    for start, dims in (
        ((2, 3, 4, 5), (0, 2, 3, 1)),
        ((2, 3, 4, 5), (3, 2, 1, 0)),
        ((2, 3, 4, 5), (1, 0, 3, 2)),
        ((2, 3, 4, 5), (0, 1, 2, 3)),
        ((2, 3, 4), (2, 0, 1)),
        ((3, 5), (1, 0)),
        ((2, 1, 3, 2, 2), (4, -3, 0, 1, 3)),
        ((1, 2, 3, 2, 1, 2), (5, 4, 3, 2, 1, 0)),
    ):
        name = "".join(str(d % len(dims)) for d in dims)
        settings = ",".join(map(str, dims))
        f.add(f"permute_{name}", "permute", settings, lambda x, dims=dims: x.permute(dims), f.randn(*start))
    cat = lambda dim: lambda *xs: torch.cat(xs, dim)
    f.add("concat_channels", "concat", "dim=1", cat(1), f.randn(2, 3, 4, 5), f.randn(2, 1, 4, 5), f.randn(2, 4, 4, 5))
    f.add("concat_batch", "concat", "", cat(0), f.randn(2, 3, 4, 5), f.randn(1, 3, 4, 5))
    f.add("concat_height", "concat", "2", cat(2), f.randn(2, 3, 4, 5), f.randn(2, 3, 1, 5))
    f.add("concat_width", "concat", "dim=-1", cat(-1), f.randn(2, 3, 4, 5), f.randn(2, 3, 4, 2))
    f.add("concat_rank2", "concat", "1", cat(1), f.randn(3, 4), f.randn(3, 2), f.randn(3, 1), f.randn(3, 5))
    f.add("concat_one", "concat", "1", cat(1), f.randn(3, 4))
    f.add("slice_channels", "slice", "1 start=1 end=3", lambda x: x[:, 1:3], f.randn(2, 5, 3, 4))
    f.add("slice_step", "slice", "dim=3 start=1 step=2", lambda x: x[..., 1::2], f.randn(2, 3, 4, 7))
    f.add("slice_negative", "slice", "dim=-2 start=-3 end=-1", lambda x: x[:, :, -3:-1], f.randn(2, 3, 5, 2))
    f.add("slice_batch", "slice", "end=2", lambda x: x[:2], f.randn(4, 3))
    f.add("slice_past_end", "slice", "1 start=-100 end=100 step=3", lambda x: x[:, -100:100:3], f.randn(2, 8))
    f.add("chunk_first", "chunk", "3 dim=1", lambda x: torch.chunk(x, 3, 1)[0], f.randn(2, 8, 3, 4))
    f.add("slice_all", "slice", "2", lambda x: x, f.randn(2, 3, 4))
    f.write()


def arith():
    f = Family("arith")
    pairs = {
        "same": ((2, 3, 4, 5), (2, 3, 4, 5)),
        "same_rank2": ((3, 7), (3, 7)),
        "scalar": ((2, 3, 4, 5), ()),
        "gate": ((2, 6, 3, 4), (2, 6, 1, 1)),
        "channel": ((2, 6, 3, 4), (6, 1, 1)),
        "width": ((2, 3, 4, 5), (5,)),
        "plane": ((2, 3, 4, 5), (4, 5)),
        "picture": ((3, 4, 5), (2, 3, 4, 5)),
        "both": ((3, 1, 5), (4, 1)),
        "rows": ((4, 1), (1, 5)),
        "batch": ((1, 3, 4, 5), (2, 3, 1, 5)),
        "rank5": ((2, 1, 3, 1, 2), (3, 2, 1)),
    }
    for name, (a, b) in pairs.items():
        f.add(f"add_{name}", "add", "", torch.add, f.randn(*a), f.randn(*b))
        f.add(f"mul_{name}", "mul", "", torch.mul, f.randn(*a), f.randn(*b))
    ties = lambda *shape: torch.round(f.randn(*shape) * 1.5)
    for shape, dim in (
        ((2, 3, 4, 5), (2, 3)),
        ((2, 3, 4, 5), (1,)),
        ((2, 3, 4, 5), (0, 2, 3)),
        ((2, 3, 4, 5), (0,)),
        ((2, 3, 4, 5), (-1,)),
        ((2, 3, 4, 5), (1, 3)),
        ((2, 3, 4, 5), ()),
        ((6, 9), (1,)),
        ((6, 9), (0,)),
        ((2, 5, 4), (1,)),
        ((2, 3, 2, 2, 3), (1, 3)),
        ((7,), (0,)),
        ((1500,), ()),
    ):
        for keep in (False, True):
            name = f"{len(shape)}_{'n' if not dim else ''.join(str(d % len(shape)) for d in dim)}{'k' if keep else ''}"
            if shape == (1500,):
                name = f"long{'k' if keep else ''}"
            settings = f"{','.join(map(str, dim))}{' keepdim=yes' if keep else ''}".strip()
            axes = dim or tuple(range(len(shape)))
            f.add(f"sum_{name}", "sum", settings, lambda x, d=axes, k=keep: x.sum(d, k), f.randn(*shape))
            f.add(f"mean_{name}", "mean", settings, lambda x, d=axes, k=keep: x.mean(d, k), f.randn(*shape))
            f.add(f"amax_{name}", "amax", settings, lambda x, d=axes, k=keep: x.amax(d, k), ties(*shape))
    f.write()


def dropout():
    """Only what does not depend on PyTorch's own random numbers."""
    f = Family("dropout")
    f.add("eval", "dropout", "p=0.4", nn.Dropout(0.4), f.randn(2, 3, 4, 5), train=False)
    f.add("none", "dropout", "0", nn.Dropout(0), f.randn(2, 7))
    f.add("all", "dropout", "1", nn.Dropout(1), f.randn(2, 7))
    f.add("channels_eval", "dropout2d", "p=0.4", nn.Dropout2d(0.4), f.randn(2, 3, 4, 5), train=False)
    f.add("channels_all", "dropout2d", "1", nn.Dropout2d(1), f.randn(2, 3, 4, 5))
    f.write()


def overlap(x, target, weight=None, alpha=0.5, beta=0.5, gamma=1.0, smooth=0.0, log_loss=False, ignore_index=-100):
    """Tversky as segmentation_models.pytorch's DiceLoss, JaccardLoss and TverskyLoss compute it, from their formulas."""
    binary = x.shape[1] == 1
    p = torch.sigmoid(x) if binary else torch.softmax(x, 1)
    valid = (target != ignore_index).unsqueeze(1)
    t = torch.where(target == ignore_index, 0, target)
    t = t.unsqueeze(1) == 1 if binary else F.one_hot(t, x.shape[1]).movedim(-1, 1)
    p, t = p * valid, (t * valid).to(x.dtype)
    dims = [d for d in range(x.dim()) if d != 1]
    both, predicted, truth = (p * t).sum(dims), p.sum(dims), t.sum(dims)
    score = (both + smooth) / (both + alpha * (predicted - both) + beta * (truth - both) + smooth).clamp_min(1e-7)
    loss = (-torch.log(score.clamp_min(1e-7)) if log_loss else 1 - score) * (truth > 0)
    return (loss.mean() if weight is None else (loss * weight).sum() / weight.sum()) ** gamma


def jaccard(x, target, weight=None, **kw):
    return overlap(x, target, weight, alpha=1, beta=1, **kw)


def focal(x, target, weight=None, gamma=2.0, ignore_index=-100):
    log_p = torch.log_softmax(x, 1).movedim(1, -1)[target != ignore_index]
    t = target[target != ignore_index]
    log_q = log_p.gather(1, t[:, None])[:, 0]
    w = torch.ones_like(log_q) if weight is None else weight[t]
    return (-w * (1 - log_q.exp()) ** gamma * log_q).sum() / w.sum()


def sigmoid_focal(x, target, weight=None, alpha=0.25, gamma=2.0, ignore_index=-100):
    rows = x.movedim(1, -1)[target != ignore_index]
    t = target[target != ignore_index]
    y = t[:, None] if x.shape[1] == 1 else F.one_hot(t, x.shape[1])
    per_class = sigmoid_focal_loss(rows, y.to(x.dtype), alpha, gamma).mean(0)
    return per_class.mean() if weight is None else (per_class * weight).sum() / weight.sum()


def jaccard_growth(truth):
    left, union = truth.sum() - truth.cumsum(0), truth.sum() + (1 - truth).cumsum(0)
    loss = 1 - left / union
    return torch.cat([loss[:1], loss[1:] - loss[:-1]])


def lovasz(x, target, weight=None, ignore_index=-100):
    rows = x.movedim(1, -1)[target != ignore_index]
    t = target[target != ignore_index]
    if x.shape[1] == 1:
        errors, order = torch.sort(1 - rows[:, 0] * (2 * t - 1), descending=True, stable=True)
        return (torch.relu(errors) * jaccard_growth((t[order] == 1).to(x.dtype))).sum()
    p, losses, weights = torch.softmax(rows, 1), [], []
    for c in range(x.shape[1]):
        truth = (t == c).to(x.dtype)
        if truth.sum() > 0:
            errors, order = torch.sort((truth - p[:, c]).abs(), descending=True, stable=True)
            losses.append((errors * jaccard_growth(truth[order])).sum())
            weights.append(torch.ones(()) if weight is None else weight[c])
    return sum(w * l for w, l in zip(weights, losses)) / sum(weights)


def ohem(x, target, weight=None, thresh=0.7, min_kept=100000, ignore_index=-100):
    """HRNet's OhemCrossEntropy and mmsegmentation's OHEMPixelSampler, with the mean over the pixels that are kept."""
    valid = target != ignore_index
    p = torch.softmax(x, 1).gather(1, torch.where(valid, target, 0).unsqueeze(1))[:, 0].detach()
    ordered = p[valid].sort().values
    hard = valid & ((p < thresh) | (p <= ordered[min(min_kept, len(ordered)) - 1]))
    return F.cross_entropy(x, torch.where(hard, target, ignore_index), weight, ignore_index=ignore_index)


def segmentation_losses(f, classes):
    """Losses over (N,C,H,W) and the shapes beside it; 255 is ignored."""

    def add(case, layer, fn, x, target, weight=None, **kw):
        words = " ".join(f"{k}={'yes' if v is True else v}" for k, v in kw.items())
        extra = () if weight is None else (weight,)
        f.add(case, layer, words, lambda p, t, w=None: fn(p, t, w, **kw), x, target, *extra, const=(2,))

    def known(case, layer, fn, value, x, target, weight=None, **kw):
        """A case whose value was taken from segmentation_models.pytorch's own losses."""
        add(f"known_{case}", layer, fn, x, target, weight, **kw)
        assert abs(float(f.tensors[f"known_{case}/out0"]) - value) < 2e-7, (case, float(f.tensors[f"known_{case}/out0"]))

    def void(target, share=0.3):
        target = target.clone()
        target[f.rand(*target.shape) < share] = 255
        return target

    losses = {
        "dice": (overlap, [{}, dict(smooth=1.0), dict(log_loss=True, smooth=1.0)]),
        "jaccard": (jaccard, [{}, dict(smooth=1.0), dict(log_loss=True)]),
        "tversky": (overlap, [{}, dict(alpha=0.3, beta=0.7), dict(alpha=0.3, beta=0.7, gamma=1.5), dict(alpha=0.8, beta=0.1, gamma=0.75, smooth=2.0, log_loss=True)]),
        "focal": (focal, [{}, dict(gamma=0.0), dict(gamma=0.5), dict(gamma=3.5)]),
        "sigmoid_focal": (sigmoid_focal, [{}, dict(alpha=-1.0), dict(gamma=0.0), dict(alpha=0.7, gamma=1.5)]),
        "lovasz": (lovasz, [{}]),
        "ohem": (ohem, [{}, dict(min_kept=20), dict(thresh=0.2, min_kept=9), dict(thresh=0.0, min_kept=7)]),
    }
    for layer, (fn, settings) in losses.items():
        for k, kw in enumerate(settings):
            x, target = f.randn(2, 4, 3, 5) * 2, classes(4, 2, 3, 5)
            add(f"{layer}_{k}", layer, fn, x, target, **kw)
            add(f"{layer}_{k}_all", layer, fn, x, void(target), f.rand(4) + 0.1, ignore_index=255, **kw)
        add(f"{layer}_rows", layer, fn, f.randn(7, 3), classes(3, 7))
        add(f"{layer}_rank3", layer, fn, f.randn(2, 3, 5), void(classes(3, 2, 5)), ignore_index=255)
        add(f"{layer}_absent", layer, fn, f.randn(2, 6, 3, 2), classes(2, 2, 3, 2) * 3)
        add(f"{layer}_far", layer, fn, f.randn(2, 3, 4, 4) * 12, classes(3, 2, 4, 4))
        if layer not in ("focal", "ohem"):
            add(f"{layer}_one", layer, fn, f.randn(2, 1, 3, 5) * 2, void(classes(2, 2, 3, 5)), ignore_index=255)

    x = torch.tensor([[[[1, 0, -1], [0.5, 2, 0]], [[0, 1, 0], [0.5, -1, 3]], [[-1, 0.5, 2], [0, 0, 1]]]])
    some, all_ = torch.tensor([[[0, 1, 2], [1, 0, 255]]]), torch.tensor([[[0, 1, 1], [1, 0, 0]]])
    ce = lambda x, t, w=None, **kw: F.cross_entropy(x, t, w, **kw)
    known("ce", "cross_entropy", ce, 0.47711754, x, some, ignore_index=255)
    known("ce_weight", "cross_entropy", ce, 0.45334157, x, some, torch.tensor([0.5, 1, 2]), ignore_index=255)
    known("ce_smooth", "cross_entropy", ce, 0.57711756, x, some, ignore_index=255, label_smoothing=0.1)
    known("dice_void", "dice", overlap, 0.35819897, x, some, ignore_index=255)
    known("dice", "dice", overlap, 0.33599749, x, all_)
    known("dice_log", "dice", overlap, 0.30527326, x, all_, log_loss=True, smooth=1.0)
    known("jaccard", "jaccard", jaccard, 0.44247881, x, all_)
    known("tversky", "tversky", overlap, 0.35642603, x, all_, alpha=0.3, beta=0.7)
    known("tversky_power", "tversky", overlap, 0.21279143, x, all_, alpha=0.3, beta=0.7, gamma=1.5)
    known("lovasz_void", "lovasz", lovasz, 0.36447719, x, some, ignore_index=255)
    known("lovasz", "lovasz", lovasz, 0.61044323, x, all_)
    known("sigmoid_focal", "sigmoid_focal", sigmoid_focal, 0.39419103, x, all_, alpha=-1.0)
    known("sigmoid_focal_void", "sigmoid_focal", sigmoid_focal, 0.12038187, x, some, alpha=-1.0, ignore_index=255)
    known("focal", "focal", focal, 0.86518782, x, all_)
    one, truth = torch.tensor([1, -0.5, 2, 0.3, -2, 0.1]).reshape(1, 1, 2, 3), torch.tensor([1, 0, 1, 0, 0, 1]).reshape(1, 2, 3)
    known("one_dice", "dice", overlap, 0.31158906, one, truth)
    known("one_lovasz", "lovasz", lovasz, 0.59999996, one, truth)
    known("one_focal", "sigmoid_focal", sigmoid_focal, 0.08686119, one, truth, alpha=-1.0)
    known("one_focal_alpha", "sigmoid_focal", sigmoid_focal, 0.05099036, one, truth, alpha=0.25)


def loss():
    f = Family("loss")
    classes = lambda n, *shape: torch.randint(0, n, shape, generator=f.generator)

    def ce(case, x, target, weight=None, scale=3.0, **kw):
        words = " ".join(f"{k}={v}" for k, v in kw.items())
        extra = () if weight is None else (weight,)
        module = lambda p, t, w=None: F.cross_entropy(p, t, w, **kw)
        f.add(case, "cross_entropy", words, module, x * scale, target, *extra, const=(2,))

    ce("ce", f.randn(6, 10), classes(10, 6))
    ce("ce_sum", f.randn(6, 10), classes(10, 6), reduction="sum")
    ce("ce_smooth", f.randn(5, 7), classes(7, 5), label_smoothing=0.1)
    ce("ce_smooth_all", f.randn(5, 7), classes(7, 5), label_smoothing=1.0)
    ce("ce_weight", f.randn(5, 7), classes(7, 5), f.rand(7) + 0.1)
    ce("ce_weight_sum", f.randn(5, 7), classes(7, 5), f.rand(7), reduction="sum")
    ce("ce_weight_smooth", f.randn(5, 7), classes(7, 5), f.rand(7), label_smoothing=0.2)
    ce("ce_ignore", f.randn(5, 4), torch.tensor([1, -100, 3, -100, 0]))
    ce("ce_ignore_index", f.randn(5, 4), torch.tensor([1, 2, 3, 2, 0]), ignore_index=2)
    ce("ce_ignore_smooth", f.randn(5, 4), torch.tensor([1, 2, 3, 2, 0]), f.rand(4), ignore_index=2, label_smoothing=0.3)
    ce("ce_far", f.randn(4, 9), classes(9, 4), scale=200.0)
    ce("ce_two", f.randn(3, 2), classes(2, 3))
    ce("ce_one_class", f.randn(3, 1), classes(1, 3))
    ce("ce_many", f.randn(2, 1100), classes(1100, 2))
    ce("ce_pixels", f.randn(2, 5, 3, 4), classes(5, 2, 3, 4))
    ce("ce_pixels_all", f.randn(2, 5, 3, 4), classes(5, 2, 3, 4), f.rand(5), ignore_index=1, label_smoothing=0.1)
    ce("ce_rank3", f.randn(2, 5, 6), classes(5, 2, 6), f.rand(5), label_smoothing=0.1)

    bce = lambda kind: lambda x, y, w=None: F.binary_cross_entropy_with_logits(x, y, pos_weight=w, reduction=kind)
    f.add("bce", "bce_with_logits", "", bce("mean"), f.randn(4, 5) * 4, f.rand(4, 5), const=(1,))
    f.add("bce_sum", "bce_with_logits", "reduction=sum", bce("sum"), f.randn(2, 3, 4, 5), f.rand(2, 3, 4, 5).round(), const=(1,))
    f.add("bce_far", "bce_with_logits", "", bce("mean"), f.randn(30) * 60, f.rand(30).round(), const=(1,))
    f.add("bce_pos_weight", "bce_with_logits", "", bce("mean"), f.randn(4, 5), f.rand(4, 5), f.rand(5) * 3, const=(1, 2))
    f.add("bce_pos_weight_one", "bce_with_logits", "", bce("mean"), f.randn(4, 5), f.rand(4, 5), f.rand(1) * 3, const=(1, 2))
    f.add("bce_pos_weight_4", "bce_with_logits", "", bce("mean"), f.randn(2, 3, 4, 5), f.rand(2, 3, 4, 5), f.rand(3, 1, 1) * 3, const=(1, 2))
    f.add("bce_long", "bce_with_logits", "", bce("mean"), f.randn(3, 700), f.rand(3, 700), f.rand(700), const=(1, 2))

    distances = {
        "mse": ("mse", "", F.mse_loss),
        "l1": ("l1", "", F.l1_loss),
        "smooth_l1": ("smooth_l1", "", F.smooth_l1_loss),
        "smooth_l1_beta": ("smooth_l1", "beta=0.3", lambda x, y, reduction="mean": F.smooth_l1_loss(x, y, reduction=reduction, beta=0.3)),
        "smooth_l1_zero": ("smooth_l1", "beta=0", lambda x, y, reduction="mean": F.smooth_l1_loss(x, y, reduction=reduction, beta=0.0)),
    }
    for name, (layer, settings, fn) in distances.items():
        total = lambda x, y, fn=fn: fn(x, y, reduction="sum")
        f.add(name, layer, settings, fn, f.randn(2, 3, 4, 5), f.randn(2, 3, 4, 5))
        f.add(f"{name}_sum", layer, f"{settings} reduction=sum".strip(), total, f.randn(6, 5), f.randn(6, 5))
        y = f.randn(9)
        f.add(f"{name}_equal", layer, settings, fn, torch.cat([y[:4], f.randn(5)]), y)

    shares = lambda *shape: torch.softmax(f.randn(*shape) * 2, 1)

    def soft(case, x, target, weight=None, **kw):
        words = " ".join(f"{k}={v}" for k, v in kw.items())
        extra = () if weight is None else (weight,)
        f.add(case, "cross_entropy", words, lambda p, t, w=None: F.cross_entropy(p, t, w, **kw), x * 3, target, *extra, const=(1, 2))

    soft("ce_soft", f.randn(6, 10), shares(6, 10))
    soft("ce_soft_one_hot", f.randn(6, 10), F.one_hot(classes(10, 6), 10).float())
    soft("ce_soft_sum", f.randn(6, 10), shares(6, 10), reduction="sum")
    soft("ce_soft_smooth", f.randn(5, 7), shares(5, 7), label_smoothing=0.1)
    soft("ce_soft_smooth_all", f.randn(5, 7), shares(5, 7), label_smoothing=1.0)
    soft("ce_soft_weight", f.randn(5, 7), shares(5, 7), f.rand(7), label_smoothing=0.2)
    soft("ce_soft_pixels", f.randn(2, 5, 3, 4), shares(2, 5, 3, 4), label_smoothing=0.1)
    segmentation_losses(f, classes)
    f.write()


class Attention(nn.MultiheadAttention):
    """Of one sequence with itself, or of query, key and value."""

    def __init__(self, dim, heads, **kwargs):
        super().__init__(dim, heads, batch_first=True, **kwargs)

    def forward(self, q, k=None, v=None):
        return super().forward(q, q if k is None else k, q if v is None else v, need_weights=False)[0]


def attention():
    f = Family("attention")

    def sdpa(heads):
        split = lambda x: x.unflatten(2, (heads, -1)).transpose(1, 2)
        return lambda q, k, v: F.scaled_dot_product_attention(split(q), split(k), split(v)).transpose(1, 2).flatten(2)

    for case, heads, n, l, s, d in (("sdpa", 2, 2, 5, 7, 6), ("sdpa_one_head", 1, 1, 4, 4, 5), ("sdpa_one_key", 3, 2, 3, 1, 3), ("sdpa_blocks", 1, 1, 70, 66, 4)):
        f.add(case, "scaled_dot_product_attention", str(heads), sdpa(heads), f.randn(n, l, d), f.randn(n, s, d), f.randn(n, s, d))
    f.add("sdpa_far", "scaled_dot_product_attention", "2", sdpa(2), 4 * f.randn(1, 5, 6), 4 * f.randn(1, 7, 6), f.randn(1, 7, 6))
    f.add("mha", "multi_head_attention", "3", Attention(6, 3), f.randn(2, 5, 6))
    f.add("mha_plain", "multi_head_attention", "1 bias=no", Attention(4, 1, bias=False), f.randn(1, 3, 4))
    f.add("mha_qkv", "multi_head_attention", "2", Attention(4, 2), f.randn(2, 3, 4), f.randn(2, 5, 4), f.randn(2, 5, 4))
    f.add("mha_qkv_plain", "multi_head_attention", "2 bias=no", Attention(4, 2, bias=False), f.randn(2, 3, 4), f.randn(2, 5, 4), f.randn(2, 5, 4))
    f.add("mha_eval", "multi_head_attention", "2", Attention(4, 2), f.randn(2, 3, 4), train=False)
    f.write()


def stochastic_depth():
    """What does not depend on the random numbers; tests/layers/cases holds those of the backends against each other."""
    f = Family("stochastic_depth")
    for case, p, mode, train in (("none", 0.0, "row", True), ("all", 1.0, "row", True), ("all_batch", 1.0, "batch", True), ("eval", 0.7, "row", False)):
        f.add(case, "stochastic_depth", f"{p} {mode}", StochasticDepth(p, mode), f.randn(3, 4, 2, 5), train=train)
    f.write()


def tokens():
    f = Family("tokens")
    f.add("to", "to_tokens", "", lambda x: x.flatten(2).transpose(1, 2), f.randn(2, 5, 3, 4))
    f.add("to_grey", "to_tokens", "", lambda x: x.flatten(2).transpose(1, 2), f.randn(2, 1, 3, 4))
    f.add("from", "from_tokens", "3,4", lambda x: x.transpose(1, 2).unflatten(2, (3, 4)), f.randn(2, 12, 5))
    f.write()


def window():
    """Swin's windows, by the steps of its paper: fill up, roll, cut; and rows of a table."""
    f = Family("window")

    def partition(h, w, down, right):
        def windows(x):
            n, c, height, width = x.shape
            x = F.pad(x, (0, -width % w, 0, -height % h)).roll((-down, -right), (2, 3))
            x = x.unflatten(3, (-1, w)).unflatten(2, (-1, h))  # (N,C,Y,h,X,w)
            return x.permute(0, 2, 4, 3, 5, 1).reshape(-1, h * w, c)

        return windows

    def merge(h, w, down, right, height, width):
        def picture(x):
            x = x.reshape(-1, -(-height // h), -(-width // w), h, w, x.shape[2]).permute(0, 5, 1, 3, 2, 4)
            return x.flatten(4, 5).flatten(2, 3).roll((down, right), (2, 3))[:, :, :height, :width]

        return picture

    f.add("plain", "window_partition", "2,3", partition(2, 3, 0, 0), f.randn(2, 5, 4, 6))
    f.add("filled", "window_partition", "3,2", partition(3, 2, 0, 0), f.randn(1, 4, 4, 3))
    f.add("rolled", "window_partition", "3,4 shift=1,2", partition(3, 4, 1, 2), f.randn(2, 3, 7, 9))
    f.add("merge", "window_merge", "2,3 size=4,6", merge(2, 3, 0, 0, 4, 6), f.randn(8, 6, 5))
    f.add("merge_rolled", "window_merge", "3,4 shift=1,2 size=7,9", merge(3, 4, 1, 2, 7, 9), f.randn(18, 12, 3))
    f.add("rows", "take_rows", "", lambda x, i: x[i], f.randn(5, 3), torch.tensor([4, 0, 4, 2, 4]))
    f.write()


if __name__ == "__main__":
    torch.use_deterministic_algorithms(True)
    torch.set_num_threads(1)
    norm()
    activation()
    shape()
    arith()
    dropout()
    loss()
    attention()
    stochastic_depth()
    tokens()
    window()
