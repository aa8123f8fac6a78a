#!/usr/bin/env python3
"""Numbers from PyTorch for the distillers, and how a step of them compares.

Writes tests/golden/distill.safetensors. Needs torch, numpy and safetensors; the same versions give the same bytes. The
formulas are written out here as the papers have them, in float64, with autograd for the gradients. Fields of a case:
  CASE/method, CASE/settings    text, u8: the distiller and its keys
  CASE/student, CASE/teacher    scores (N, C), or features (N, C, H, W)
  CASE/label                    classes (N) i64, or shares (N, C)
  CASE/epoch                    the scalar of that name
  CASE/param.NAME               what the distiller trains, within `distill`
  CASE/loss, CASE/gstudent, CASE/gparam.NAME, CASE/task_weight
"""
import pathlib

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.numpy import save_file

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"
tensors = {}
generator = torch.Generator().manual_seed(26)


def randn(*shape):
    return torch.randn(*shape, generator=generator, dtype=torch.float64)


def text(s):
    return np.frombuffer(s.encode() + b" ", dtype=np.uint8).copy()  # no tensor is empty


def keep(case, method, settings, student, teacher, loss_of, task_weight=1.0, label=None, epoch=0.0, params=None):
    student = student.float().double().requires_grad_(True)
    teacher = teacher.float().double()
    params = {k: v.float().double().requires_grad_(True) for k, v in (params or {}).items()}
    loss = loss_of(student, teacher, params)
    loss.backward()
    put = lambda field, t: tensors.__setitem__(f"{case}/{field}", np.ascontiguousarray(t))
    put("method", text(method))
    put("settings", text(settings))
    put("student", student.detach().float().numpy())
    put("teacher", teacher.float().numpy())
    put("label", (torch.zeros(len(student), dtype=torch.int64) if label is None else label).numpy())
    put("epoch", np.array([epoch], dtype=np.float32))
    put("task_weight", np.array([task_weight], dtype=np.float32))
    put("loss", np.array([loss.item()], dtype=np.float32))
    put("gstudent", student.grad.float().numpy())
    for name, p in params.items():
        put(f"param.{name}", p.detach().float().numpy())
        put(f"gparam.{name}", p.grad.float().numpy())


# ---- results ----

def hinton(temperature, alpha):
    def loss(s, t, _):
        axis = 1
        kl = F.kl_div(F.log_softmax(s / temperature, axis), F.log_softmax(t / temperature, axis), reduction="none",
                      log_target=True)
        return (1 - alpha) * temperature**2 * kl.sum(axis).mean()

    return loss


keep("hinton", "hinton", "", randn(6, 10) * 3, randn(6, 10) * 3, hinton(4, 0.1), 0.1)
keep("hinton far apart", "hinton", "T=1 alpha=0", randn(5, 7) * 40, randn(5, 7) * 40, hinton(1, 0), 0)
keep("hinton of pixels", "hinton", "T=2 alpha=0.5", randn(2, 3, 4, 5), randn(2, 3, 4, 5), hinton(2, 0.5), 0.5)


def dkd(temperature, alpha, beta, own, ramp=1.0):
    """own: (N) classes."""

    def loss(s, t, _):
        mask = F.one_hot(own, s.shape[1]).bool()
        total = 0
        for weight, of in ((alpha, "own"), (beta, "others")):
            logs = []
            for z in (s / temperature, t / temperature):
                if of == "own":
                    p = F.softmax(z, 1)[mask]
                    rest = torch.logsumexp(z.masked_fill(mask, -torch.inf), 1) - torch.logsumexp(z, 1)
                    logs.append(torch.stack([p.log(), rest], 1))
                else:
                    n, c = z.shape
                    logs.append(F.log_softmax(z[~mask].view(n, c - 1), 1))
            total = total + weight * F.kl_div(logs[0], logs[1], reduction="none", log_target=True).sum(1).mean()
        return ramp * temperature**2 * total

    return loss


classes = torch.tensor([0, 9, 3, 3, 7, 1])
keep("dkd", "dkd", "warmup=0", randn(6, 10) * 3, randn(6, 10) * 3, dkd(4, 1, 8, classes), label=classes)
keep("dkd on the way", "dkd", "T=2 beta=2 warmup=20", randn(6, 10), randn(6, 10), dkd(2, 1, 2, classes, 0.25), label=classes,
     epoch=5)
keep("dkd past the ramp", "dkd", "warmup=2", randn(6, 10), randn(6, 10), dkd(4, 1, 8, classes), label=classes, epoch=50)
shares = F.one_hot(classes, 10) * 0.7 + F.one_hot(classes.roll(1), 10) * 0.3
keep("dkd of mixed pictures", "dkd", "warmup=0", randn(6, 10), randn(6, 10), dkd(4, 1, 8, classes), label=shares.float())
two = torch.tensor([1, 0, 1])
keep("dkd of two classes", "dkd", "warmup=0 T=1", randn(3, 2), randn(3, 2), dkd(1, 1, 8, two), label=two)


def deit(alpha):
    return lambda s, t, _: (1 - alpha) * F.cross_entropy(s, t.argmax(1))


keep("deit", "deit", "", randn(6, 10) * 3, randn(6, 10) * 3, deit(0.5), 0.5)
keep("deit alone", "deit", "alpha=0.25", randn(4, 5), randn(4, 5), deit(0.25), 0.25)


# ---- features ----

def attention(weight):
    def loss(s, t, _):
        if s.shape[2] > t.shape[2]:
            s = F.adaptive_avg_pool2d(s, t.shape[2:])
        elif s.shape[2] < t.shape[2]:
            t = F.adaptive_avg_pool2d(t, s.shape[2:])
        maps = [F.normalize(f.pow(2).mean(1).flatten(1), dim=1) for f in (s, t)]
        return weight * F.mse_loss(*maps)

    return loss


keep("attention", "attention", "", randn(3, 4, 6, 5), randn(3, 7, 6, 5), attention(1000))
keep("attention to a smaller map", "attention", "weight=10", randn(2, 4, 8, 8), randn(2, 3, 4, 4), attention(10))
keep("attention to a larger map", "attention", "", randn(2, 4, 3, 3), randn(2, 3, 9, 9), attention(1000))


def hint(weight):
    def loss(s, t, p):
        if s.shape[2] < t.shape[2]:
            t = F.adaptive_avg_pool2d(t, s.shape[2:])
        x = F.conv2d(s, p["layer.conv.weight"])
        x = F.relu(F.batch_norm(x, None, None, p["layer.norm.weight"], p["layer.norm.bias"], training=True))
        return weight * F.mse_loss(x, t)

    return loss


def regressor(inputs, outputs):
    return {"layer.conv.weight": randn(outputs, inputs, 1, 1),
            "layer.norm.weight": randn(outputs), "layer.norm.bias": randn(outputs)}


keep("hints", "hints", "", randn(3, 4, 5, 5), randn(3, 6, 5, 5), hint(100), params=regressor(4, 6))
keep("hints to a larger map", "hints", "weight=1", randn(2, 3, 4, 4), randn(2, 5, 8, 8), hint(1), params=regressor(3, 5))

save_file({k: tensors[k] for k in sorted(tensors)}, GOLDEN / "distill.safetensors")
print(f"{len({k.split('/')[0] for k in tensors})} cases")
