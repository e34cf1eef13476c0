"""Writes Tests/Fixtures/training: small data sets by NumPy, and what PyTorch and scikit-learn make of schedules, class
weights and scores.

    python3 scripts/make_training_fixtures.py
"""

import json
import pathlib

import numpy as np
import sklearn.metrics
import sklearn.utils.class_weight
import torch

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "training"


def write_json(name, value):
    (FOLDER / name).write_text(json.dumps(value) + "\n")


def arrays():
    grey = (np.arange(30) * 7).astype(np.uint8).reshape(5, 2, 3)
    labels = np.array([0, 2, 1, 2, 0])
    np.savez(FOLDER / "bytes_grey.npz", images=grey, labels=labels)
    np.savez(FOLDER / "too_few_labels.npz", images=grey, labels=labels[:4])
    np.savez(FOLDER / "other_names.npz", a=grey, b=labels)
    np.savez_compressed(
        FOLDER / "keras_pairs.npz", x_train=(np.arange(72) * 3).astype(np.uint8).reshape(4, 3, 2, 3),
        y_train=np.array([[0], [1], [1], [0]], dtype=np.uint8),
        x_test=np.zeros((2, 3, 2, 3), np.uint8), y_test=np.array([1, 0], dtype=np.uint8))
    floats = (np.arange(24) / 8).astype(np.float32).reshape(3, 2, 2, 2)
    np.savez(FOLDER / "floats_multi.npz", x=floats, y=np.array([[1, 0, 1], [0, 0, 0], [0, 1, 0]], dtype=np.int8))
    np.savez(FOLDER / "channels_first.npz", x=np.zeros((2, 3, 32, 32), np.uint8), y=np.array([0, 1]))
    floats[1, 0, 1, 1] = np.nan
    np.savez(FOLDER / "nan.npz", x=floats, y=np.array([0, 1, 1]))


def class_weights():
    labels = np.random.default_rng(1).choice(5, 200, p=[0.5, 0.2, 0.15, 0.1, 0.05])
    weights = sklearn.utils.class_weight.compute_class_weight("balanced", classes=np.arange(5), y=labels)
    write_json("class_weights.json", {"labels": labels.tolist(), "weights": weights.tolist()})


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    arrays()
    class_weights()


if __name__ == "__main__":
    main()
