"""The experiments of docs/experiments.md, on the handwritten digits of demo/digits.npz.

    python3 scripts/digits_experiments.py same [--seeds 8]        the same recipe here and in PyTorch
    python3 scripts/digits_experiments.py transfer [--seeds 8]    from the digits 0-4 to 5-9, 20 pictures of each

Both print the tables of the document (torch, scikit-learn, numpy; the tool from `make build`, or --resnet). One thread everywhere.
"""

import argparse
import csv
import math
import pathlib
import subprocess
import tempfile

import numpy as np
import torch
from torch import nn
from sklearn.linear_model import LogisticRegression
from torch.nn import functional

from torch_models import CIFARResNet

DATA = pathlib.Path(__file__).resolve().parent.parent / "demo" / "digits.npz"
MODEL = "cifar_resnet20"
EPOCHS, BATCH, RATE, MOMENTUM, DECAY = 20, 64, 0.1, 0.9, 5e-4
PRETRAINED, PER_CLASS, TRANSFER_EPOCHS, TRANSFER_BATCH = 5, 20, 40, 20
RATES = [0.003, 0.01, 0.03, 0.1]
# name, what is frozen, whether it starts from the weights that know 0-4, rates besides RATES (the head alone bears more):
# the situations of FreezePolicy.recommended
POLICIES = [
    ("everything trains, from the weights of 0-4", "none", True, []),
    ("backbone frozen, new head", "allButHead", True, [0.3, 1]),
    ("same structure, every weight from scratch", "none", False, []),
    ("stem and layer1 frozen, the rest trains", "upTo:layer1", True, []),
]


def train_here(tool, folder, data, seed, *options):
    """The test accuracy after the last epoch, in per cent."""
    target = folder / "run"
    subprocess.run(
        [tool, "train", data, "--channels", "1", "--seed", str(seed), "--momentum", str(MOMENTUM), "--weight-decay",
         str(DECAY), "--threads", "1", "--out", target, "--overwrite", *map(str, options)],
        check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    with open(target / "history.csv") as file:
        return 100 * float(list(csv.DictReader(file))[-1]["val_top1"])


def train_in_torch(data, seed):
    """The recipe of `train_here` with MODEL, EPOCHS, BATCH and RATE, in PyTorch."""
    torch.manual_seed(seed)
    x, y, x_test, y_test = (
        torch.from_numpy(data[key]) for key in ("x_train", "y_train", "x_test", "y_test"))
    x, x_test = (pictures[:, None].float() / 127.5 - 1 for pictures in (x, x_test))
    model = CIFARResNet(classes=10, input_channels=1)
    for module in model.modules():
        if isinstance(module, nn.Conv2d):
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
    optimizer = torch.optim.SGD(model.parameters(), RATE, momentum=MOMENTUM, weight_decay=DECAY)
    steps = EPOCHS * math.ceil(len(x) / BATCH)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(EPOCHS):
        for part in torch.randperm(len(x)).split(BATCH):
            loss = functional.cross_entropy(model(x[part]), y[part].long())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
    model.eval()
    with torch.no_grad():
        return 100 * (model(x_test).argmax(1) == y_test).float().mean().item()


def probe(tool, folder, weights, arrays):
    """Logistic regression by scikit-learn on the features that the weights make, with the strength that is best on the test:
    about the most that a head could make of them."""
    features = []
    for key in ("x_train", "x_test"):
        np.save(folder / "x.npy", arrays[key][:, None].astype(np.float32) / 127.5 - 1)
        subprocess.run([tool, "embed", folder / "x.npy", "--weights", weights, "--output", folder / "h.npy"],
                       check=True, stderr=subprocess.DEVNULL)
        features.append(np.load(folder / "h.npy"))
    found = [
        LogisticRegression(C=c, max_iter=10000).fit(features[0], arrays["y_train"]).score(features[1], arrays["y_test"])
        for c in (0.1, 1, 10, 100)]
    return 100 * max(found)


def row(name, values):
    values = np.array(values)
    return f"| {name} | {', '.join(f'{v:.2f}' for v in values)} | {values.mean():.2f} | {np.ptp(values):.2f} |"


def same(tool, seeds, folder):
    data = np.load(DATA)
    ours = [
        train_here(tool, folder, DATA, seed, "--model", MODEL, "--epochs", EPOCHS, "--batch", BATCH, "--lr", RATE)
        for seed in range(seeds)]
    theirs = [train_in_torch(data, seed) for seed in range(seeds)]
    print("| | test accuracy by seed, % | mean | spread |\n| --- | --- | --- | --- |")
    print(row("ResNetSwift", ours))
    print(row(f"PyTorch {torch.__version__.split('+')[0]}", theirs))


def transfer(tool, seeds, folder):
    data = np.load(DATA)
    known, unknown = data["y_train"] < PRETRAINED, data["y_train"] >= PRETRAINED
    test = {"x_test": data["x_test"], "y_test": data["y_test"]}
    old, new = folder / "old.npz", folder / "new.npz"
    kept = test["y_test"] < PRETRAINED
    np.savez(old, x_train=data["x_train"][known], y_train=data["y_train"][known],
             x_test=test["x_test"][kept], y_test=test["y_test"][kept])
    found, probed = {}, []
    for seed in range(seeds):
        accuracy = train_here(
            tool, folder, old, seed, "--model", MODEL, "--epochs", EPOCHS, "--batch", BATCH, "--lr", RATE)
        weights = folder / "pretrained.safetensors"
        (folder / "run" / "last.safetensors").rename(weights)
        print(f"seed {seed}: {known.sum()} pictures of 0-4, test accuracy on those {accuracy:.2f} %")
        draw = np.random.default_rng(seed)
        chosen = np.concatenate([
            draw.choice(np.flatnonzero(data["y_train"] == digit), PER_CLASS, replace=False)
            for digit in range(PRETRAINED, 10)])
        np.savez(new, x_train=data["x_train"][chosen], y_train=data["y_train"][chosen] - PRETRAINED,
                 x_test=test["x_test"][~kept], y_test=test["y_test"][~kept] - PRETRAINED)
        for name, freeze, starts, more in POLICIES:
            for rate in RATES + more:
                start = ["--weights", weights, "--new-head"] if starts else ["--model", MODEL]
                found.setdefault((name, rate), []).append(train_here(
                    tool, folder, new, seed, *start, "--freeze", freeze, "--epochs", TRANSFER_EPOCHS, "--batch",
                    TRANSFER_BATCH, "--lr", rate))
        probed.append(probe(tool, folder, weights, np.load(new)))
    print(f"{unknown.sum()} pictures of 5-9, of which {PER_CLASS * 5} train; {(~kept).sum()} to test on\n")
    rates = sorted({rate for _, rate in found})
    print("| policy, by learning rate | " + " | ".join(map(str, rates)) + " |\n| --- |" + " --- |" * len(rates))
    for name in dict.fromkeys(name for name, _ in found):
        print(f"| {name} | " + " | ".join(cell(found.get((name, rate))) for rate in rates) + " |")
    print(f"\nscikit-learn's logistic regression on the frozen features: {cell(probed)}")


def cell(values):
    return f"{np.mean(values):.1f} ({min(values):.1f}-{max(values):.1f})" if values is not None else ""


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("experiment", choices=["same", "transfer"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--resnet", default=".build/release/resnet", help="the command line tool")
    options = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as name:
        {"same": same, "transfer": transfer}[options.experiment](
            options.resnet, options.seeds, pathlib.Path(name))


if __name__ == "__main__":
    main()
