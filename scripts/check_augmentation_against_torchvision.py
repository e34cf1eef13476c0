"""Compares what the tests expect of RandAugment and TrivialAugment with the torchvision and Pillow that are installed: every
change at every magnitude and sign, pixel for pixel, by hashes.

    python3 scripts/check_augmentation_against_torchvision.py [--write]

AugmentationPolicyTests.swift compares the same hashes with this library's pixels. `--write` writes them anew
(Tests/Fixtures/pictures/augmentation.json). Exits with 1 if one differs.
"""

import argparse
import json
import pathlib
import sys

import numpy as np
from PIL import Image
from torchvision.transforms import InterpolationMode, RandAugment, TrivialAugmentWide
from torchvision.transforms.autoaugment import _apply_op

FILE = pathlib.Path(__file__).resolve().parent.parent / "Tests/Fixtures/pictures/augmentation.json"
BINS = 31


def pattern(height, width, channels, seed):
    """The pattern of make_picture_fixtures.py."""
    value = (np.arange(height * width * channels, dtype=np.uint64) + seed) * 2654435761 & 0xFFFFFFFF
    value ^= value >> 15
    return ((value * 2246822519 & 0xFFFFFFFF) >> 24).astype(np.uint8).reshape(height, width, channels)


def pictures():
    """Every value, a narrow range with another one in each channel, gray, and too small to be sharpened."""
    narrow = (pattern(18, 26, 3, 2) >> np.array([2, 3, 4], np.uint8)) + np.array([40, 0, 200], np.uint8)
    return {"color": pattern(40, 56, 3, 1), "narrow": narrow, "gray": pattern(21, 21, 1, 3), "thin": pattern(2, 5, 3, 4)}


def hash_of(arrays):
    value = 0xCBF29CE484222325
    for array in arrays:
        for byte in array.tobytes():
            value = (value ^ byte) * 0x100000001B3 & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def results(policy, picture):
    """For each change the hash of its pixels: magnitude by magnitude, the positive one before the negative one."""
    height, width, channels = picture.shape
    image = Image.fromarray(picture if channels == 3 else picture[..., 0])
    policies = {
        "RandAugment": lambda: RandAugment()._augmentation_space(BINS, (height, width)),
        "TrivialAugmentWide": lambda: TrivialAugmentWide()._augmentation_space(BINS),
    }
    found = {}
    for name, (magnitudes, is_signed) in policies[policy]().items():
        values = magnitudes.tolist() if magnitudes.ndim > 0 else [0.0] * BINS
        signed = [sign * value for value in values for sign in ((1.0, -1.0) if is_signed else (1.0,))]
        changed = [_apply_op(image, name, value, InterpolationMode.NEAREST, None) for value in signed]
        found[name] = hash_of(np.asarray(picture) for picture in changed)
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the file instead of comparing with it")
    options = parser.parse_args()
    found = {
        policy: {name: results(policy, picture) for name, picture in pictures().items()}
        for policy in ("RandAugment", "TrivialAugmentWide")
    }
    if options.write:
        FILE.write_text(json.dumps(found, indent=1) + "\n")
        return
    expected = json.loads(FILE.read_text())
    different = [
        f"{policy} {picture} {change}"
        for policy, all_pictures in found.items() for picture, changes in all_pictures.items()
        for change, value in changes.items() if expected[policy][picture].get(change) != value
    ]
    count = sum(len(changes) for all_pictures in found.values() for changes in all_pictures.values())
    print(f"{count - len(different)} of {count} hashes are equal", *different, sep="\n")
    sys.exit(1 if different else 0)


if __name__ == "__main__":
    main()
