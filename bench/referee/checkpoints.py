"""Prepares one model for all peers: `python -m referee.checkpoints MODEL FOLDER`. Needs the peers' environment.

Random weights from a seed, so that activations keep the range of a trained network (no denormals, no overflow): with
batch norm, statistics that fit them and are then disturbed, so that folding is put to the test; without, He's weights
and a last layer fitted so that the logits differ. Files in FOLDER:

    weights.safetensors     ours and PyTorch's
    traced.pt               TorchScript, what pnnx reads and what PyTorch starts from
    model.onnx              batch left open ("batch"), input "x", output "logits"
    openvino.xml, .bin      fp32
    ncnn.param, ncnn.bin    fp32
    model.mnn               fp32
    input.npy               32 pictures (32, 3, size, size) float32
    reference.npy           their logits, computed in double by PyTorch
    meta.json               multiply-adds of one picture (convolutions and linear), seed, versions; written last

A file that a converter cannot make is not there, and its peer sits out.
"""

import json
import os
import subprocess
import sys
from pathlib import Path

from referee import networks

SEED = 20250101
PICTURES = 32
FORMAT = 2  # raise it when the recipe changes: older folders are then made anew


def is_ready(folder):
    try:
        meta = json.loads((Path(folder) / "meta.json").read_text())
    except (OSError, ValueError):
        return False
    return meta.get("format") == FORMAT


def build(name):
    import torch

    torch.manual_seed(SEED)
    network = networks.create(name)
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    shape = 8, 3, networks.NETWORKS[name].size, networks.NETWORKS[name].size
    if norms:
        fit_norms(network, norms, shape)
    else:
        fit_plain(network, shape)
    return network.eval()


def fit_norms(network, norms, shape):
    import torch

    with torch.no_grad():
        for block in network.modules():
            if not isinstance(block, torch.nn.BatchNorm2d):
                continue
            block.weight.uniform_(0.5, 1.5)
            block.bias.normal_(0, 0.2)
        for block in network.modules():  # a trained network's residual branches add less than they pass on
            last = getattr(block, "bn3", getattr(block, "bn2", None))
            if last is not None:
                last.weight.mul_(0.2)
        for norm in norms:
            norm.momentum = None  # a plain average over the calibration batches
        network.train()
        network(torch.randn(shape))
        for norm in norms:
            norm.momentum = 0.1
            spread = norm.running_var.sqrt()
            norm.running_mean.add_(0.2 * spread * torch.randn_like(spread))
            norm.running_var.mul_(torch.empty_like(spread).uniform_(0.7, 1.4))
        network.fc.bias.normal_(0, 0.1)


def fit_plain(network, shape):
    """He's initialization keeps the spread of activations through any depth. Noise pictures have nearly the same
    features, so the last layer takes their mean away and brings what is left to a spread of 1, around 4: a logit that
    stands alone must not be near zero, since errors are relative to it."""
    import torch

    layers = [m for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    with torch.no_grad():
        for layer in layers:
            torch.nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            if layer.bias is not None:
                layer.bias.normal_(0, 0.1)
        logits = network.eval()(torch.randn(shape))
        last = layers[-1]
        spread = logits.std(0)
        last.weight.div_(spread[:, None])
        last.bias.sub_(logits.mean(0)).div_(spread).add_(4)


def multiply_adds(network, pictures):
    import torch

    total = 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Conv2d):
            kernel = module.weight[0].numel()
            total += output[0].numel() * kernel
        else:
            total += output[0].numel() * module.in_features

    hooks = [
        m.register_forward_hook(count) for m in network.modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))
    ]
    with torch.no_grad():
        network(pictures[:1])
    for hook in hooks:
        hook.remove()
    return total


def reference_logits(network, pictures):
    import copy

    import torch

    double = copy.deepcopy(network).double()
    with torch.no_grad():
        return torch.cat([double(part.double()) for part in pictures.split(4)]).numpy()


def export(network, pictures, folder):
    import torch
    from safetensors.torch import save_file

    save_file({key: value.contiguous() for key, value in network.state_dict().items()}, folder / "weights.safetensors")
    with torch.no_grad():
        torch.jit.trace(network, pictures[:1]).save(str(folder / "traced.pt"))
    torch.onnx.export(
        network,
        (pictures[:2],),
        str(folder / "model.onnx"),
        input_names=["x"],
        output_names=["logits"],
        dynamic_axes={"x": {0: "batch"}, "logits": {0: "batch"}},
        opset_version=17,
        dynamo=False,
    )


def convert_openvino(folder):
    sys.modules["openvino_telemetry"] = None
    import openvino as ov

    ov.save_model(
        ov.Core().read_model(str(folder / "model.onnx")), str(folder / "openvino.xml"), compress_to_fp16=False
    )


def convert_ncnn(folder, size):
    """pnnx stores half-precision weights unless told otherwise."""
    tool = Path(sys.executable).parent / "pnnx"
    scratch = folder / "pnnx"
    scratch.mkdir(exist_ok=True)
    command = [
        tool,
        "../traced.pt",
        f"inputshape=[1,3,{size},{size}]",
        "fp16=0",
        "ncnnparam=../ncnn.param",
        "ncnnbin=../ncnn.bin",
        "pnnxparam=p",
        "pnnxbin=b",
        "pnnxpy=p.py",
        "pnnxonnx=o",
        "ncnnpy=n.py",
    ]
    subprocess.run(command, cwd=scratch, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    for left in scratch.iterdir():
        left.unlink()
    scratch.rmdir()


def convert_mnn(folder):
    """The native converter, called directly: the `mnnconvert` command installs a logging package with whatever pip it
    finds and reports each conversion over the network. PATH is emptied so that nothing can be started."""
    code = (
        "import _tools, sys; _tools.mnnconvert(['mnnconvert', '-f', 'ONNX', '--modelFile', sys.argv[1], "
        "'--MNNModel', sys.argv[2], '--bizCode', 'bench'])"
    )
    command = [sys.executable, "-c", code, folder / "model.onnx", folder / "model.mnn"]
    done = subprocess.run(command, env={**os.environ, "PATH": "/nonexistent"}, capture_output=True, text=True)
    if done.returncode or not (folder / "model.mnn").exists():
        raise RuntimeError(f"MNN's converter failed: {done.stdout}{done.stderr}")


def prepare(name, folder):
    import numpy as np
    import torch
    import torchvision

    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    for old in [folder / "meta.json", *folder.glob("input-*.npy")]:  # parts of an earlier input.npy
        old.unlink(missing_ok=True)
    network = build(name)
    size = networks.NETWORKS[name].size
    pictures = torch.randn(PICTURES, 3, size, size)
    np.save(folder / "input.npy", pictures.numpy())
    np.save(folder / "reference.npy", reference_logits(network, pictures))
    macs = multiply_adds(network, pictures)
    export(network, pictures, folder)
    convert_openvino(folder)
    for convert, arguments in (convert_ncnn, (folder, size)), (convert_mnn, (folder,)):
        try:
            convert(*arguments)
        except (RuntimeError, subprocess.SubprocessError) as failure:
            print(f"{name}: {convert.__name__}: {failure}", file=sys.stderr)
    meta = {
        "format": FORMAT,
        "model": name,
        "seed": SEED,
        "macs": macs,
        "torch": torch.__version__,
        "torchvision": torchvision.__version__,
    }
    (folder / "meta.json").write_text(json.dumps(meta, indent=1))


if __name__ == "__main__":
    prepare(sys.argv[1], sys.argv[2])
