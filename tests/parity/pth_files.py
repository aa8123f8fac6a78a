"""Files that the pth plugin is held to: written by PyTorch where it writes such files, else put together here.

Writes tests/golden/pth/*.pth, each under 4 kB, and tests/golden/pth/expected.safetensors: what must be read from each,
named FILE/TENSOR, and the types that safetensors shares with PyTorch. Files whose names begin with bad_ must be refused; the
words that the message must have stand in tests/plugins/pth_test.c. Needs torch and safetensors.
"""
import argparse
import collections
import datetime
import io
import pathlib
import pickle
import struct
import zipfile

import torch
from safetensors.torch import save_file

folder = pathlib.Path(__file__).resolve().parent.parent / "golden" / "pth"
folder.mkdir(exist_ok=True)
for old in folder.glob("*"):
    old.unlink()
expected = {}


def put(name, data):
    assert len(data) < 4096, (name, len(data))
    (folder / f"{name}.pth").write_bytes(data)


def expect(name, tensors):
    for key, t in tensors.items():
        expected[f"{name}/{key}"] = t.detach().contiguous().clone()


class KeyReader(pickle.Unpickler):
    """Reads the pickles of a legacy file without their storages; `sizes` gets the bytes of each, in order of mention."""

    def __init__(self, stream, sizes):
        super().__init__(stream)
        self.sizes = sizes

    def persistent_load(self, pid):
        self.sizes.setdefault(pid[2], pid[4] * pid[1])

    def find_class(self, module, name):
        if name.endswith("Storage"):
            return dict(Long=8, Double=8, Float=4, Int=4, Short=2, Half=2, BFloat16=2).get(name[:-7], 1)
        return collections.OrderedDict if name == "OrderedDict" else lambda *args: None


def saved(obj, legacy=False):
    out = io.BytesIO()
    torch.save(obj, out, _use_new_zipfile_serialization=not legacy)
    data = out.getvalue()
    if not legacy:
        return data
    # Storages are named after their addresses, and lie in that order; make both the same each time.
    stream, sizes = io.BytesIO(data), {}
    for _ in range(4):
        KeyReader(stream, sizes).load()
    head = data[:stream.tell()]
    blocks = {}
    for key in KeyReader(stream, sizes).load():
        blocks[key] = stream.read(8 + sizes[key])
    assert stream.read() == b"" and set(blocks) == set(sizes)
    for i, key in enumerate(sizes):
        new = str(i).encode()
        head = head.replace(b"X" + struct.pack("<I", len(key)) + key.encode(), b"X" + struct.pack("<I", len(new)) + new)
    data = head + pickle.dumps([str(i) for i in range(len(sizes))], 2) + b"".join(blocks[k] for k in sizes)
    torch.load(io.BytesIO(data), weights_only=True)
    return data


def rezip(data, change):
    """The same zip file, its entries passed through change(name, bytes) -> (name, bytes, compression) or None."""
    out = io.BytesIO()
    with zipfile.ZipFile(io.BytesIO(data)) as a, zipfile.ZipFile(out, "w") as b:
        for info in a.infolist():
            made = change(info.filename, a.read(info))
            if made:
                b.writestr(zipfile.ZipInfo(made[0], (1980, 1, 1, 0, 0, 0)), made[1], made[2])
    return out.getvalue()


def both(name, obj, tensors):
    for legacy, kind in ((False, "zip"), (True, "old")):
        put(f"{name}_{kind}", saved(obj, legacy))
        expect(f"{name}_{kind}", tensors)


torch.manual_seed(0)
dtypes = {
    "f32": torch.tensor([[1.5, -2.25, 3e38], [0.0, -0.0, 1e-40]]),
    "f16": torch.tensor([1.0, 65504.0, -0.5], dtype=torch.float16),
    "bf16": torch.tensor([1.0, -3.0, 256.0], dtype=torch.bfloat16),
    "f64": torch.tensor([0.1, -1e300], dtype=torch.float64),
    "i64": torch.tensor(2**62),
    "i32": torch.tensor([-(2**31), 2**31 - 1], dtype=torch.int32),
    "i16": torch.tensor([-32768, 32767], dtype=torch.int16),
    "i8": torch.tensor([-128, 127], dtype=torch.int8),
    "u8": torch.tensor([0, 255], dtype=torch.uint8),
    "bool": torch.tensor([True, False]),
    "empty": torch.zeros(0, 3),
    "caf\u00e9 \U0001f600": torch.ones(1),
}
half = len(dtypes) // 2
for i, part in enumerate((list(dtypes.items())[:half], list(dtypes.items())[half:])):
    both(f"dtypes{i}", dict(part), dict(part))

base = torch.arange(24, dtype=torch.float32)
views = collections.OrderedDict(
    whole=base.view(2, 3, 4), again=base.view(4, 6), part=base[5:11], transposed=base.view(4, 6).t(), every_third=base[1::3],
    channels_last=base.view(1, 3, 2, 4).contiguous(memory_format=torch.channels_last), diagonal=base.view(4, 6).diagonal(),
    expanded=base[3:4].expand(2, 5), scalar=base[7], permuted=base.view(2, 3, 4).permute(2, 0, 1))
both("views", views, views)

net = torch.nn.Sequential(collections.OrderedDict(conv=torch.nn.Conv2d(3, 2, 2), bn=torch.nn.BatchNorm2d(2)))
both("network", net.state_dict(), net.state_dict())
both("parameters", dict(net.named_parameters()), dict(net.named_parameters()))

# What people save beside the weights. numpy's numbers are written as numpy does, without needing it here.
rest = {"epoch": 3, "best": 0.5, "args": argparse.Namespace(lr=0.1, name="a"), "time": datetime.datetime(2020, 1, 2), "big": 2**80,
        "none": None, "set": {1, 2}, "bytes": b"abc", "device": torch.device("cpu"), "dtype": torch.float32,
        "counter": collections.Counter("aab"), "losses": [1.0, 2.0, -3], "size": torch.Size([1, 2]), "path": pathlib.PurePosixPath("a/b")}
state = {"w": torch.tensor([1.0, 2.0]), "version": 2}
optimizer = {"state": {0: {"momentum_buffer": torch.tensor([9.0])}}, "param_groups": [{"lr": 0.1, "params": [0]}]}


def plain(obj):  # torch.load would refuse these names by default; saved() loads only to check
    out = io.BytesIO()
    torch.save(obj, out)
    return out.getvalue()


put("checkpoint", plain({**rest, "optimizer": optimizer, "model_ema": {"w": torch.zeros(2)}, "state_dict": state}))
expect("checkpoint", {"w": state["w"]})
put("nested", plain({"epoch": 1, "model": {"state_dict": state, "config": {}}}))
expect("nested", {"w": state["w"]})
put("ema", plain({"epoch": 1, "optimizer": optimizer, "model_ema": state}))
expect("ema", {"w": state["w"]})
put("any_name", plain({"epoch": 1, "optimizer": optimizer, "generator": state}))
expect("any_name", {"w": state["w"]})
put("v3", plain({"u16": torch.tensor([1, 65535], dtype=torch.uint16), "f8": torch.tensor([1.0]).to(torch.float8_e4m3fn)}))

# Python 2 wrote byte strings, and an OrderedDict as a call with a list of pairs; PyTorch 0.3 had _rebuild_tensor.
storage = b"(U\x07storagectorch\nFloatStorage\nU\x015U\x03cpuK\x02Nt"
tensor = b"ctorch._utils\n_rebuild_tensor\n(" + storage + b"QK\x00K\x02\x85K\x01\x85tR"
python2 = b"\x80\x02ccollections\nOrderedDict\n]]U\x01wa" + tensor + b"aa\x85R."
python2 = python2.replace(b"]]U\x01wa" + tensor + b"aa", b"]](U\x01w" + tensor + b"ea")
magic = pickle.dumps(0x1950A86A20F9469CFC6C, 2)
machine = {"protocol_version": 1001, "little_endian": True, "type_sizes": {"short": 2, "int": 4, "long": 4}}


def legacy(obj, keys=b"\x80\x02]U\x015a.", data=struct.pack("<q2f", 2, 1.0, 2.0), about=machine, protocol=1001):
    return magic + pickle.dumps(protocol, 2) + pickle.dumps(about, 2) + obj + keys + data


put("python2", legacy(python2))
expect("python2", {"w": state["w"]})
assert torch.load(folder / "python2.pth", weights_only=False)["w"].tolist() == [1, 2]

# zip64: every number of the one large record in the extra field, and zip64's end records
small = saved({"w": state["w"]})


def zip64(data):
    with zipfile.ZipFile(io.BytesIO(data)) as a:
        files = [(i.filename.encode(), a.read(i)) for i in a.infolist()]
    out, central = b"", b""
    for name, body in files:
        extra = struct.pack("<HHQQQ", 1, 24, len(body), len(body), len(out))
        central += struct.pack("<IHHHHHHIIIHHHHHII", 0x02014B50, 45, 45, 0, 0, 0, 33, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), len(extra),
                               0, 0, 0, 0, 0xFFFFFFFF) + name + extra
        out += struct.pack("<IHHHHHIIIHH", 0x04034B50, 45, 0, 0, 0, 33, 0, 0xFFFFFFFF, 0xFFFFFFFF, len(name), 0) + name + body
    end = struct.pack("<IQHHIIQQQQ", 0x06064B50, 44, 45, 45, 0, 0, len(files), len(files), len(central), len(out))
    end += struct.pack("<IIQI", 0x07064B50, 0, len(out) + len(central), 1)
    end += struct.pack("<IHHHHIIH", 0x06054B50, 0, 0, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF, 3) + b"end"
    return out + central + end


put("zip64", zip64(small))
expect("zip64", {"w": state["w"]})

# What must be refused.
stored = zipfile.ZIP_STORED
put("bad_big_endian_zip", rezip(small, lambda n, b: (n, b"big" if n.endswith("byteorder") else b, stored)))
put("bad_compressed", rezip(small, lambda n, b: (n, b, zipfile.ZIP_DEFLATED if n.endswith("data.pkl") else stored)))
put("bad_torchscript", rezip(small, lambda n, b: (n.replace("version", "constants.pkl"), b, stored)))
put("bad_no_pickle", rezip(small, lambda n, b: None if n.endswith("data.pkl") else (n, b, stored)))
put("bad_no_storage", rezip(small, lambda n, b: None if n.endswith("data/0") else (n, b, stored)))
put("bad_short_storage", rezip(small, lambda n, b: (n, b[:4] if n.endswith("data/0") else b, stored)))


def with_pickle(body):
    return rezip(small, lambda n, b: (n, body if n.endswith("data.pkl") else b, stored))


class Evil:
    def __reduce__(self):
        import os
        return os.system, ("touch /tmp/pwned",)


put("bad_os_system_zip", with_pickle(pickle.dumps({"w": Evil()}, 2)))
put("bad_os_system_old", legacy(pickle.dumps({"w": Evil()}, 2)))
put("bad_eval", with_pickle(b"\x80\x02}X\x01\x00\x00\x00wc__builtin__\neval\nX\x03\x00\x00\x001+1\x85Rs."))
put("bad_getattr", with_pickle(b"\x80\x02c__builtin__\ngetattr\n."))
put("bad_stack_global", with_pickle(pickle.dumps({"w": Evil()}, 4)))
put("bad_protocol4", with_pickle(pickle.dumps({"w": 1}, 4)))
put("bad_inst", with_pickle(b"\x80\x02(X\x02\x00\x00\x00idios\nsystem\n."))
put("bad_call_of_storage", with_pickle(b"\x80\x02ctorch\nFloatStorage\nK\x01\x85R."))
put("bad_new_object", with_pickle(b"\x80\x02ccollections\nOrderedDict\n)\x81."))
put("bad_persistent_id", with_pickle(b"\x80\x02(X\x06\x00\x00\x00moduleK\x01tQ."))
put("bad_persistent_text", with_pickle(b"\x80\x02X\x06\x00\x00\x00moduleQ."))
put("bad_big_endian_old", legacy(python2, about={**machine, "little_endian": False}))
put("bad_protocol_old", legacy(python2, protocol=1002))
put("bad_view_metadata", legacy(python2.replace(b"K\x02Nt", b"K\x02(U\x016K\x00K\x02tt")))
put("bad_count_old", legacy(python2, data=struct.pack("<q2f", 3, 1.0, 2.0)))
put("bad_unlisted", legacy(python2, keys=b"\x80\x02].", data=b""))
put("bad_listed_twice", legacy(python2, keys=b"\x80\x02](U\x015U\x015e."))
put("bad_unmentioned", legacy(python2, keys=b"\x80\x02](U\x015U\x016e."))
put("bad_storage_types", legacy(python2[:-1] + b"(U\x07storagectorch\nLongStorage\nU\x015U\x03cpuK\x02NtQ\x86."))
put("bad_plain_pickle", pickle.dumps({"w": 1}, 2))
put("bad_tar", b"sys_info" + bytes(1016))
put("bad_module", with_pickle(b"\x80\x02ctorchvision.models.resnet\nResNet\n)\x81}b."))
put("bad_list", plain([torch.ones(1)]))
put("bad_one_tensor", plain(torch.ones(1)))
put("bad_two_networks", plain({"epoch": 1, "G": state, "D": {"w": state["w"]}}))
put("bad_integer_name", plain({0: torch.ones(1)}))


def tensor_with(offset=b"K\x00", size=b"K\x02\x85", stride=b"K\x01\x85", name=b"X\x01\x00\x00\x00w", again=b"", numel=b"K\x02"):
    one = (b"ctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\nFloatStorage\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpu"
           + numel + b"tQ" + offset + size + stride + b"\x89ccollections\nOrderedDict\n)RtR")
    return with_pickle(b"\x80\x02}(" + name + one + (again + one if again else b"") + b"u.")


put("hand_made", tensor_with())
expect("hand_made", {"w": state["w"]})
put("bad_reaches_out", tensor_with(offset=b"K\x01"))
put("bad_negative_stride", tensor_with(stride=b"J\xff\xff\xff\xff\x85"))
put("bad_huge_shape", tensor_with(size=b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x8a\x08" + b"\xff" * 7 + b"\x7f\x86", stride=b"K\x00K\x00\x86"))
put("bad_huge_stride", tensor_with(size=b"K\x03\x85", stride=b"\x8a\x08" + b"\xff" * 7 + b"\x7f\x85"))
put("bad_expanded", tensor_with(size=b"J\xff\xff\xff\x0f\x85", stride=b"K\x00\x85"))
put("bad_ranks", tensor_with(stride=b")"))
put("bad_nine_dimensions", tensor_with(size=b"(" + b"K\x01" * 9 + b"t", stride=b"(" + b"K\x01" * 9 + b"t"))
put("bad_twice", tensor_with(again=b"X\x01\x00\x00\x00w"))
put("bad_name", tensor_with(name=b"X\x02\x00\x00\x00\xc3("))
put("bad_numel", tensor_with(numel=b"J\xff\xff\xff\x7f"))
put("bad_memo", with_pickle(b"\x80\x02}r\xff\xff\xff\xff."))
put("bad_unput", with_pickle(b"\x80\x02h\x00."))
put("bad_deep", with_pickle(b"\x80\x02" + b"(" * 1000 + b"."))

save_file(expected, folder / "expected.safetensors")
print(len(expected), "tensors,", len(list(folder.glob("*.pth"))), "files,", sum(f.stat().st_size for f in folder.iterdir()), "bytes")
