#!/usr/bin/env python3
"""Numbers from torch.optim: parameters over five updates, and learning rates over a run.

Writes tests/golden/optim.safetensors and tests/golden/schedulers.safetensors, next to this script's folder. Needs torch,
numpy and safetensors. The same versions give the same bytes.
Fields of a case of optim: optimizer, settings (text), weight_decay, lr (f32 scalars), p0 (the parameter before), g0..g4
(the gradients), p1..p5 (the parameter after each update).
Fields of a case of schedulers: scheduler, settings (text), lr, lr_min (f32 scalars), epochs, steps_per_epoch (i64
scalars), lrs (f32: the rate of each step).
"""
import pathlib

import numpy as np
import torch
from safetensors.numpy import save_file
from torch.optim import lr_scheduler

GOLDEN = pathlib.Path(__file__).resolve().parent.parent / "golden"


def text(s):
    return np.frombuffer(s.encode(), dtype=np.uint8).copy()


def write(name, tensors):
    path = GOLDEN / f"{name}.safetensors"
    save_file({k: tensors[k] for k in sorted(tensors)}, path)
    print(f"{path.name}: {len({k.split('/')[0] for k in tensors})} cases, {path.stat().st_size} bytes")


def words(settings):
    def one(v):
        if isinstance(v, bool):
            return "yes" if v else "no"
        return ",".join(map(str, v)) if isinstance(v, tuple) else str(v)

    return " ".join(f"{k}={one(v)}" for k, v in settings.items())


def optim():
    tensors = {}
    generator = torch.Generator().manual_seed(5)

    def case(name, optimizer, cls, lr, weight_decay=0.0, **settings):
        p = torch.nn.Parameter(torch.randn(7, 5, generator=generator))
        put = lambda field, t: tensors.__setitem__(f"{name}/{field}", np.array(t, order="C", copy=True))
        put("optimizer", text(optimizer))
        put("settings", text(words(settings)))
        put("lr", np.float32(lr))
        put("weight_decay", np.float32(weight_decay))
        put("p0", p.detach().numpy())
        steps = cls([p], lr=lr, weight_decay=weight_decay, foreach=False, **settings)
        for i in range(5):
            p.grad = torch.randn(7, 5, generator=generator)
            put(f"g{i}", p.grad.numpy())
            steps.step()
            put(f"p{i + 1}", p.detach().numpy())

    sgd, adam, adamw, rmsprop = torch.optim.SGD, torch.optim.Adam, torch.optim.AdamW, torch.optim.RMSprop
    case("sgd", "sgd", sgd, 0.125)
    case("sgd_decay", "sgd", sgd, 0.125, 0.25)
    case("sgd_momentum", "sgd", sgd, 0.125, 0.0625, momentum=0.9)
    case("sgd_dampening", "sgd", sgd, 0.125, momentum=0.9, dampening=0.3)
    case("sgd_nesterov", "sgd", sgd, 0.125, 0.0625, momentum=0.8, nesterov=True)
    case("adam", "adam", adam, 0.001)
    case("adam_decay", "adam", adam, 0.0625, 0.125, betas=(0.8, 0.95), eps=1e-6)
    case("adamw", "adamw", adamw, 0.001, 0.01)
    case("adamw_decay", "adamw", adamw, 0.0625, 0.25, betas=(0.85, 0.99))
    case("adamw_plain", "adamw", adamw, 0.0625)
    case("rmsprop", "rmsprop", rmsprop, 0.01)
    case("rmsprop_decay", "rmsprop", rmsprop, 0.0625, 0.125, alpha=0.9, eps=1e-3)
    case("rmsprop_momentum", "rmsprop", rmsprop, 0.0625, momentum=0.7)
    case("rmsprop_centered", "rmsprop", rmsprop, 0.0078125, centered=True)
    case("rmsprop_all", "rmsprop", rmsprop, 0.0078125, 0.0625, alpha=0.95, momentum=0.9, centered=True)
    write("optim", tensors)


def schedulers():
    tensors = {}

    def case(name, scheduler, make, settings="", lr=0.1, lr_min=0.0, epochs=9, steps_per_epoch=5, by_epoch=True):
        steps = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        plan = make(steps) if make else None
        lrs = []
        for _ in range(epochs):
            for _ in range(steps_per_epoch):
                lrs.append(steps.param_groups[0]["lr"])
                steps.step()
                if plan and not by_epoch:
                    plan.step()
            if plan and by_epoch:
                plan.step()
        put = lambda field, t: tensors.__setitem__(f"{name}/{field}", np.array(t, order="C", copy=True))
        put("scheduler", text(scheduler))
        put("settings", text(settings))
        put("lr", np.float32(lr))
        put("lr_min", np.float32(lr_min))
        put("epochs", np.int64(epochs))
        put("steps_per_epoch", np.int64(steps_per_epoch))
        put("lrs", np.array(lrs, dtype=np.float32))

    case("constant", "constant", None)
    case("step", "step", lambda o: lr_scheduler.StepLR(o, 3), "steps=3")
    case("step_gamma", "step", lambda o: lr_scheduler.StepLR(o, 2, 0.5), "steps=2 gamma=0.5")
    case("multistep", "multistep", lambda o: lr_scheduler.MultiStepLR(o, [2, 5]), "steps=2,5")
    case("multistep_three", "multistep", lambda o: lr_scheduler.MultiStepLR(o, [1, 4, 8], 0.3), "steps=1,4,8 gamma=0.3")
    case("exponential", "exponential", lambda o: lr_scheduler.ExponentialLR(o, 0.8), "gamma=0.8")
    case("cosine", "cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, 45), by_epoch=False)
    case("cosine_min", "cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, 45, 0.02), lr_min=0.02, by_epoch=False)
    case("poly", "poly", lambda o: lr_scheduler.PolynomialLR(o, 45), by_epoch=False)
    case("poly_power", "poly", lambda o: lr_scheduler.PolynomialLR(o, 45, 0.9), "power=0.9", by_epoch=False)
    case("one_step", "cosine", lambda o: lr_scheduler.CosineAnnealingLR(o, 1), epochs=1, steps_per_epoch=1, by_epoch=False)
    write("schedulers", tensors)


if __name__ == "__main__":
    torch.set_num_threads(1)
    optim()
    schedulers()
