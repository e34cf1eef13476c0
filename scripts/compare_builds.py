#!/usr/bin/env python3
"""Shows that two builds of the tool compute the same bits on this machine.

    scripts/compare_builds.py OLD NEW [--models NAME ...] [--only predict describe classify packed train] [--keep DIR]

OLD and NEW are release builds of `resnet`. Weights are seeded, pictures are pseudo-random; nothing is downloaded.

    predict    logits of every model, batches of 1, 3 and 8, one and two threads, accuracy strict and default
    describe   the plans: segments, kernels, places in memory
    classify   pictures as bytes, from PNG files
    packed     packed weights: the same file, and each build opens the other's
    train      ten steps of three networks (SGD, Adam, AdamW; frozen parts; dropout) and what they score

Ends with 1 if anything differs.
"""
import argparse
import json
import pathlib
import random
import struct
import subprocess
import sys
import tempfile
import zipfile
import zlib

LARGE = [
    "resnet18", "resnet34", "resnet50", "resnet101", "resnet152", "resnext50_32x4d", "resnext101_32x8d",
    "resnext101_64x4d", "wide_resnet50_2", "wide_resnet101_2",
]
KERAS = ["alexnet_mini", "googlenet"]
CIFAR = [f"cifar_resnet{depth}" for depth in (14, 20, 32, 44, 56, 110)]
TRAINING = {
    "sgd": ["--model", "cifar_resnet20", "--size", "32", "--optimizer", "sgd", "--momentum", "0.9", "--clip", "1",
            "--flip"],
    "adam": ["--model", "resnet18", "--size", "64", "--optimizer", "adam", "--freeze", "upTo:layer1", "--head",
             "hidden:40:0.3"],
    "adamw": ["--model", "resnet50", "--size", "64", "--optimizer", "adamw", "--checkpointing", "blocks",
              "--accumulate", "2", "--freeze", "layer2.*"],
}  # fmt: skip


def npy(shape, kind, values):
    """A NumPy array as bytes; `kind` is '<f4', '|u1' or '<i8'."""
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {tuple(shape)}, }}".encode()
    header += b" " * ((64 - (len(header) + 11) % 64) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + values


def tensors(path):
    """All of a safetensors file but its metadata, which has the times of the run."""
    contents = path.read_bytes()
    (length,) = struct.unpack("<Q", contents[:8])
    header = json.loads(contents[8 : 8 + length])
    header.pop("__metadata__", None)
    return json.dumps(header).encode() + contents[8 + length :]


def png(size, pixels):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + pixels[y * size * 3 : (y + 1) * size * 3] for y in range(size))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", size, size, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    )  # fmt: skip


class Comparison:
    def __init__(self, old, new, folder):
        self.programs = {"old": old, "new": new}
        self.folder = folder
        self.compared = 0
        self.differences = []

    def run(self, which, *arguments):
        """The output of a command, with the build's own name taken out of paths."""
        done = subprocess.run([self.programs[which], *map(str, arguments)], capture_output=True, text=True)
        if done.returncode != 0:
            return f"exit {done.returncode}: {done.stderr.strip()}"
        return done.stdout.replace(f"{self.folder}/{which}", "")

    def compare(self, what, old, new):
        self.compared += 1
        if old != new:
            self.differences.append(what)
            print(f"DIFFERS  {what}", flush=True)
            if isinstance(old, str):
                for a, b in zip(old.splitlines(), new.splitlines()):
                    if a != b:
                        print(f"    old  {a}\n    new  {b}")
                        break

    def both(self, what, *arguments, output=None):
        """Runs a command in both builds; compares its file, `{output}` among the arguments, or what it prints."""
        results = []
        for which in self.programs:
            path = self.folder / f"{which}-{output}"
            filled = [path if argument == "{output}" else argument for argument in arguments]
            printed = self.run(which, *filled)
            if output and printed.startswith("exit "):
                print(f"         {what}: {printed}")
            results.append(path.read_bytes() if output and path.exists() else printed)
            if output and path.exists():
                path.unlink()
        self.compare(what, *results)
        return results[0]


def pictures(folder, size, count, rng):
    path = folder / f"pictures-{size}-{count}.npy"
    if not path.exists():
        values = struct.pack(f"<{count * 3 * size * size}f", *(rng.gauss(0, 1) for _ in range(count * 3 * size * size)))
        path.write_bytes(npy((count, 3, size, size), "<f4", values))
    return path


def initial(comparison, model):
    """Weights of a model, which both builds write alike."""
    path = comparison.folder / f"{model}.safetensors"
    if not path.exists():
        path.write_bytes(
            comparison.both(f"init {model}", "init", model, "{output}", "--seed", "3", output="weights.safetensors"))
    return path


def compare_model(comparison, model, only, rng):
    folder = comparison.folder
    weights = initial(comparison, model)
    size = 32 if model in CIFAR else 96 if model in KERAS else 224
    if model == "alexnet_mini":
        size = 280
    for batch, count in ((1, 1), (3, 4), (8, 8)):
        for accuracy in ("strict", "default"):
            for threads in (1, 2):
                options = ["--batch", batch, "--threads", threads, "--accuracy", accuracy]
                text = f"{model} batch {batch}, {threads} threads, {accuracy}"
                if "predict" in only:
                    comparison.both(
                        f"predict {text}", "predict", "-w", weights, "-i", pictures(folder, size, count, rng), "-o",
                        "{output}", *options, output="logits.npy")
                if "describe" in only:
                    comparison.both(f"describe {text}", "describe", "-m", model, *options)
    if "classify" in only:
        for batch in (1, 3):
            comparison.both(
                f"classify {model} batch {batch}", "classify", folder / "png", "-w", weights, "--batch", batch, "--json")
    if "packed" in only:
        packed = [folder / f"{which}-packed" for which in comparison.programs]
        arguments = ["predict", "-w", weights, "-i", pictures(folder, size, 1, rng), "--batch", 1]
        logits = []
        for which, path in zip(comparison.programs, packed):
            comparison.run(which, *arguments, "-o", folder / "made.npy", "--packed", path)
        comparison.compare(f"packed {model}", *(path.read_bytes() for path in packed))
        for which, path in zip(comparison.programs, reversed(packed)):
            comparison.run(which, *arguments, "-o", folder / "mapped.npy", "--packed", path)
            logits.append((folder / "mapped.npy").read_bytes())
            (folder / "mapped.npy").unlink()
        comparison.compare(f"packed {model}, mapped by the other build", *logits)
        for path in packed:
            path.unlink()
    weights.unlink()


def compare_training(comparison, rng):
    folder = comparison.folder
    for name, arguments in TRAINING.items():
        size = int(arguments[arguments.index("--size") + 1])
        data = folder / f"data-{size}.npz"
        if not data.exists():
            with zipfile.ZipFile(data, "w") as file:
                # 80 to train on in batches of 8 are ten steps; 20 to validate.
                file.writestr("images.npy", npy((100, size, size, 3), "|u1", rng.randbytes(100 * size * size * 3)))
                labels = struct.pack("<100q", *(index % 5 for index in range(100)))
                file.writestr("labels.npy", npy((100,), "<i8", labels))
        for threads in (1, 2):
            results = []
            for which in comparison.programs:
                out = folder / f"{which}-run"
                text = comparison.run(
                    which, "train", data, *arguments, "--epochs", 1, "--batch", 8, "--threads", threads, "--seed", 5,
                    "--out", out, "--overwrite", "--json")
                if text.startswith("exit "):
                    sys.exit(f"train {name}: {text}")
                results.append((text, tensors(out / "last.safetensors")))
            comparison.compare(f"train {name}, {threads} threads: weights", results[0][1], results[1][1])
            comparison.compare(f"train {name}, {threads} threads: scores", results[0][0], results[1][0])


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", type=pathlib.Path)
    parser.add_argument("new", type=pathlib.Path)
    parser.add_argument("--models", nargs="*", default=CIFAR + KERAS + LARGE)
    kinds = ["predict", "describe", "classify", "packed", "train"]
    parser.add_argument("--only", nargs="*", default=kinds, choices=kinds)
    parser.add_argument("--keep", type=pathlib.Path, help="a folder for the files, which stay")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        folder = options.keep or pathlib.Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        comparison = Comparison(options.old.resolve(), options.new.resolve(), folder)
        rng = random.Random(7)
        (folder / "png").mkdir(exist_ok=True)
        for index in range(5):
            (folder / "png" / f"{index}.png").write_bytes(png(64, rng.randbytes(64 * 64 * 3)))
        if "train" in options.only:
            compare_training(comparison, rng)
        for model in options.models:
            if set(options.only) - {"train"}:
                compare_model(comparison, model, options.only, rng)
                print(f"{model}: {comparison.compared} compared, {len(comparison.differences)} differ", flush=True)
    print(json.dumps({"compared": comparison.compared, "different": comparison.differences}))
    sys.exit(1 if comparison.differences else 0)


if __name__ == "__main__":
    main()
