"""Writes Tests/Fixtures/cifar: CIFAR-10's two formats with a few made-up pictures.

    python3 scripts/make_cifar_fixtures.py        (numpy)

The real batches are pickles that Python 2 wrote (protocol 2, byte strings), which Python 3 cannot write any more. They are
therefore put together here opcode by opcode, as Python 2's cPickle orders them, and then read back with Python's own pickle.
"""

import pathlib
import pickle
import struct

import numpy

TARGET = pathlib.Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "cifar"
BATCHES = {"data_batch_1": [3, 0, 9], "data_batch_2": [5], "test_batch": [7, 1]}


def picture(number):
    """(3, 1024) bytes: red, green, blue."""
    channel, place = numpy.mgrid[0:3, 0:1024]
    return numpy.uint8((number * 89 + channel * 101 + place * 7 + place // 32 * 3) % 256)


class Python2:
    """The opcodes of protocol 2 that a batch needs."""

    def __init__(self):
        self.bytes, self.slots = b"\x80\x02", 0

    def put(self):
        self.bytes += b"q" + bytes([self.slots])
        self.slots += 1

    def text(self, text):
        self.bytes += b"U" + bytes([len(text)]) + text.encode()
        self.put()

    def name(self, module, name):
        self.bytes += f"c{module}\n{name}\n".encode()
        self.put()

    def number(self, value):
        self.bytes += b"K" + bytes([value]) if value < 256 else b"M" + struct.pack("<H", value)


def batch(pictures, labels, title):
    p = Python2()
    p.bytes += b"}"
    p.put()
    p.bytes += b"("
    p.text("data")
    p.name("numpy.core.multiarray", "_reconstruct")
    p.name("numpy", "ndarray")
    p.bytes += b"K\x00\x85"
    p.put()
    p.text("b")
    p.bytes += b"\x87"
    p.put()
    p.bytes += b"R"
    p.put()
    p.bytes += b"(K\x01"
    p.number(len(labels))
    p.number(3072)
    p.bytes += b"\x86"
    p.put()
    p.name("numpy", "dtype")
    p.text("u1")
    p.bytes += b"K\x00K\x01\x87"
    p.put()
    p.bytes += b"R"
    p.put()
    p.bytes += b"(K\x03"
    p.text("|")
    p.bytes += b"NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00t"
    p.put()
    p.bytes += b"b\x89"
    raw = pictures.tobytes()
    p.bytes += b"T" + struct.pack("<i", len(raw)) + raw
    p.put()
    p.bytes += b"t"
    p.put()
    p.bytes += b"b"
    p.text("labels")
    p.bytes += b"]"
    p.put()
    p.bytes += b"("
    for label in labels:
        p.number(label)
    p.bytes += b"e"
    p.text("batch_label")
    p.text(title)
    p.bytes += b"u."
    return p.bytes


def main():
    number = 0
    for folder in ["bin", "py"]:
        (TARGET / f"cifar-10-batches-{folder}").mkdir(parents=True, exist_ok=True)
    for name, labels in BATCHES.items():
        pictures = numpy.stack([picture(number + index).reshape(-1) for index in range(len(labels))])
        number += len(labels)
        records = b"".join(bytes([label]) + row.tobytes() for label, row in zip(labels, pictures))
        (TARGET / "cifar-10-batches-bin" / f"{name}.bin").write_bytes(records)
        pickled = batch(pictures, labels, name.replace("_", " "))
        (TARGET / "cifar-10-batches-py" / name).write_bytes(pickled)
        again = pickle.loads(pickled, encoding="bytes")
        assert again[b"labels"] == labels and numpy.array_equal(again[b"data"], pictures)
        assert again[b"data"].dtype == numpy.uint8


if __name__ == "__main__":
    main()
