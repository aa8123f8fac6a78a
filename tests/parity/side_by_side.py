"""cvrun and PyTorch on the same weights and the same pictures: what the scripts that compare the two share."""
import csv, json, pathlib, subprocess
import numpy as np, torch

# ---- cvrun's random pictures (data.format = fake): Philox4x32-10 (Salmon et al., 2011) ----


def philox(key, high, low):
    """The four words of counters `low` (an array) of stream `high`: (n, 4) uint32."""
    low = np.asarray(low, np.uint64)
    mask, shift = np.uint64(2**32 - 1), np.uint64(32)
    c = [low & mask, low >> shift, np.full_like(low, high & 2**32 - 1), np.full_like(low, high >> 32)]
    k = [key & 2**32 - 1, key >> 32]
    for _ in range(10):
        p, q = np.uint64(0xD2511F53) * c[0], np.uint64(0xCD9E8D57) * c[2]
        c = [q >> shift ^ c[1] ^ np.uint64(k[0]), q & mask, p >> shift ^ c[3] ^ np.uint64(k[1]), p & mask]
        k = [k[0] + 0x9E3779B9 & 2**32 - 1, k[1] + 0xBB67AE85 & 2**32 - 1]
    return np.stack(c, 1).astype(np.uint32)


def mix(a, b):
    out = philox(a, 0x6376722D6D69780A, [b])[0]
    return int(out[0]) | int(out[1]) << 32


class Stream:
    """Words in order; `below` takes two for a number, and the range is far too small for one to be thrown away."""

    def __init__(self, key, stream, most):
        self.words, self.at = philox(key, stream, np.arange((most + 3) // 4)).ravel(), 0

    def take(self, n):
        self.at += n
        return self.words[self.at - n : self.at]

    def below(self, n):
        high, low = self.take(2)
        return (int(high) << 32 | int(low)) % n


def fake(size, n, seed, classes, channels=3, masks=False):
    """The first n samples of the training split: pictures (N, C, size, size) uint8, and labels (N) or masks (N, size, size)."""
    key, pixels, labels = mix(seed, 0), [], []
    words = (size * size * channels + 3) // 4
    for i in range(n):
        stream = Stream(key, i, words + 2)
        labels.append(stream.below(classes))
        pixels.append(stream.take(words).astype("<u4").view(np.uint8)[: size * size * channels])
    x = torch.from_numpy(np.stack(pixels).reshape(n, size, size, channels)).permute(0, 3, 1, 2)
    return x, fake_masks(size, n, key, classes) if masks else torch.tensor(labels)


def fake_masks(size, n, key, classes):
    """Blocks of 8 x 8 pixels of one class; one in 16 counts as none."""
    masks = torch.empty(n, size, size, dtype=torch.int64)
    for i in range(n):
        stream = Stream(mix(key, 3), i, 4 * ((size + 7) // 8) ** 2)
        for y in range(0, size, 8):
            for x in range(0, size, 8):
                masks[i, y : y + 8, x : x + 8] = 255 if stream.below(16) == 0 else stream.below(classes)
    return masks


# ---- weights: safetensors, f32 and i64 ----

TYPES = {torch.float32: "F32", torch.int64: "I64"}


def save_weights(net, path):
    header, blobs, at = {}, [], 0
    for name, t in net.state_dict().items():
        blob = t.contiguous().numpy().tobytes()
        header[name] = {"dtype": TYPES[t.dtype], "shape": list(t.shape), "data_offsets": [at, at + len(blob)]}
        blobs.append(blob)
        at += len(blob)
    text = json.dumps(header).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + b"".join(blobs))


def load_weights(path):
    raw = pathlib.Path(path).read_bytes()
    start = 8 + int.from_bytes(raw[:8], "little")
    kinds = {name: dtype for dtype, name in TYPES.items()}
    out = {}
    for name, t in json.loads(raw[8:start]).items():
        if name != "__metadata__":
            first, end = t["data_offsets"]
            out[name] = torch.frombuffer(bytearray(raw[start + first : start + end]), dtype=kinds[t["dtype"]]).reshape(t["shape"])
    return out


# ---- training ----


def train(cvrun, recipe, folder, name, *settings):
    """Trains in the pictures' order, without validation, and returns the run folder."""
    project = pathlib.Path(folder) / f"project_{name}"
    command = [str(cvrun), "train", str(recipe), f"run.project={project}", f"name={name}", "data.shuffle=no", "val.interval=0", *settings]
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}\n{done.stdout[-2000:]}")
    return next(project.glob("*/*"))


def step_losses(run):
    return [float(row["loss"]) for row in csv.DictReader(open(run / "steps.csv"))]


def loss_of(result, y, smoothing=0.0):
    """Cross entropy; of torchvision's segmentation networks with half of the auxiliary head's, as its reference has it."""
    entropy = lambda x: torch.nn.functional.cross_entropy(x, y, label_smoothing=smoothing, ignore_index=255)
    if not isinstance(result, dict):
        return entropy(result)
    return entropy(result["out"]) + (0.5 * entropy(result["aux"]) if "aux" in result else 0)


def torch_losses(net, optimizer, batches, low=False, smoothing=0.0):
    """The same in PyTorch, in f32 or (low) with autocast to bf16. Pixels that are 255 in a mask do not count."""
    losses = []
    net.train()
    for x, y in batches:
        with torch.autocast("cpu", dtype=torch.bfloat16, enabled=low):
            loss = loss_of(net(x), y, smoothing)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def differences(a, b):
    """Relative differences, step by step."""
    assert len(a) == len(b), (len(a), len(b))
    return [abs(p - q) / abs(q) for p, q in zip(a, b)]
