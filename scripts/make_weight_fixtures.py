#!/usr/bin/env python3
"""Writes Tests/Fixtures/weights: one tiny network in every container, and odd tensors, with their exact values.

    python3 scripts/make_weight_fixtures.py        (numpy, torch, safetensors)

Seeded: the values are the same on every run; torch names the storages of its older formats by addresses, which are not.

The values of every tensor are written to `*.expected.json` as float32 bit patterns, by NumPy, so that the tests compare
bit for bit with something that no reader of ours has touched. The tar format of PyTorch 0.1.9 is written here by hand,
since torch only reads it; each such file is read back by torch before it is kept.
"""

import argparse
import collections
import datetime
import decimal
import functools
import io
import json
import pathlib
import pickle
import random
import re
import struct
import sys
import tarfile
import types
import uuid
import zipfile
from collections import OrderedDict, namedtuple

import numpy
import safetensors.torch
import torch

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "weights"
MTIME = (1980, 1, 1, 0, 0, 0)


def tiny_network():
    """conv1, bn1, two basic blocks (the second with a projection) and fc: a ResNet in two stages of 4 and 8 channels."""
    generator = torch.Generator().manual_seed(20240229)
    state = OrderedDict()

    def conv(name, out_channels, in_channels, kernel):
        state[f"{name}.weight"] = torch.randn(out_channels, in_channels, kernel, kernel, generator=generator)

    def norm(name, channels):
        state[f"{name}.weight"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.bias"] = torch.randn(channels, generator=generator)
        state[f"{name}.running_mean"] = torch.randn(channels, generator=generator)
        state[f"{name}.running_var"] = torch.rand(channels, generator=generator) + 0.5
        state[f"{name}.num_batches_tracked"] = torch.tensor(100)

    conv("conv1", 4, 3, 3)
    norm("bn1", 4)
    for stage, (channels, inputs) in enumerate([(4, 4), (8, 4)], start=1):
        block = f"layer{stage}.0"
        conv(f"{block}.conv1", channels, inputs, 3)
        norm(f"{block}.bn1", channels)
        conv(f"{block}.conv2", channels, channels, 3)
        norm(f"{block}.bn2", channels)
        if inputs != channels:
            conv(f"{block}.downsample.0", channels, inputs, 1)
            norm(f"{block}.downsample.1", channels)
    state["fc.weight"] = torch.randn(5, 8, generator=generator)
    state["fc.bias"] = torch.randn(5, generator=generator)
    return state


def hugging_face_name(key):
    """The key of transformers' ResNetForImageClassification for one of torchvision's."""
    parts = key.split(".")
    leaf = parts[-1]
    unit = {"conv": "convolution", "bn": "normalization"}
    if parts[0] in ("conv1", "bn1"):
        return f"resnet.embedder.embedder.{unit[parts[0][:-1]]}.{leaf}"
    if parts[0] == "fc":
        return f"classifier.1.{leaf}"
    block = f"resnet.encoder.stages.{int(parts[0][5:]) - 1}.layers.{parts[1]}"
    if parts[2] == "downsample":
        return f"{block}.shortcut.{'convolution' if parts[3] == '0' else 'normalization'}.{leaf}"
    return f"{block}.layer.{int(parts[2][-1]) - 1}.{unit[parts[2][:-1]]}.{leaf}"


def write_expected(name, tensors):
    """Key -> shape and float32 bit patterns, in hexadecimal."""
    table = {}
    for key, value in tensors.items():
        if isinstance(value, torch.Tensor):
            # NumPy has no bfloat16; torch widens it exactly.
            value = value.detach().float() if value.dtype == torch.bfloat16 else value.detach()
            value = value.numpy()
        with numpy.errstate(over="ignore", invalid="ignore"):
            floats = numpy.ascontiguousarray(value.astype(numpy.float32)).reshape(value.shape)
        table[key] = {"shape": list(floats.shape), "bits": [f"{b:08x}" for b in floats.ravel().view(numpy.uint32)]}
    lines = ",\n".join(f"{json.dumps(k)}: {json.dumps(v, separators=(',', ':'))}" for k, v in table.items())
    (FOLDER / f"{name}.expected.json").write_text("{\n" + lines + "\n}\n")


def save_torch(name, value, **options):
    torch.save(value, FOLDER / name, **options)


def save_npz(name, arrays, compression):
    """As numpy.savez does it, zip64 fields included, but with a fixed date: the same bytes on every run."""
    with zipfile.ZipFile(FOLDER / name, "w", compression) as archive:
        for key, array in arrays.items():
            info = zipfile.ZipInfo(f"{key}.npy", MTIME)
            info.compress_type = compression
            with archive.open(info, "w", force_zip64=True) as member:
                numpy.lib.format.write_array(member, numpy.asanyarray(array), allow_pickle=False)


def rewrite_zip(source, target, change, compression=zipfile.ZIP_STORED):
    """Copies a zip archive; `change(name, data)` returns the new data."""
    with zipfile.ZipFile(FOLDER / source) as old, zipfile.ZipFile(FOLDER / target, "w", compression) as new:
        for info in old.infolist():
            member = zipfile.ZipInfo(info.filename, MTIME)
            member.compress_type = compression
            new.writestr(member, change(info.filename, old.read(info.filename)))


# --- The tar format of PyTorch 0.1.9 and earlier ------------------------------------------------------------------


class TarPickler(pickle._Pickler):
    """Writes tensors as persistent ids; parameters as 0.1.9 did, an object with a state of five."""

    def __init__(self, file, tensor_keys):
        super().__init__(file, protocol=2)
        self.tensor_keys = tensor_keys

    def persistent_id(self, value):
        return self.tensor_keys.get(id(value))


def save_tar(name, state, views=(), around=lambda state: state):
    """`views` are pairs (key, root key): the first tensor's storage is a view of the second's. `around` wraps the state."""
    storages, tensors = io.BytesIO(), io.BytesIO()
    roots, storage_keys, tensor_keys = OrderedDict(), {}, {}
    view_keys = {key for key, _ in views}
    for key, value in state.items():
        pointer = value.untyped_storage().data_ptr()
        if pointer not in storage_keys:
            # Addresses, as the format's keys were: beyond 32 bits, so that they take LONG1.
            storage_keys[pointer] = 0x7F0000000000 + 64 * len(storage_keys)
            roots[storage_keys[pointer]] = value
        tensor_keys.setdefault(id(value), 0x560000000000 + 16 * len(tensor_keys))

    def dump(value, file):
        pickle.dump(value, file, protocol=2)

    def storage_class(value):
        return {torch.float32: torch.FloatStorage, torch.int64: torch.LongStorage}[value.dtype]

    dump(len(roots), storages)
    for storage_key, value in roots.items():
        dump((storage_key, "cpu", storage_class(value)), storages)
        data = torch.tensor([], dtype=torch.uint8).set_(value.untyped_storage()).numpy().tobytes()
        storages.write(struct.pack("<q", len(data) // value.element_size()) + data)
    view_list, view_ids = [], {}
    for index, (key, root) in enumerate(views):
        view_ids[key] = 0x7E0000000000 + 64 * index
        root_key = storage_keys[state[root].untyped_storage().data_ptr()]
        view_list.append((view_ids[key], root_key, state[key].storage_offset(), state[key].numel()))
    dump(view_list, storages)

    dump(len(tensor_keys), tensors)
    for key, value in {id(value): (key, value) for key, value in state.items()}.values():
        storage_key = view_ids.get(key, storage_keys[value.untyped_storage().data_ptr()])
        dump((tensor_keys[id(value)], storage_key, torch.FloatTensor), tensors)
        offset = 0 if key in view_keys else value.storage_offset()
        tensors.write(struct.pack("<ii", value.dim(), 0))
        tensors.write(struct.pack(f"<{2 * value.dim()}q", *value.shape, *value.stride()))
        tensors.write(struct.pack("<q", offset))

    object_file = io.BytesIO()
    TarPickler(object_file, tensor_keys).dump(around(state))
    with tarfile.open(FOLDER / name, "w:", format=tarfile.PAX_FORMAT) as archive:
        for member, data in [("storages", storages), ("tensors", tensors), ("pickle", object_file)]:
            info = tarfile.TarInfo(member)
            info.size = len(data.getvalue())
            # A fraction makes tarfile write an extended header, as the old files have it.
            info.mtime = 315532800.5
            archive.addfile(info, io.BytesIO(data.getvalue()))
    loaded = torch.load(FOLDER / name, weights_only=False)
    loaded = loaded.get("state_dict", loaded)
    wrong = [key for key, value in state.items() if not torch.equal(loaded[key], value)]
    assert not wrong, (name, wrong)


# --- The fixtures -------------------------------------------------------------------------------------------------


def write_tiny():
    state = tiny_network()
    arrays = {key: value.numpy() for key, value in state.items()}
    write_expected("tiny", state)
    save_torch("tiny.pth", state)
    save_torch("tiny_stream.pth", state, _use_new_zipfile_serialization=False)
    # num_batches_tracked did not exist then.
    old = OrderedDict((key, value) for key, value in state.items() if not key.endswith("num_batches_tracked"))
    save_tar("tiny_tar.pth", old)
    save_npz("tiny.npz", arrays, zipfile.ZIP_STORED)
    save_npz("tiny_deflated.npz", arrays, zipfile.ZIP_DEFLATED)
    safetensors.torch.save_file(state, FOLDER / "tiny.safetensors", metadata={"format": "pt", "model": "tiny"})
    named = {hugging_face_name(key): value.contiguous() for key, value in state.items()}
    safetensors.torch.save_file(named, FOLDER / "tiny_hugging_face.safetensors", metadata={"format": "pt"})
    save_torch("tiny_hugging_face.bin", named)

    module_names = OrderedDict((f"module.{key}", value) for key, value in state.items())
    optimizer = {"state": {0: {"momentum_buffer": torch.ones(3), "step": 7}}, "param_groups": [{"lr": 0.1, "params": [0]}]}
    save_torch("tiny_wrapped.pth", {"epoch": 90, "arch": "tiny", "best": 71.5, "state_dict": module_names, "optimizer": optimizer})
    # A running average beside the model: the model's own weights are the ones that are read.
    averaged = OrderedDict((f"_orig_mod.module.{key}", torch.zeros_like(value)) for key, value in state.items())
    save_torch("tiny_averaged.pth", {"state_dict_ema": averaged, "state_dict": state})
    parameters = OrderedDict(
        (key, torch.nn.Parameter(value) if value.is_floating_point() and "running" not in key else value)
        for key, value in state.items())
    save_torch("tiny_parameters.pth", parameters)
    # The one byte of `cpu` that becomes another device of equal length in data.pkl.
    rewrite_zip("tiny.pth", "tiny_cuda.pth", lambda name, data: (
        data.replace(b"X\x03\x00\x00\x00cpu", b"X\x06\x00\x00\x00cuda:0") if name.endswith("data.pkl") else data))


def write_types():
    """Special values of each type, in the containers that know the type."""
    f32 = torch.tensor([0.0, -0.0, 1.0, -1.5, 1e-45, -1e-40, 3.4028235e38, float("inf"), float("-inf"), float("nan")])
    f16 = torch.tensor([0, -0.0, 1, -1.5, 6e-8, -6.1e-5, 6.097e-5, 65504, float("inf"), float("-inf"), float("nan"), 0.1]).half()
    f64 = torch.tensor([0.1, -0.0, 1e300, 1e-300, 1 + 2.0**-24, 1 + 2.0**-23 + 2.0**-40, float("inf"), float("nan")], dtype=torch.float64)
    values = OrderedDict(
        f32=f32, f16=f16, bf16=f32.bfloat16(), f64=f64,
        i64=torch.tensor([0, 1, -1, 2**24 + 1, 2**40 + 1, -(2**63)]), i32=torch.tensor([0, -5, 2**31 - 1], dtype=torch.int32),
        i16=torch.tensor([0, -5, 32767], dtype=torch.int16), i8=torch.tensor([0, -5, 127], dtype=torch.int8),
        u8=torch.tensor([0, 1, 255], dtype=torch.uint8), bool=torch.tensor([True, False, True]),
        scalar=torch.tensor(2.5), empty=torch.zeros(0, 3), row=torch.arange(6.0).reshape(1, 6))
    write_expected("types", values)
    safetensors.torch.save_file(values, FOLDER / "types.safetensors")
    save_torch("types.pth", values)
    save_torch("types_stream.pth", values, _use_new_zipfile_serialization=False)
    arrays = OrderedDict((key, value.numpy()) for key, value in values.items() if key != "bf16")
    save_npz("types.npz", arrays, zipfile.ZIP_STORED)
    swapped = OrderedDict((key, a.astype(a.dtype.newbyteorder(">"))) for key, a in arrays.items())
    save_npz("types_big_endian.npz", swapped, zipfile.ZIP_DEFLATED)

    def swap(name, data):
        if name.endswith("/byteorder"):
            return b"big"
        if "/data/" not in name:
            return data
        # torch numbers the storages in the order of the tensors.
        size = list(values.values())[int(name.rsplit("/", 1)[1])].element_size()
        return numpy.frombuffer(data, f"u{size}").byteswap().tobytes()

    rewrite_zip("types.pth", "types_big_endian.pth", swap)


def write_strides():
    """Tensors that share storages, start inside them, run backwards through their axes or repeat elements."""
    generator = torch.Generator().manual_seed(7)
    base = torch.randn(6, 4, 3, 3, generator=generator)
    table = torch.randn(8, 5, generator=generator)
    values = OrderedDict(
        base=base, same=base, part=base[2:5], inner=base[:, 1:3, :, 1], table=table, transposed=table.t(),
        column=table[:, 3], every_other=table[::2, 1::3], channels_last=base.contiguous(memory_format=torch.channels_last),
        expanded=torch.randn(1, 5, generator=generator).expand(7, 5), single=table[3, 4], none=table[8:])
    write_expected("strides", values)
    save_torch("strides.pth", values)
    save_torch("strides_stream.pth", values, _use_new_zipfile_serialization=False)
    save_tar("strides_tar.pth", values)
    flat = torch.arange(40.0)
    views = OrderedDict(root=flat, view=flat[8:20], tail=flat[30:])
    write_expected("views", views)
    save_tar("views_tar.pth", views, views=[("view", "root"), ("tail", "root")])

    fortran = numpy.asfortranarray(base.numpy())
    arrays = OrderedDict(fortran=fortran, plain=base.numpy(), fortran_table=numpy.asfortranarray(table.numpy()))
    write_expected("fortran", arrays)
    save_npz("fortran.npz", arrays, zipfile.ZIP_STORED)
    for version in [(1, 0), (2, 0), (3, 0)]:
        with open(FOLDER / f"version{version[0]}.npy", "wb") as file:
            numpy.lib.format.write_array(file, table.numpy(), version=version)
    write_expected("version", {"array": table.numpy()})


# --- What training scripts keep beside their weights --------------------------------------------------------------


class AttributeDict(dict):
    """Lightning's, by name: a dict with state."""


class WithKeywords:
    """Made by NEWOBJ_EX."""

    def __new__(cls, *, rate=1):
        return object.__new__(cls)

    def __getnewargs_ex__(self):
        return (), {"rate": 2}


class WithEverything(dict):
    """Made by a call, then filled as a list, as a dict and with state: all that a reduce value may have."""

    def __init__(self, *arguments):
        super().__init__()

    def append(self, item):
        pass

    def __reduce_ex__(self, protocol):
        return WithEverything, (1, [2]), {"state": {"deep": (1, 2)}}, iter([1, 2]), iter([("key", 3)])


Point = namedtuple("Point", "x y")


def pretend_module(name, *classes):
    """Pickles name a class by its module, which nobody who reads them here needs to have."""
    parts = name.split(".")
    for length in range(1, len(parts) + 1):
        sys.modules.setdefault(".".join(parts[:length]), types.ModuleType(".".join(parts[:length])))
    for item in classes:
        item.__module__ = name
        setattr(sys.modules[name], item.__name__, item)


def beside_weights():
    """An object of every kind that public bug reports found in checkpoints."""
    structured = numpy.zeros(2, dtype=[("a", "f4"), ("b", "i8")])
    parameter = torch.nn.Parameter(torch.zeros(2))
    parameter.note = "with an attribute"
    return {
        "scalar": numpy.float64(3), "array": numpy.arange(6).reshape(2, 3), "text_array": numpy.array(["a", "bcd"]),
        "objects": numpy.array([1, "a", None], dtype=object), "structured": structured,
        "complex_array": numpy.zeros(3, complex), "dates": numpy.array(["2020-01-01"], "datetime64[D]"),
        "dtype_array": numpy.dtype("f4"), "random_state": numpy.random.RandomState(3),
        "generator": numpy.random.default_rng(3), "python_random": random.Random(3).getstate()[1][:8],
        "namespace": argparse.Namespace(lr=0.1, path=pathlib.PurePosixPath("/data")),
        "default_dict": collections.defaultdict(list, a=[1]), "counter": collections.Counter("hello"),
        "path": pathlib.PureWindowsPath("c:/x"), "device": torch.device("cuda:0"), "dtype": torch.float16,
        "datetime": datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc), "delta": datetime.timedelta(3),
        "set": {1}, "frozen_set": frozenset([1]), "complex": 1 + 2j, "bytes": b"\xff\x00abc", "byte_array": bytearray(b"\x01\xff"),
        "slice": slice(1, 2, 3), "deque": collections.deque([1, 2], maxlen=5), "range": range(10), "ellipsis": ...,
        "big": 2**100, "huge": 1 << 5000, "infinite": float("inf"), "simple": types.SimpleNamespace(a=1),
        "decimal": decimal.Decimal("1.5"), "uuid": uuid.UUID(int=5), "pattern": re.compile("a+"),
        "hparams": AttributeDict(lr=0.1), "keywords": WithKeywords(), "everything": WithEverything(), "point": Point(1, torch.zeros(2)),
        "long_text": "\u00fc" * 5000, "lone_surrogate": "a\udc80b", "partial": functools.partial(int, base=2), "function": len,
        "uint16": torch.zeros(2, dtype=torch.uint16), "float8": torch.zeros(4).to(torch.float8_e4m3fn),
        "complex_tensor": torch.zeros(2, dtype=torch.complex64), "sparse": torch.eye(3).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
        "meta": torch.zeros(3, device="meta"), "storage": torch.zeros(3).untyped_storage(), "parameter": parameter,
        "module": torch.nn.Linear(2, 2), "tensors": [torch.zeros(2), torch.zeros(3)], "tuples": [(i, i) for i in range(100)],
    }


def write_wild():
    """The tiny network among all of that, in every container; its values are those of the other `tiny` files."""
    pretend_module("lightning_fabric.utilities.data", AttributeDict)
    pretend_module("somebody.library", WithKeywords, WithEverything, Point)
    state = tiny_network()
    everything = {"before": beside_weights(), "model_state_dict": state, **beside_weights(), "epoch": 3}
    for protocol in [2, 5]:
        save_torch(f"wild_protocol{protocol}.pth", everything, pickle_protocol=protocol)
    save_torch("wild_stream.pth", everything, pickle_protocol=4, _use_new_zipfile_serialization=False)
    arrays = {key: value.numpy() for key, value in state.items()}
    for protocol in [2, 5]:
        save_torch(f"wild_arrays{protocol}.pth", {"net": arrays}, pickle_protocol=protocol)
    fortran = {key: numpy.asfortranarray(a).astype(a.dtype.newbyteorder(">")) for key, a in arrays.items()}
    save_torch("wild_arrays_swapped.pth", fortran)
    rewrite_zip("wild_arrays2.pth", "wild_arrays_deflated.pth", lambda name, data: data, zipfile.ZIP_DEFLATED)
    for protocol in [0, 1, 4]:
        (FOLDER / f"wild_bare{protocol}.pkl").write_bytes(pickle.dumps(arrays, protocol))
    old = OrderedDict((key, value) for key, value in state.items() if not key.endswith("num_batches_tracked"))
    save_tar("wild_tar.pth", old, around=lambda state: {"args": argparse.Namespace(lr=0.1), "state_dict": state})

    odd = {
        "text": numpy.array(["abcd", "x"]), "uint32": numpy.arange(3, dtype="u4"), "complex": numpy.zeros(2, "c8"),
        "date": numpy.array(["2020"], "M8[D]"), "void": numpy.zeros(2, "V4"),
        "structured": numpy.zeros(2, dtype=[("a", "f4")]), "named_e": numpy.array([b"ab"]),
    }
    save_npz("wild.npz", {**arrays, **odd}, zipfile.ZIP_STORED)
    named = (FOLDER / "wild.npz").read_bytes().replace(b"named_e.npy", b"named_\xe9.npy")
    (FOLDER / "wild.npz").write_bytes(named)
    other = {"scale.a": torch.zeros(3).to(torch.float8_e4m3fn), "scale.b": torch.zeros(3, dtype=torch.uint32)}
    safetensors.torch.save_file({**state, **other}, FOLDER / "wild.safetensors")


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    write_tiny()
    write_types()
    write_strides()
    write_wild()
