#!/usr/bin/env python3
"""How fast cvrun's 8-bit integers are: beside its own f32, and ONNX Runtime's and OpenVINO's int8 of the same file, in one run.

Each network is trained a step on made-up pictures and quantised; then, in turns, cvrun measures f32 and int8
(`cvrun quantize` prints both), and ONNX Runtime, and OpenVINO where it is installed, run the exported int8 file. The best of the turns counts, since a
machine that does something else meanwhile only makes times longer.

    tests/bench/int8_against_ort.py build/bin/cvrun [NAME ...] [--threads N] [--turns N] [--work FOLDER]
"""
import argparse, json, os, subprocess, tempfile, time
import numpy as np
import onnxruntime as ort
try:
    import openvino
except ImportError:
    openvino = None

BATCHES = (1, 32)


def run(*words):
    r = subprocess.run([str(w) for w in words], capture_output=True, text=True)
    if r.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{r.stdout}{r.stderr}")
    return r.stdout


def train(cvrun, name):
    if os.path.isdir(f"runs/classify/{name}"):
        return
    open("r.ini", "w").write(f"[run]\nname = {name}\n[data]\nformat = fake\nsize = 16\nclasses = 1000\nimg_size = 224\nmean = imagenet\n"
                             f"std = imagenet\n[model]\nname = {name}\n[train]\nepochs = 1\nbatch = 8\n[val]\ninterval = 0\n[optim]\nlr = 0.001\n")
    run(cvrun, "train", "r.ini")


def median_ms(once):
    times = []
    for _ in range(2):
        once()
    while len(times) < 5 or (sum(times) < 1 and len(times) < 200):
        t = time.perf_counter()
        once()
        times.append(time.perf_counter() - t)
    return 1e3 * sorted(times)[len(times) // 2]


def ort_ms(path, batch, threads):
    o = ort.SessionOptions()
    o.intra_op_num_threads, o.log_severity_level = threads, 3
    s = ort.InferenceSession(path, o, providers=["CPUExecutionProvider"])
    x = {"images": np.zeros((batch, 3, 224, 224), np.float32)}
    return median_ms(lambda: s.run(None, x))


def openvino_ms(path, batch, threads):
    core = openvino.Core()
    model = core.read_model(path)
    model.reshape([batch, 3, 224, 224])
    hints = {"INFERENCE_NUM_THREADS": threads, "NUM_STREAMS": 1, "PERFORMANCE_HINT": "LATENCY", "INFERENCE_PRECISION_HINT": "f32"}
    request = core.compile_model(model, "CPU", hints).create_infer_request()
    x = np.zeros((batch, 3, 224, 224), np.float32)
    return median_ms(lambda: request.infer([x]))


def measure(cvrun, name, threads, turns):
    best = {}
    def note(key, ms):
        best[key] = min(ms, best.get(key, ms))
    for turn in range(turns):
        out = json.loads(run(cvrun, "quantize", f"runs/classify/{name}", "pictures=16", "batch=8", f"backend.threads={threads}", "--json"))
        for b in BATCHES:
            note(("f32", b), out["before"][f"ms_batch{b}"])
            note(("int8", b), out["after"][f"ms_batch{b}"])
        if turn == 0:
            run(cvrun, "export", f"runs/classify/{name}-quantized", f"out={name}.onnx")
        for b in BATCHES:
            note(("ort", b), ort_ms(f"{name}.onnx", b, threads))
            if openvino:
                note(("openvino", b), openvino_ms(f"{name}.onnx", b, threads))
    for b in BATCHES:
        f, i, o = (best[k, b] for k in ("f32", "int8", "ort"))
        print(f"{name:14} batch {b:2}  f32 {f:8.2f} ms  int8 {i:8.2f} ms ({f / i:.2f}x)  ONNX Runtime int8 {o:8.2f} ms ({o / i:.2f}x)", end="")
        print(f"  OpenVINO int8 {best['openvino', b]:8.2f} ms ({best['openvino', b] / i:.2f}x)" if openvino else "", flush=True)


def main():
    p = argparse.ArgumentParser()
    p.add_argument("cvrun")
    p.add_argument("names", nargs="*", default=["resnet50", "mobilenet_v2"])
    p.add_argument("--threads", type=int, default=1)
    p.add_argument("--turns", type=int, default=3)
    p.add_argument("--work")
    a = p.parse_args()
    cvrun = os.path.abspath(a.cvrun)
    with tempfile.TemporaryDirectory() as work:
        os.chdir(a.work or work)
        for name in a.names:
            train(cvrun, name)
            measure(cvrun, name, a.threads, a.turns)
        os.chdir("/")


main()
