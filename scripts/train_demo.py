"""Trains the small network that `make demo` shows, and writes the pictures it is shown with.

    python3 scripts/train_demo.py        (torch, scikit-learn, Pillow, safetensors; two minutes on one core)

demo/digits.safetensors   a CIFAR-style ResNet of 8 layers for gray 32x32 pictures, with class names and transform
demo/digits/CLASS_N.png   20 digits that the network never saw while it was trained

Data: scikit-learn's digits, 1797 pictures of 8x8 in 17 levels, from the test part of "Optical Recognition of Handwritten
Digits" (E. Alpaydin, C. Kaynak; UCI Machine Learning Repository; CC BY 4.0). A fifth of each class is held out; the
pictures come from there, and the accuracy in the file's metadata is that on the held-out fifth.
"""

import json
import pathlib

import numpy
import torch
from PIL import Image
from safetensors.torch import save_file
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split
from torch.nn import functional

from torch_models import CIFARResNet

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "demo"
NAMES = ["zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"]
SIDE = 32
EPOCHS = 60
BATCH = 64
PER_CLASS = 2
TRANSFORM = {
    "channels": 1,
    "exif": "apply",
    "steps": [
        {"step": "resize", "height": SIDE, "width": SIDE, "filter": "bilinear"},
        {"step": "toFloat"},
        {"step": "normalize", "mean": [0.5], "std": [0.5]},
    ],
}


def enlarged(image):
    """8x8 of 0...16 as a PNG holds it: 32x32 bytes, white on black."""
    levels = Image.fromarray(numpy.uint8(numpy.round(image * (255 / 16))), "L")
    return numpy.asarray(levels.resize((SIDE, SIDE), Image.BICUBIC))


def network_input(pictures):
    return (torch.from_numpy(numpy.stack(pictures)).float() / 255 - 0.5)[:, None] / 0.5


def augmented(x):
    """Turned by up to 12 degrees, scaled and shifted by up to a tenth; the border is background."""
    count = len(x)
    angle = (torch.rand(count) - 0.5) * (24 * numpy.pi / 180)
    scale = 1 + (torch.rand(count) - 0.5) * 0.2
    shift = (torch.rand(count, 2) - 0.5) * 0.25
    rotation = torch.stack([torch.cos(angle), -torch.sin(angle), torch.sin(angle), torch.cos(angle)], 1)
    matrix = torch.cat([(rotation * scale[:, None]).view(-1, 2, 2), shift[:, :, None]], 2)
    grid = functional.affine_grid(matrix, list(x.shape), align_corners=False)
    return functional.grid_sample(x + 1, grid, align_corners=False) - 1


def accuracy(model, x, labels):
    model.eval()
    with torch.no_grad():
        return (model(x).argmax(1) == labels).float().mean().item()


def main():
    torch.manual_seed(1)
    torch.set_num_threads(1)  # sums in the same order everywhere
    digits = load_digits()
    pictures = [enlarged(image) for image in digits.images]
    train, held_out = train_test_split(
        numpy.arange(len(pictures)), test_size=0.2, stratify=digits.target, random_state=1)
    labels = torch.from_numpy(digits.target)
    x = network_input(pictures)

    model = CIFARResNet((1, 1, 1), classes=10, input_channels=1)
    optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9, weight_decay=5e-4, nesterov=True)
    steps = (len(train) + BATCH - 1) // BATCH
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 0.2, total_steps=EPOCHS * steps)
    for epoch in range(EPOCHS):
        model.train()
        for part in torch.from_numpy(train)[torch.randperm(len(train))].split(BATCH):
            loss = functional.cross_entropy(model(augmented(x[part])), labels[part], label_smoothing=0.05)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            schedule.step()
        if epoch % 10 == 9:
            print(f"epoch {epoch + 1}: loss {loss.item():.3f}", flush=True)

    reached = accuracy(model, x[held_out], labels[held_out])
    print(f"{len(train)} training pictures, {len(held_out)} held out: {reached:.2%}")

    (FOLDER / "digits").mkdir(parents=True, exist_ok=True)
    for old in (FOLDER / "digits").glob("*.png"):
        old.unlink()
    for digit, name in enumerate(NAMES):
        # The first of each class, right or wrong: nothing is picked by result.
        chosen = [index for index in held_out if digits.target[index] == digit][:PER_CLASS]
        for number, index in enumerate(chosen):
            Image.fromarray(pictures[index], "L").save(FOLDER / "digits" / f"{name}_{number + 1}.png", optimize=True)

    tensors = {
        key: value.contiguous() for key, value in model.state_dict().items() if not key.endswith("num_batches_tracked")}
    save_file(
        tensors,
        FOLDER / "digits.safetensors",
        metadata={
            "format": "pt",
            "model": "cifar_resnet8",
            "classes": json.dumps(NAMES),
            "transform": json.dumps(TRANSFORM, separators=(",", ":")),
            "accuracy": f"{reached:.4f} on {len(held_out)} held-out pictures",
            "data": "UCI Optical Recognition of Handwritten Digits, through scikit-learn; CC BY 4.0",
        },
    )


if __name__ == "__main__":
    main()
