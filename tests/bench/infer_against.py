#!/usr/bin/env python3
"""How fast networks are at inference: cvrun's f32 and int8 beside ONNX Runtime's and OpenVINO's of the same ONNX files, in one run.

Each network is trained a step on made-up pictures, exported, quantised and exported again. Then, in turns, cvrun (`cvrun bench --inference`),
ONNX Runtime and OpenVINO run each of the two files, with as many threads each. Two figures of each are kept: the processor time of a run (of all
threads, the median of a turn; the least of the turns counts), which others on the machine disturb least, and the least time by the clock.
A ratio over 1 means that cvrun is faster. OpenVINO is left out, with a line that says so, where it is not installed.

    tests/bench/infer_against.py build/bin/cvrun [NAME ...] [--threads N] [--turns N] [--batches 1,32] [--precisions f32,int8] [--work FOLDER]
"""
import argparse, json, os, subprocess, tempfile, time
import numpy as np
import onnxruntime as ort
try:
    import openvino
except ImportError:
    openvino = None

SECONDS = 3  # of a turn of a peer
RUNS = 50    # at most


def run(*words):
    r = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{r.stdout}{r.stderr}")
    return r.stdout


def make(cvrun, name, precisions):
    """The run folders and ONNX files of a network: name.f32.onnx, name.int8.onnx."""
    folder = {"f32": f"runs/classify/{name}", "int8": f"runs/classify/{name}-quantized"}
    if not os.path.isdir(folder["f32"]):
        with open("r.ini", "w") as f:
            f.write(f"[run]\nname = {name}\n[data]\nformat = fake\nsize = 32\nclasses = 1000\nimg_size = 224\nmean = imagenet\nstd = imagenet\n"
                    f"[model]\nname = {name}\n[train]\nepochs = 1\nbatch = 8\n[val]\ninterval = 0\n[optim]\nlr = 0.001\n")
        run(cvrun, "train", "r.ini")
    if "int8" in precisions and not os.path.isdir(folder["int8"]):
        run(cvrun, "quantize", folder["f32"], "pictures=16", "batch=8")
    for p in precisions:
        if not os.path.exists(f"{name}.{p}.onnx"):
            run(cvrun, "export", folder[p], f"out={name}.{p}.onnx")
    return folder


def timed(once):
    """(processor ms, least ms by the clock) of a turn."""
    cpu, least, start = [], 1e9, time.perf_counter()
    for _ in range(2):
        once()
    while len(cpu) < 5 or (time.perf_counter() - start < SECONDS and len(cpu) < RUNS):
        t, c = time.perf_counter(), time.process_time()
        once()
        cpu.append(time.process_time() - c)
        least = min(least, time.perf_counter() - t)
    return 1e3 * sorted(cpu)[len(cpu) // 2], 1e3 * least


def by_cvrun(cvrun, folder, batch, threads):
    out = json.loads(run(cvrun, "bench", folder, "--inference", "--json", f"train.batch={batch}", f"backend.threads={threads}"))
    assert out["batch"] == batch, out["batch"]
    return 1e3 * out["step_cpu_seconds"], 1e3 * out["fastest_step_seconds"]


def by_ort(path, batch, threads):
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.log_severity_level = threads, 3
    s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    x = {"images": np.zeros((batch, 3, 224, 224), np.float32)}
    return timed(lambda: s.run(None, x))


def by_openvino(path, batch, threads):
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([batch, 3, 224, 224])
    hints = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    x = np.zeros((batch, 3, 224, 224), np.float32)
    return timed(lambda: request.infer([x]))


def measure(cvrun, name, a):
    folder = make(cvrun, name, a.precisions)
    best = {}
    for _ in range(a.turns):
        for batch in a.batches:
            for p in a.precisions:
                sides = {"cvrun": lambda: by_cvrun(cvrun, folder[p], batch, a.threads),
                         "ort": lambda: by_ort(f"{name}.{p}.onnx", batch, a.threads)}
                if openvino:
                    sides["openvino"] = lambda: by_openvino(f"{name}.{p}.onnx", batch, a.threads)
                for side, once in sides.items():
                    ms = once()
                    was = best.get((side, p, batch), ms)
                    best[side, p, batch] = tuple(map(min, was, ms))
    for batch in a.batches:
        for p in a.precisions:
            own = best["cvrun", p, batch]
            print(f"{name:14} {p:4} batch {batch:2}  ", end="")
            for side in ("cvrun", "ort", "openvino"):
                if (side, p, batch) not in best:
                    continue
                cpu, least = best[side, p, batch]
                print(f"  {side} {cpu:8.2f} {least:8.2f} ms", end="" if side == "cvrun" else f" ({cpu / own[0]:.2f}x {least / own[1]:.2f}x)")
            if p == "int8" and "f32" in a.precisions:
                f = best["cvrun", "f32", batch]
                print(f"  over own f32 {f[0] / own[0]:.2f}x {f[1] / own[1]:.2f}x", end="")
            print(flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("cvrun")
    p.add_argument("names", nargs="*", default=["resnet50", "mobilenet_v2"])
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--batches", type=lambda s: [int(x) for x in s.split(",")], default=[1, 32])
    p.add_argument("--precisions", type=lambda s: s.split(","), default=["f32", "int8"])
    p.add_argument("--work")
    a = p.parse_args()
    cvrun = os.path.abspath(a.cvrun)
    print(f"{a.threads} threads; processor time and least time by the clock of a run, in ms; ONNX Runtime {ort.__version__}, "
          + (f"OpenVINO {openvino.__version__}" if openvino else "OpenVINO is not installed"))
    with tempfile.TemporaryDirectory() as work:
        os.chdir(a.work or work)
        for name in a.names:
            measure(cvrun, name, a)
        os.chdir("/")


main()
