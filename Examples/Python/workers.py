"""Workers that share one network: processes after a fork, processes of their own, threads.

    LIBRESNET=/usr/local/lib/libresnet.so.0 python3 workers.py [weights]
"""

import json
import multiprocessing
import os
import pathlib
import struct
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor

import numpy as np

from resnet import Network, ResNetError, version

DIGITS = pathlib.Path(__file__).resolve().parents[2] / "demo" / "digits.safetensors"
network = None


def in_fork(pictures):
    """The parent's network, in a child."""
    return network.predict(pictures)


def in_worker(weights, packed, pictures):
    """A process that opens the network itself, as a Ray or Spark worker would, and maps the weights that all share."""
    with Network(weights, bytes=True, packed=packed, threads=1) as own:
        return own.predict(pictures)


def classifier(path):
    """fc.weight and fc.bias, read here and not by the library."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        start, values = file.tell(), {}
        for key in ["fc.weight", "fc.bias"]:
            begin, end = header[key]["data_offsets"]
            file.seek(start + begin)
            values[key] = np.frombuffer(file.read(end - begin), np.float32).reshape(header[key]["shape"])
    return values["fc.weight"], values["fc.bias"]


def main():
    global network
    weights = sys.argv[1] if len(sys.argv) > 1 else str(DIGITS)
    network = Network(weights, bytes=True)
    print(f"libresnet {version}: {network.model}, pictures {network.shape}, {network.classes} classes, "
          f"{network.features} features, {network.threads} threads")
    pictures = np.random.default_rng(1).integers(0, 256, (20, *network.shape), np.uint8)
    logits = network.predict(pictures)

    w, b = classifier(weights)
    assert np.allclose(network.embed(pictures) @ w.T + b, logits, atol=1e-4), "the embedding is what fc reads"
    assert np.array_equal(logits[3:4], network.predict(pictures[3:4])) or np.allclose(
        logits[3:4], network.predict(pictures[3:4]), atol=1e-4)
    assert network.predict(pictures[:0]).shape == (0, network.classes), "an empty partition"
    with Network(weights) as floats:  # the digits are normalized to -1...1
        x = np.float32(pictures.transpose(0, 3, 1, 2) / 127.5 - 1)
        assert np.allclose(floats.predict(x), logits, atol=1e-3), "floats and bytes agree"

    paths = sorted((DIGITS.parent / "digits").glob("*.png"))
    if weights == str(DIGITS):
        named = [path.name.split("_")[0] for path in paths]
        files = [path.read_bytes() for path in paths]
        for given in [paths, files]:
            assert [scores[0].name for scores in network.classify(given, top=1)] == named, "the digits"
        with Network(pathlib.Path(weights).read_bytes(), bytes=True) as in_memory:
            assert np.array_equal(in_memory.predict(network.read(paths)), network.predict(in_memory.read(files)))
            pixels = list(network.read(paths))
            assert in_memory.classify(pixels) == network.classify(paths), "pixels of the network's size pass as they are"

    with multiprocessing.get_context("fork").Pool(2) as pool:
        assert all(np.array_equal(y, logits) for y in pool.map(in_fork, [pictures] * 4)), "forked workers"
    with tempfile.TemporaryDirectory() as folder:
        packed = os.path.join(folder, "digits.packed")
        with ProcessPoolExecutor(2, mp_context=multiprocessing.get_context("spawn")) as pool:
            jobs = [pool.submit(in_worker, weights, packed, pictures) for _ in range(4)]
            assert all(np.allclose(job.result(), logits, atol=1e-4) for job in jobs), "workers of their own"
        try:
            Network(weights, bytes=True, packed=packed, strict=True)
            raise AssertionError("weights packed for other options were taken")
        except ResNetError as error:
            print(f"refused: {error}")
    with ThreadPoolExecutor(8) as pool:
        assert all(np.array_equal(y, logits) for y in pool.map(network.predict, [pictures] * 32)), "threads"
    for what in [lambda: Network("/nowhere.npz"), lambda: Network(weights, model="resnet51"),
                 lambda: Network(weights, threads=-1), lambda: Network(__file__),
                 lambda: network.classify(["/nowhere.png"])]:
        try:
            what()
            raise AssertionError("a wrong request was taken")
        except ResNetError as error:
            print(f"refused ({error.status}): {error}")
    network.close()
    print("forks, processes and threads agree")


if __name__ == "__main__":
    main()
