"""Writes Tests/Fixtures/training/operations.json: what PyTorch's losses and optimizers give on small seeded data.

    python3 scripts/make_training_op_fixtures.py

losses       kind, its settings, logits and targets -> loss and gradient, in float64 from float32 inputs
optimizers   name, its settings, start, gradients of each step -> parameters after each step, in float32
"""

import json
import pathlib

import torch
from torch.nn import functional as F

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "training"
ROWS, CLASSES, COUNT, STEPS = 4, 5, 19, 4


def numbers(tensor):
    return [float(v) for v in tensor.detach().reshape(-1)]


def losses(generator):
    logits = torch.randn(ROWS, CLASSES, generator=generator) * 3
    weights = torch.rand(CLASSES, generator=generator) + 0.5
    labels = torch.tensor([2, 0, -100, 4])
    soft = torch.softmax(torch.randn(ROWS, CLASSES, generator=generator), 1)
    binary = (torch.rand(ROWS, CLASSES, generator=generator) < 0.4).float()
    binary[0, 0] = 0.25

    def record(kind, call, **settings):
        x = logits.double().requires_grad_()
        loss = call(x)
        loss.backward()
        return {"kind": kind, "logits": numbers(logits), "loss": float(loss.detach()), "gradient": numbers(x.grad), **settings}

    made = []
    for smoothing in (0.0, 0.1):
        for weight in (None, weights):
            used = None if weight is None else weight.double()
            saved = None if weight is None else numbers(weight)
            made.append(record(
                "cross entropy",
                lambda x: F.cross_entropy(x, labels, weight=used, label_smoothing=smoothing, ignore_index=-100),
                labels=labels.tolist(), weights=saved, smoothing=smoothing))
            made.append(record(
                "soft cross entropy",
                lambda x: F.cross_entropy(x, soft.double(), weight=used, label_smoothing=smoothing),
                targets=numbers(soft), weights=saved, smoothing=smoothing))
    for weight in (None, weights):
        used = None if weight is None else weight.double()
        made.append(record(
            "binary cross entropy",
            lambda x: F.binary_cross_entropy_with_logits(x, binary.double(), pos_weight=used),
            targets=numbers(binary), weights=None if weight is None else numbers(weight), smoothing=0.0))
    return made


def optimizers(generator):
    made = []
    for name, kind, settings in [
        ("sgd", torch.optim.SGD, dict(lr=0.1)),
        ("sgd", torch.optim.SGD, dict(lr=0.1, weight_decay=0.05)),
        ("sgd", torch.optim.SGD, dict(lr=0.05, momentum=0.9, weight_decay=1e-4)),
        ("sgd", torch.optim.SGD, dict(lr=0.05, momentum=0.9, dampening=0.3)),
        ("sgd", torch.optim.SGD, dict(lr=0.05, momentum=0.8, nesterov=True, weight_decay=0.01)),
        ("adam", torch.optim.Adam, dict(lr=0.01)),
        ("adam", torch.optim.Adam, dict(lr=0.01, betas=(0.8, 0.95), eps=1e-6, weight_decay=0.1)),
        ("adamw", torch.optim.AdamW, dict(lr=0.01)),
        ("adamw", torch.optim.AdamW, dict(lr=0.02, betas=(0.8, 0.95), weight_decay=0.2)),
    ]:
        w = torch.randn(COUNT, generator=generator)
        grads = torch.randn(STEPS, COUNT, generator=generator) * torch.logspace(-3, 1, COUNT)
        parameter = torch.nn.Parameter(w.clone())
        optimizer = kind([parameter], foreach=False, **settings)
        after = []
        for step in range(STEPS):
            parameter.grad = grads[step].clone()
            optimizer.step()
            after.append(numbers(parameter))
        full = {k: v for k, v in optimizer.defaults.items() if isinstance(v, (int, float, bool)) and k != "foreach"}
        full["betas"] = optimizer.defaults.get("betas", (0.0, 0.0))
        keys = ("lr", "momentum", "dampening", "weight_decay", "nesterov", "betas", "eps")
        made.append({
            "name": name, "start": numbers(w), "gradients": [numbers(g) for g in grads], "after": after,
            **{key: full[key] for key in keys if key in full}})
    return made


def main():
    generator = torch.Generator().manual_seed(20)
    FOLDER.mkdir(parents=True, exist_ok=True)
    data = {"torch": torch.__version__, "rows": ROWS, "classes": CLASSES, "losses": losses(generator),
            "optimizers": optimizers(generator)}
    (FOLDER / "operations.json").write_text(json.dumps(data) + "\n")


if __name__ == "__main__":
    main()
