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
    gray = (np.arange(30) * 7).astype(np.uint8).reshape(5, 2, 3)
    labels = np.array([0, 2, 1, 2, 0])
    np.savez(FOLDER / "bytes_gray.npz", images=gray, labels=labels)
    np.savez(FOLDER / "too_few_labels.npz", images=gray, labels=labels[:4])
    np.savez(FOLDER / "other_names.npz", a=gray, b=labels)
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


def schedules():
    """Learning rate (and momentum) at every update, as torch.optim.lr_scheduler sets them."""
    sched = torch.optim.lr_scheduler

    def run(make, updates, per_epoch=None, base=0.2):
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base, momentum=0.9)
        by_update, by_epoch = make(optimizer)
        rates, momenta = [], []
        for update in range(updates):
            rates.append(optimizer.param_groups[0]["lr"])
            momenta.append(optimizer.param_groups[0]["momentum"])
            optimizer.step()
            for scheduler in by_update:
                if update + 1 < updates:
                    scheduler.step()
            if per_epoch and (update + 1) % per_epoch == 0:
                for scheduler in by_epoch:
                    scheduler.step()
        return {"rates": rates, "momenta": momenta}

    def warm(o, n):
        return sched.LinearLR(o, start_factor=0.01, total_iters=n)

    write_json("schedules.json", {
        "constant, warm-up 7": run(lambda o: ([warm(o, 7)], []), 30),
        "step": run(lambda o: ([], [sched.StepLR(o, 2, 0.5)]), 30, per_epoch=5),
        "step, warm-up 7": run(lambda o: ([warm(o, 7)], [sched.StepLR(o, 1, 0.5)]), 30, per_epoch=10),
        "milestones": run(lambda o: ([], [sched.MultiStepLR(o, [1, 4], 0.1)]), 30, per_epoch=5),
        "cosine": run(lambda o: ([sched.CosineAnnealingLR(o, 30, 0.001)], []), 30),
        "cosine, warm-up 6": run(
            lambda o: ([sched.SequentialLR(o, [warm(o, 6), sched.CosineAnnealingLR(o, 24)], [6])], []), 30),
        "one-cycle": run(lambda o: ([sched.OneCycleLR(o, 0.2, 30)], []), 30),
        "one-cycle, early": run(
            lambda o: ([sched.OneCycleLR(o, 0.2, 30, pct_start=0.1, div_factor=10, final_div_factor=100,
                                         cycle_momentum=False)], []), 30),
    })


def scores():
    """Precision, recall, F1 and the like by scikit-learn; class 3 never occurs, class 4 is never predicted."""
    rng = np.random.default_rng(2)
    actual = rng.choice([0, 1, 2, 4], 120, p=[0.4, 0.3, 0.2, 0.1])
    logits = rng.normal(size=(120, 5)).astype(np.float32)
    logits[np.arange(120), actual] += 1.5
    logits[:, 4] = -9
    predicted = logits.argmax(1)
    classes = np.arange(5)
    precision, recall, f1, support = sklearn.metrics.precision_recall_fscore_support(
        actual, predicted, labels=classes, zero_division=0)
    one_of_many = {
        "actual": actual.tolist(), "logits": logits.flatten().tolist(),
        "confusion": sklearn.metrics.confusion_matrix(actual, predicted, labels=classes).flatten().tolist(),
        "precision": precision.tolist(), "recall": recall.tolist(), "f1": f1.tolist(), "support": support.tolist(),
        "macroF1": float(f1.mean()), "accuracy": float((actual == predicted).mean()),
        "top": [
            float(sklearn.metrics.top_k_accuracy_score(actual, logits, k=k, labels=classes)) for k in range(1, 5)
        ],
        "crossEntropy": float(torch.nn.functional.cross_entropy(torch.tensor(logits), torch.tensor(actual))),
    }

    labels = (rng.random((80, 4)) < [0.5, 0.3, 0.1, 0.0]).astype(int)
    probabilities = np.clip(rng.normal(0.35, 0.2, (80, 4)) + 0.25 * labels, 0.01, 0.99).round(2)
    best = []
    for label in range(4):
        candidates = np.unique(probabilities[:, label])
        found = [sklearn.metrics.f1_score(labels[:, label], probabilities[:, label] >= t, zero_division=0)
                 for t in candidates]
        best.append(float(np.max(found)))
    at_half = probabilities >= 0.5
    several = {
        "present": labels.flatten().astype(bool).tolist(), "probabilities": probabilities.flatten().tolist(),
        "f1AtHalf": sklearn.metrics.f1_score(labels, at_half, average=None, zero_division=0).tolist(),
        "macroF1AtHalf": float(sklearn.metrics.f1_score(labels, at_half, average="macro", zero_division=0)),
        "accuracyAtHalf": float((labels == at_half).mean()),
        "bestF1": best,
    }
    write_json("scores.json", {"oneOfMany": one_of_many, "several": several})


def losses():
    """Values of torch's losses with all that they can be told."""
    rng = np.random.default_rng(3)
    logits = torch.tensor(rng.normal(size=(6, 4)) * 3, dtype=torch.float32)
    labels = torch.tensor([0, 3, -100, 2, 2, 1])
    soft = torch.tensor(rng.dirichlet(np.ones(4), 6), dtype=torch.float32)
    several = torch.tensor(rng.random((6, 4)) < 0.4, dtype=torch.float32)
    weights = torch.tensor([0.5, 2.0, 1.0, 3.0])
    f = torch.nn.functional
    write_json("losses.json", {
        "logits": logits.flatten().tolist(), "labels": labels.tolist(), "soft": soft.flatten().tolist(),
        "several": several.flatten().tolist(), "weights": weights.tolist(),
        "classes": f.cross_entropy(logits, labels).item(),
        "classesWeighted": f.cross_entropy(logits, labels, weight=weights).item(),
        "classesSmoothed": f.cross_entropy(logits, labels, weight=weights, label_smoothing=0.1).item(),
        "probabilities": f.cross_entropy(logits, soft).item(),
        "probabilitiesSmoothed": f.cross_entropy(logits, soft, weight=weights, label_smoothing=0.2).item(),
        "binary": f.binary_cross_entropy_with_logits(logits, several).item(),
        "binaryWeighted": f.binary_cross_entropy_with_logits(logits, several, pos_weight=weights).item(),
    })


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    arrays()
    class_weights()
    schedules()
    scores()
    losses()


if __name__ == "__main__":
    main()
