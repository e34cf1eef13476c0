"""Writes demo/digits.npz: the handwritten digits that `make demo` trains on.

    python3 scripts/make_digits.py        (numpy, scikit-learn)

x_train (1437, 8, 8) and x_test (360, 8, 8), bytes, white on black; y_train and y_test, 0 to 9. scikit-learn's digits are the
test part of "Optical Recognition of Handwritten Digits" (E. Alpaydin, C. Kaynak; UCI Machine Learning Repository;
CC BY 4.0). The split is that of scripts/train_demo.py: a fifth of each class, and the pictures in demo/digits come from it.
"""

import io
import pathlib
import zipfile

import numpy
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

TARGET = pathlib.Path(__file__).resolve().parent.parent / "demo" / "digits.npz"


def main():
    digits = load_digits()
    pictures = numpy.uint8(numpy.round(digits.images * (255 / 16)))
    labels = numpy.uint8(digits.target)
    train, test = train_test_split(numpy.arange(len(pictures)), test_size=0.2, stratify=labels, random_state=1)
    arrays = {
        "x_train": pictures[train], "y_train": labels[train], "x_test": pictures[test], "y_test": labels[test]}
    # As numpy.savez_compressed, but with fixed dates: the same file every time.
    with zipfile.ZipFile(TARGET, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        for name, array in arrays.items():
            data = io.BytesIO()
            numpy.lib.format.write_array(data, array)
            archive.writestr(zipfile.ZipInfo(f"{name}.npy", (1980, 1, 1, 0, 0, 0)), data.getvalue(), zipfile.ZIP_DEFLATED)
    print(TARGET, TARGET.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
