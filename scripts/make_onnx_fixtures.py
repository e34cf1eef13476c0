"""Writes Tests/Fixtures/onnx: small networks as PyTorch's two exporters write them, an input, and PyTorch's logits.

    python3 scripts/make_onnx_fixtures.py        (torch, onnx, onnxscript)
"""

import pathlib
import tempfile

import numpy as np
import onnx
import torch
from torch import nn

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "onnx"


class Block(nn.Module):
    def __init__(self, channels, out, stride):
        super().__init__()
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, groups=2, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.downsample = nn.Sequential(nn.Conv2d(channels, out, 1, stride, bias=False), nn.BatchNorm2d(out))

    def forward(self, x):
        y = torch.relu(self.bn1(self.conv1(x)))
        return torch.relu(self.bn2(self.conv2(y)) + self.downsample(x))


class Small(nn.Module):
    """Convolutions with and without batch norms, a residual block, two pools, dropout, and a flattening by view."""

    def __init__(self):
        super().__init__()
        self.conv1 = nn.Conv2d(3, 8, 5, 2, 2)
        self.pool = nn.MaxPool2d(3, 2, 1)
        self.layer1 = nn.Sequential(Block(8, 12, 1), Block(12, 16, 2))
        self.dropout = nn.Dropout(0.3)
        self.hidden = nn.Linear(16, 10)
        self.fc = nn.Linear(10, 5)

    def forward(self, x):
        x = self.pool(torch.relu(self.conv1(x)))
        x = self.layer1(x)
        x = nn.functional.adaptive_avg_pool2d(x, 1)
        x = x.view(x.size(0), -1)
        return self.fc(self.dropout(torch.relu(self.hidden(x))))


def disturbed(network):
    """Statistics as training might leave them, so that folding and epsilon are put to the test."""
    for module in network.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.2)
            module.running_var.uniform_(0.5, 2)
            module.weight.data.uniform_(0.5, 1.5)
            module.bias.data.normal_(0, 0.2)
    return network.eval()


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    torch.manual_seed(7)
    network = disturbed(Small())
    x = torch.randn(3, 3, 32, 40)
    with torch.no_grad():
        np.save(FOLDER / "logits.npy", network.double()(x.double()).float().numpy())
        network.float()
    np.save(FOLDER / "x.npy", x.numpy())
    names = {"input_names": ["x"], "output_names": ["logits"]}
    torch.onnx.export(network, x, FOLDER / "torchscript.onnx", dynamo=False, opset_version=13,
                      dynamic_axes={"x": {0: "N"}, "logits": {0: "N"}}, **names)  # fmt: skip
    torch.onnx.export(network, x, FOLDER / "unfolded.onnx", dynamo=False, opset_version=9, do_constant_folding=False,
                      training=torch.onnx.TrainingMode.PRESERVE, **names)  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder) / "dynamo.onnx"
        torch.onnx.export(network, (x,), path, dynamo=True, external_data=True, **names)
        onnx.save(onnx.load(path), FOLDER / "dynamo.onnx", save_as_external_data=True, location="dynamo.data",
                  size_threshold=256)  # fmt: skip


if __name__ == "__main__":
    main()
