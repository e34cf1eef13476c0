"""The network and the pictures that the tests use: those of the demo."""

import json
import pathlib
import struct

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parents[2]
DIGITS = ROOT / "demo" / "digits.safetensors"
PICTURES = sorted((ROOT / "demo" / "digits").glob("*.png"))


def tensors(path):
    """A safetensors file, read here and not by the library."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = file.read()
    return {
        key: np.frombuffer(data[slice(*entry["data_offsets"])], np.float32).reshape(entry["shape"])
        for key, entry in header.items() if key != "__metadata__" and entry["dtype"] == "F32"}


def softmax(logits):
    e = np.exp(logits - logits.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def random_input(count, size=32, channels=1):
    return np.random.default_rng(count).standard_normal((count, channels, size, size), np.float32)
