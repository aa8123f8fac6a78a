"""YOLOv3-tiny (Redmon and Farhadi, 2018) as its authors published it, for against_pytorch.py, and how fast Debian's program `darknet`
(apt-get install darknet), which has no threads, is with it.

The program prints the seconds that a picture (`detector test`) or a batch (`detector train`) took, without loading pictures; taken is the
median of all but the first. Weights are random, pictures are noise.
"""
import os, pathlib, re, shutil, statistics, subprocess, tempfile

BATCH, PICTURES = 4, 4
YOLO = """[yolo]
mask = {}
anchors = 10,14,  23,27,  37,58,  81,82,  135,169,  344,319
classes={}
num=6
jitter=0
ignore_thresh = .7
truth_thresh = 1
random=0
"""


def convolutional(filters, size=3):
    return f"[convolutional]\nbatch_normalize=1\nfilters={filters}\nsize={size}\nstride=1\npad=1\nactivation=leaky\n"


def head(classes, mask):
    return f"[convolutional]\nsize=1\nstride=1\npad=1\nfilters={3 * (5 + classes)}\nactivation=linear\n" + YOLO.format(mask, classes)


def write_cfg(path, side, batch, classes, batches=0):
    """The network in Darknet's words, without what its file says of augmentation, decay and schedule."""
    net = f"[net]\nbatch={batch}\nsubdivisions=1\nwidth={side}\nheight={side}\nchannels=3\nmomentum=0.9\ndecay=0\nlearning_rate=0.00001\n"
    net += f"burn_in=0\nmax_batches={batches}\npolicy=constant\nhue=0\nsaturation=1\nexposure=1\n"
    parts = [net]
    for i, filters in enumerate((16, 32, 64, 128, 256, 512)):
        parts += [convolutional(filters), f"[maxpool]\nsize=2\nstride={2 if i < 5 else 1}\n"]
    parts += [convolutional(1024), convolutional(256, 1), convolutional(512), head(classes, "3,4,5")]
    parts += ["[route]\nlayers = -4\n", convolutional(128, 1), "[upsample]\nstride=2\n", "[route]\nlayers = -1, 8\n"]
    path.write_text("\n".join([*parts, convolutional(256), head(classes, "0,1,2")]))


def make_data(folder, side, classes):
    from PIL import Image

    for name in ("images", "labels"):
        (folder / name).mkdir()
    pictures = [folder / f"images/{i}.png" for i in range(PICTURES)]
    for picture in pictures:
        Image.frombytes("RGB", (side, side), os.urandom(3 * side * side)).save(picture)
        (folder / f"labels/{picture.stem}.txt").write_text("1 0.5 0.5 0.3 0.4\n2 0.2 0.3 0.1 0.2\n")
    (folder / "list").write_text("".join(f"{p}\n" for p in pictures))
    (folder / "names").write_text("".join(f"{k}\n" for k in range(classes)))
    (folder / "data").write_text(f"classes={classes}\ntrain={folder}/list\nvalid={folder}/list\nnames={folder}/names\nbackup={folder}\n")


def speed(side, classes, inference):
    """Pictures a second; None where there is no such program."""
    if not shutil.which("darknet"):
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        make_data(folder, side, classes)
        write_cfg(folder / "net.cfg", side, 1 if inference else BATCH, classes, 3)
        words = ["detector", "test", "data", "net.cfg", "-thresh", "0.9", "-out", "found"] if inference else ["detector", "train", "data", "net.cfg"]
        said = subprocess.run(["darknet", *words], cwd=folder, input=(folder / "list").read_text(), capture_output=True, text=True, errors="replace")
    seconds = [float(s) for s in re.findall(r"Predicted in ([\d.]+) seconds" if inference else r"rate, ([\d.]+) seconds", said.stdout)]
    if len(seconds) < 3:
        raise RuntimeError(f"darknet {' '.join(words)}: {said.stdout[-500:]}{said.stderr[-500:]}")
    return (1 if inference else BATCH) / statistics.median(seconds[1:])
