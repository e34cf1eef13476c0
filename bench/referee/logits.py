"""The pictures everybody sees and the test everybody passes before being measured."""

from pathlib import Path

import numpy as np

TOLERANCE = 5e-4  # of the largest logit; bf16 errs by 1e-2, fp16 by 1e-3: neither passes


def input_of(folder, batch):
    """input-B.npy: the first B pictures, for programs that take a whole file."""
    path = Path(folder) / f"input-{batch}.npy"
    if not path.exists():
        np.save(path, np.load(Path(folder) / "input.npy", mmap_mode="r")[:batch])
    return str(path)


def error_of(folder, batch, output):
    """Largest difference from the double-precision logits, relative to the largest logit."""
    reference = np.load(Path(folder) / "reference.npy")[:batch]
    logits = np.load(output)
    if logits.shape != reference.shape:
        raise ValueError(f"logits of shape {logits.shape}, expected {reference.shape}")
    if not np.isfinite(logits).all():
        return float("inf")
    return float(np.abs(logits - reference).max() / np.abs(reference).max())
