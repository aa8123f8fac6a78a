#!/usr/bin/env python3
"""Numbers from torch.optim: parameters over five updates, and learning rates over a run.

LAMB, LARS, Lion and adaptive clipping are timm's. Writes tests/golden/optim.safetensors, schedulers.safetensors and running.safetensors, next to this script's folder. Needs torch,
timm, numpy and safetensors. The same versions give the same bytes.
Fields of a case of optim: optimizer, settings (text), weight_decay, lr (f32 scalars), p0 (the parameter before), g0..g4
(the gradients), p1..p5 (the parameter after each update).
Fields of a case of schedulers: scheduler, settings (text), lr, lr_min (f32 scalars), epochs, steps_per_epoch (i64
scalars), lrs (f32: the rate of each step); plateau's have metrics (f64: of each epoch) and lower (i64: less is better).
Cases of running: `ema.*`, torchvision's loop over steps (fields batch, epochs, steps, warmup, ema_steps: i64; decay: f64;
p, n: the parameter and the counter before each update of the means; average, counter: the means after it), and `clip.*`
(max_norm; g0, g1, ...: gradients; c0, c1, ...: clipped; norm).
"""
import pathlib

import numpy as np
import timm.optim
import timm.utils.agc
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

    def case(name, optimizer, cls, lr, weight_decay=0.0, fixed=None, **settings):
        """`fixed`: what cvrun has no setting for."""
        p = torch.nn.Parameter(torch.randn(7, 5, generator=generator))
        put = lambda field, t: tensors.__setitem__(f"{name}/{field}", np.array(t, order="C", copy=True))
        put("optimizer", text(optimizer))
        put("settings", text(words(settings)))
        put("lr", np.float32(lr))
        put("weight_decay", np.float32(weight_decay))
        put("p0", p.detach().numpy())
        steps = cls([p], lr=lr, weight_decay=weight_decay, foreach=False, **(fixed or {}), **settings)
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
    nadam = torch.optim.NAdam
    case("nadam", "nadam", nadam, 0.002)
    case("nadam_decay", "nadam", nadam, 0.0625, 0.125, betas=(0.8, 0.95), eps=1e-6, momentum_decay=0.3)
    case("nadam_decoupled", "nadam", nadam, 0.0625, 0.25, decoupled_weight_decay=True)
    case("lion", "lion", timm.optim.Lion, 0.0001)
    case("lion_decay", "lion", timm.optim.Lion, 0.0625, 0.5, betas=(0.7, 0.95))
    unclipped = dict(max_grad_norm=None)
    case("lamb", "lamb", timm.optim.Lamb, 0.001, fixed=unclipped)
    case("lamb_decay", "lamb", timm.optim.Lamb, 0.0625, 0.125, fixed=unclipped, betas=(0.8, 0.95), eps=1e-4)
    case("lamb_always", "lamb", timm.optim.Lamb, 0.0625, fixed=unclipped, always_adapt=True)
    case("lars", "lars", timm.optim.Lars, 1.0)
    case("lars_decay", "lars", timm.optim.Lars, 8.0, 0.0625, momentum=0.9)
    case("lars_nesterov", "lars", timm.optim.Lars, 2.0, 0.125, momentum=0.8, nesterov=True, trust_coeff=0.02)
    case("lars_always", "lars", timm.optim.Lars, 2.0, always_adapt=True, momentum=0.5, dampening=0.25)
    write("optim", tensors)


def schedulers():
    tensors = {}

    def case(name, scheduler, make, settings="", lr=0.1, lr_min=0.0, epochs=9, steps_per_epoch=5, by_epoch=True,
             metrics=None, lower=0):
        steps = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=lr)
        plan = make(steps) if make else None
        lrs = []
        for epoch in range(epochs):
            for _ in range(steps_per_epoch):
                lrs.append(steps.param_groups[0]["lr"])
                steps.step()
                if plan and not by_epoch:
                    plan.step()
            if plan and metrics is not None:
                plan.step(metrics[epoch])
            elif plan and by_epoch:
                plan.step()
        put = lambda field, t: tensors.__setitem__(f"{name}/{field}", np.array(t, order="C", copy=True))
        put("scheduler", text(scheduler))
        put("settings", text(settings))
        put("lr", np.float32(lr))
        put("lr_min", np.float32(lr_min))
        put("epochs", np.int64(epochs))
        put("steps_per_epoch", np.int64(steps_per_epoch))
        put("lrs", np.array(lrs, dtype=np.float32))
        if metrics is not None:
            put("metrics", np.array(metrics, dtype=np.float64))
            put("lower", np.int64(lower))

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
    for strategy in ("cos", "linear"):
        for three in (False, True):
            for epochs, per in ((9, 5), (1, 7)):
                name = f"one_cycle_{strategy}_{3 if three else 2}_{epochs}"
                case(name, "one_cycle", lambda o: lr_scheduler.OneCycleLR(o, 0.1, epochs * per, anneal_strategy=strategy, three_phase=three,
                                                                         cycle_momentum=False),
                     words(dict(anneal_strategy=strategy, three_phase=three)), epochs=epochs, steps_per_epoch=per, by_epoch=False)
    case("one_cycle_set", "one_cycle", lambda o: lr_scheduler.OneCycleLR(o, 0.1, 45, pct_start=0.45, div_factor=4, final_div_factor=100,
                                                                        cycle_momentum=False),
         "pct_start=0.45 div_factor=4 final_div_factor=100", by_epoch=False)
    wave = [0.1, 0.3, 0.3, 0.29, 0.30001, 0.31, 0.2, 0.2, 0.35, 0.35, 0.35, 0.34, 0.33, 0.33, 0.33, 0.33, 0.33, 0.33, 0.33, 0.33]

    def plateau(name, settings, sign=1, lr_min=0.0, **more):
        case(name, "plateau", lambda o: lr_scheduler.ReduceLROnPlateau(o, "max" if sign > 0 else "min", min_lr=lr_min, **more),
             settings, lr_min=lr_min, epochs=len(wave), steps_per_epoch=2, metrics=[sign * x for x in wave], lower=int(sign < 0))

    plateau("plateau", "")
    plateau("plateau_two", "patience=2 factor=0.5", patience=2, factor=0.5)
    plateau("plateau_min", "patience=1", sign=-1, patience=1)
    plateau("plateau_abs", "patience=1 threshold=0.02 threshold_mode=abs", patience=1, threshold=0.02, threshold_mode="abs")
    plateau("plateau_cooldown", "patience=0 cooldown=2 factor=0.5", patience=0, cooldown=2, factor=0.5)
    plateau("plateau_floor", "patience=0 factor=0.3", lr_min=0.004, patience=0, factor=0.3)
    plateau("plateau_eps", "patience=0 factor=0.5 eps=0.004", patience=0, factor=0.5, eps=0.004)
    write("schedulers", tensors)


def running():
    tensors = {}
    generator = torch.Generator().manual_seed(6)

    def ema(name, batch, epochs, steps, warmup, ema_steps, decay):
        """The loop of references/classification/train.py around an ExponentialMovingAverage."""
        put = lambda field, t: tensors.__setitem__(f"ema.{name}/{field}", np.array(t, order="C", copy=True))
        model = torch.nn.Module()
        model.p = torch.nn.Parameter(torch.randn(7, 5, generator=generator))
        model.register_buffer("n", torch.tensor(0))
        adjust = batch * ema_steps / epochs
        alpha = min(1.0, (1.0 - decay) * adjust)
        keep = 1.0 - alpha
        means = torch.optim.swa_utils.AveragedModel(model, avg_fn=lambda a, m, n: keep * a + (1 - keep) * m, use_buffers=True)
        p, n, average, counter = [], [], [], []
        for epoch in range(epochs):
            for i in range(steps):
                with torch.no_grad():
                    model.p += 0.1 * torch.randn(7, 5, generator=generator)
                    model.n += 3
                if i % ema_steps == 0:
                    means.update_parameters(model)
                    if epoch < warmup:
                        means.n_averaged.fill_(0)
                p.append(model.p.detach().clone())
                n.append(int(model.n))
                average.append(means.module.p.detach().clone())
                counter.append(int(means.module.n))
        for field, v in (("batch", batch), ("epochs", epochs), ("steps", steps), ("warmup", warmup), ("ema_steps", ema_steps)):
            put(field, np.int64(v))
        put("decay", np.float64(decay))
        put("p", torch.stack(p).numpy())
        put("n", np.array(n, dtype=np.int64))
        put("average", torch.stack(average).numpy())
        put("counter", np.array(counter, dtype=np.int64))

    ema("plain", batch=8, epochs=4, steps=5, warmup=0, ema_steps=2, decay=0.98)
    ema("warm", batch=8, epochs=5, steps=4, warmup=2, ema_steps=1, decay=0.95)
    ema("copies", batch=32, epochs=2, steps=4, warmup=0, ema_steps=3, decay=0.9)
    ema("torchvision", batch=128, epochs=90, steps=2, warmup=5, ema_steps=32, decay=0.99998)

    def clip(name, max_norm, scale):
        put = lambda field, t: tensors.__setitem__(f"clip.{name}/{field}", np.array(t, order="C", copy=True))
        shapes = [(7, 5), (60, 40), (3,), (8, 3, 3, 3), (1,)]
        params = [torch.nn.Parameter(torch.zeros(s)) for s in shapes]
        for i, p in enumerate(params):
            p.grad = scale * torch.randn(p.shape, generator=generator)
            put(f"g{i}", p.grad.numpy())
        put("norm", torch.nn.utils.clip_grad_norm_(params, max_norm).numpy())
        put("max_norm", np.float64(max_norm))
        for i, p in enumerate(params):
            put(f"c{i}", p.grad.numpy())

    def agc(name, factor, scale):
        put = lambda field, t: tensors.__setitem__(f"agc.{name}/{field}", np.array(t, order="C", copy=True))
        params = [torch.nn.Parameter(torch.randn(s, generator=generator)) for s in [(7, 5), (60, 40), (3,), (8, 3, 3, 3), (1,)]]
        with torch.no_grad():
            params[0][2:4] *= 1e-5
        for i, p in enumerate(params):
            p.grad = scale * torch.randn(p.shape, generator=generator)
            if i == 1:
                p.grad[7:30] *= 1e-3
            # in memory, f32 of rank 4 lies with its channels last
            put(f"p{i}", p.detach().numpy())
            put(f"g{i}", p.grad.numpy())
        timm.utils.agc.adaptive_clip_grad(params, factor)
        put("factor", np.float64(factor))
        for i, p in enumerate(params):
            put(f"c{i}", p.grad.numpy())

    agc("much", 0.01, 1.0)
    agc("some", 0.5, 0.5)
    clip("much", 1.0, 2.0)
    clip("little", 40.0, 1.0)
    clip("not", 1000.0, 1.0)
    write("running", tensors)


if __name__ == "__main__":
    torch.set_num_threads(1)
    optim()
    schedulers()
    running()
