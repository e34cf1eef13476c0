#!/usr/bin/env python3
"""A quantized ResNet-18 and ResNet-50 beside ONNX Runtime, live: the same bytes, the same scales, exact integer sums.

    python3 scripts/check_int8_against_onnxruntime.py [--tool .build/debug/resnet]

Random weights are quantized by `resnet quantize` on noise. The file's bytes and scales become an ONNX graph in which ConvInteger
(unsigned times unsigned, exact on every CPU) makes the sums and float operations the epilogue, as ckernels_int8.h
states it. The first convolution, which is float in both, gets weights and pictures whose sums are exact in every order: then every
byte of the network must be the same, and features and logits differ by what their float sums round. Needs numpy, onnx, onnxruntime,
Pillow, safetensors.
"""
import argparse, json, os, subprocess, sys, tempfile
import numpy as np, onnx, onnxruntime
from onnx import TensorProto, helper, numpy_helper
from safetensors import safe_open
from safetensors.numpy import save_file

BLOCKS = {"resnet18": ("basic", [2, 2, 2, 2]), "resnet50": ("bottleneck", [3, 4, 6, 3])}


class Network:
    """Writes an ONNX graph from a file of `resnet quantize`."""

    def __init__(self, path):
        with safe_open(path, "numpy") as f:
            self.tensors = {key: f.get_tensor(key) for key in f.keys()}
            self.quantization = json.loads(f.metadata()["quantization"])
        self.nodes, self.constants, self.count = [], [], 0

    def constant(self, array):
        self.count += 1
        self.constants.append(numpy_helper.from_array(np.ascontiguousarray(array), f"c{self.count}"))
        return f"c{self.count}"

    def add(self, kind, *inputs, **attributes):
        self.count += 1
        self.nodes.append(helper.make_node(kind, list(inputs), [f"t{self.count}"], **attributes))
        return f"t{self.count}"

    def norm(self, name):
        t = self.tensors
        scale = t[f"{name}.weight"].astype(np.float64) / np.sqrt(t[f"{name}.running_var"].astype(np.float64) + 1e-5)
        shift = t[f"{name}.bias"].astype(np.float64) - t[f"{name}.running_mean"].astype(np.float64) * scale
        return scale.astype(np.float32), shift.astype(np.float32)

    def value(self, name):
        v = self.quantization["values"][name]
        return np.float32(v["scale"]), v["zero_point"]

    def to_bytes(self, x):
        x = self.add("Clip", x, self.constant(np.float32(0)), self.constant(np.float32(255)))
        return self.add("Cast", self.add("Round", x), to=TensorProto.UINT8)

    def conv(self, x, x_name, name, norm, stride, relu, result=None, residual=None):
        """result, residual: names of values; residual with the tensor before it."""
        w, one = self.tensors[f"{name}.weight"], np.float32(1)
        assert w.dtype == np.int8, name
        pad = w.shape[2] // 2
        sums = self.add(
            "ConvInteger", x, self.constant((w.astype(np.int16) + 128).astype(np.uint8)), self.constant(np.uint8(0)),
            self.constant(np.uint8(128)), strides=[stride, stride], pads=[pad] * 4)
        gamma, shift = self.norm(norm)
        per, zero = one, 0
        if result:
            scale, zero = self.value(result)
            per = one / scale
        factor = self.value(x_name)[0] * self.tensors[f"{name}.weight_scale"] * gamma * per
        offset = np.float32(zero)
        if residual:
            scale, residual_zero = self.value(residual[1])
            residual_factor = scale * per
            offset = offset - np.float32(residual_zero) * residual_factor
        channel = lambda a: self.constant(a.astype(np.float32).reshape(1, -1, 1, 1))
        t = self.add("Mul", self.add("Cast", sums, to=TensorProto.FLOAT), channel(factor))
        t = self.add("Add", t, channel(shift * per + offset))
        if residual:
            r = self.add("Mul", self.add("Cast", residual[0], to=TensorProto.FLOAT), self.constant(residual_factor))
            t = self.add("Add", t, r)
        return self.to_bytes(t) if result else self.add("Relu", t) if relu else t

    def block(self, kind, x, x_name, name, stride, result):
        shortcut = (x, x_name)
        if f"{name}.downsample.0.weight" in self.tensors:
            own = f"{name}.downsample.1"
            shortcut = (self.conv(x, x_name, f"{name}.downsample.0", own, stride, False, own), own)
        last = f"{name}.relu_1" if kind == "basic" else f"{name}.relu_2"
        a = self.conv(x, x_name, f"{name}.conv1", f"{name}.bn1", stride if kind == "basic" else 1, True, f"{name}.relu")
        a_name = f"{name}.relu"
        if kind == "bottleneck":
            a = self.conv(a, a_name, f"{name}.conv2", f"{name}.bn2", stride, True, f"{name}.relu_1")
            a_name = f"{name}.relu_1"
        n = 2 if kind == "basic" else 3
        y = self.conv(a, a_name, f"{name}.conv{n}", f"{name}.bn{n}", 1, True, last if result else None, shortcut)
        return y, last

    def model(self, kind, counts, size):
        t = self.tensors
        gamma, shift = self.norm("bn1")
        w = (t["conv1.weight"].astype(np.float64) * gamma.reshape(-1, 1, 1, 1)).astype(np.float32)
        x = self.add("Conv", "x", self.constant(w), self.constant(shift), strides=[2, 2], pads=[3] * 4)
        x = self.add("MaxPool", self.add("Relu", x), kernel_shape=[3, 3], strides=[2, 2], pads=[1] * 4)
        x = self.to_bytes(self.add("Mul", x, self.constant(np.float32(1) / self.value("maxpool")[0])))
        x_name = "maxpool"
        for stage, count in enumerate(counts):
            for i in range(count):
                is_last = stage == len(counts) - 1 and i == count - 1
                x, x_name = self.block(kind, x, x_name, f"layer{stage + 1}.{i}", 2 if stage and not i else 1, not is_last)
        h = self.add("Flatten", self.add("GlobalAveragePool", x))
        y = self.add("Gemm", h, self.constant(t["fc.weight"]), self.constant(t["fc.bias"]), transB=1)
        inputs = [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, size, size])]
        outputs = [helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in (y, h)]
        graph = helper.make_graph(self.nodes, "int8", inputs, outputs, self.constants)
        return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)


def make_first_layer_exact(path, rng):
    """Weights of few bits and a norm of one, so that on whole numbers every order of summation gives the same bits."""
    with safe_open(path, "numpy") as f:
        tensors, notes = {key: f.get_tensor(key) for key in f.keys()}, f.metadata()
    tensors["conv1.weight"] = (np.round(tensors["conv1.weight"] * 256) / 256).astype(np.float32)
    while True:
        var = rng.uniform(0.5, 2, 100_000).astype(np.float32)
        gamma = np.sqrt(var.astype(np.float64) + 1e-5).astype(np.float32)
        off = np.abs(gamma / np.sqrt(var.astype(np.float64) + 1e-5) - 1)
        if off.min() < 1e-10:
            break
    best = off.argmin()
    for key, value in (("weight", gamma[best]), ("running_var", var[best]), ("bias", 0.25), ("running_mean", 0)):
        tensors[f"bn1.{key}"][:] = value
    save_file(tensors, path, notes)


def check(name, tool, folder, size=96, images=4):
    from PIL import Image

    rng = np.random.default_rng(1)
    os.makedirs(f"{folder}/pictures", exist_ok=True)
    for i in range(8):
        small = Image.fromarray(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8)).resize((256, 256), Image.BICUBIC)
        small.save(f"{folder}/pictures/{i}.png")

    def resnet(*arguments):
        subprocess.run([tool, *arguments], check=True, stdout=subprocess.DEVNULL)

    resnet("init", name, f"{folder}/{name}.safetensors", "--seed", "3")
    make_first_layer_exact(f"{folder}/{name}.safetensors", rng)
    resnet("quantize", f"{folder}/{name}.safetensors", "--calibrate", f"{folder}/pictures", "--out", f"{folder}/q.safetensors")
    x = rng.integers(-8, 9, (images, 3, size, size)).astype(np.float32) / 4
    np.save(f"{folder}/x.npy", x)
    resnet("predict", "--accuracy", "strict", "--weights", f"{folder}/q.safetensors", "--input", f"{folder}/x.npy", "--output", f"{folder}/y.npy")
    resnet("embed", f"{folder}/x.npy", "--accuracy", "strict", "--weights", f"{folder}/q.safetensors", "--output", f"{folder}/h.npy")
    network = Network(f"{folder}/q.safetensors")
    session = onnxruntime.InferenceSession(
        network.model(*BLOCKS[name], size).SerializeToString(), providers=["CPUExecutionProvider"])
    y, h = session.run(None, {"x": x})
    last = f"layer4.{BLOCKS[name][1][3] - 1}.relu" + ("_1" if name == "resnet50" else "")
    level = float(network.value(last)[0])
    worst_y = np.abs(np.load(f"{folder}/y.npy") - y).max() / np.abs(y).max()
    worst_h = np.abs(np.load(f"{folder}/h.npy") - h).max() / level
    print(f"{name}: logits differ by {worst_y:.2e} of the largest, h by {worst_h:.2e} levels of {last}", flush=True)
    return worst_y < 1e-5 and worst_h < 1e-3


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tool", default=".build/debug/resnet")
    a = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        good = [check(name, a.tool, folder) for name in BLOCKS]
    sys.exit(0 if all(good) else 1)


main()
