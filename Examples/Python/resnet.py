"""Whole networks from Python: ctypes over libresnet.so, NumPy arrays in and out, nothing copied.

    network = Network("resnet50.safetensors")            # floats, (N, C, H, W), normalized as in training
    logits = network.predict(x)

    network = Network("resnet50.safetensors", bytes=True)            # pictures as decoded, (N, H, W, C) uint8
    features = network.embed(pictures)

    for score in network.classify(["photo.jpg", open("photo.png", "rb").read()])[0]:     # paths, files, pixels
        print(score.name, score.probability)

Usable in workers (multiprocessing, Ray, Spark): threads follow OMP_NUM_THREADS, a fork is noticed and gets threads of its
own, and with packed="weights.packed" all processes share one mapped copy of the weights. Calls release the GIL.
"""

import ctypes
import os
from typing import NamedTuple

import numpy as np


class _Error(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char * 512)]


class _Options(ctypes.Structure):
    _fields_ = [("input", ctypes.c_int)] + [
        (name, ctypes.c_int32) for name in ["height", "width", "batch", "threads", "strict"]] + [
            ("model", ctypes.c_char_p), ("packed", ctypes.c_char_p), ("precision", ctypes.c_char_p)]


class _Info(ctypes.Structure):
    _fields_ = [("input", ctypes.c_int)] + [
        (name, ctypes.c_int32) for name in [
            "channels", "height", "width", "classes", "features", "threads", "has_class_names"]] + [
                ("model", ctypes.c_char * 64), ("precision", ctypes.c_char * 16)]


class _Source(ctypes.Structure):
    _fields_ = [
        ("path", ctypes.c_char_p), ("weights", ctypes.c_char_p), ("weights_size", ctypes.c_size_t),
        ("classes", ctypes.c_int32), ("seed", ctypes.c_uint64), ("key", ctypes.c_char_p), ("prefix", ctypes.c_char_p),
        ("transform", ctypes.c_char_p), ("class_names", ctypes.POINTER(ctypes.c_char_p)),
        ("class_name_count", ctypes.c_int32), ("reserved", ctypes.c_void_p * 4)]


class _Picture(ctypes.Structure):
    _fields_ = [("path", ctypes.c_char_p), ("bytes", ctypes.c_void_p), ("size", ctypes.c_size_t)] + [
        (name, ctypes.c_int32) for name in ["height", "width", "channels"]]


_SCORE = np.dtype([("index", np.int32), ("probability", np.float32), ("present", np.int32)])


class Score(NamedTuple):
    """A class and how probable it is; `present` is None where each picture has one class."""

    name: str
    index: int
    probability: float
    present: "bool | None"


class ResNetError(Exception):
    """What resnet.h's functions refuse; `status` is the resnet_status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def _library():
    library = ctypes.CDLL(os.environ.get("LIBRESNET", "libresnet.so.0"))
    pointer = ctypes.c_void_p
    library.resnet_version.restype = library.resnet_class_name.restype = ctypes.c_char_p
    library.resnet_open_source.argtypes = [pointer, pointer, pointer, pointer]
    library.resnet_describe.argtypes = [pointer, pointer]
    library.resnet_class_name.argtypes = [pointer, ctypes.c_int32]
    library.resnet_predict.argtypes = library.resnet_embed.argtypes = [
        pointer, pointer, ctypes.c_int64, pointer, pointer]
    library.resnet_classify.argtypes = [
        pointer, pointer, ctypes.c_int64, ctypes.c_int32, pointer, pointer, pointer]
    library.resnet_read_pictures.argtypes = [pointer, pointer, ctypes.c_int64, pointer, pointer, pointer]
    library.resnet_close.argtypes = [pointer]
    library.resnet_close.restype = None
    return library


_resnet = _library()
version = _resnet.resnet_version().decode()


class Network:
    """A network with its weights; safe to use from many threads at once.

    weights: a path, the bytes of a weight file, or None for random weights of `model`.
    """

    _handle = None

    def __init__(self, weights, *, bytes=False, size=None, batch=0, threads=0, strict=False, model=None, packed=None,
                 transform=None):
        height, width = size or (0, 0)
        text = lambda value: None if value is None else os.fsencode(value)
        source = _Source(transform=text(transform))
        if isinstance(weights, (str, os.PathLike)):
            source.path = os.fsencode(weights)
        elif weights is not None:
            source.weights, source.weights_size = weights, len(weights)
        options = _Options(bool(bytes), height, width, batch, threads, strict, text(model), text(packed))
        self._handle, error = ctypes.c_void_p(), _Error()
        _check(_resnet.resnet_open_source(
            ctypes.byref(source), ctypes.byref(options), ctypes.byref(self._handle), ctypes.byref(error)), error)
        info = _Info()
        _resnet.resnet_describe(self._handle, ctypes.byref(info))
        self.model, self.threads = info.model.decode(), info.threads
        self.classes, self.features = info.classes, info.features
        self.dtype = np.uint8 if bytes else np.float32
        planes = info.channels, info.height, info.width
        self.shape = (*planes[1:], planes[0]) if bytes else planes
        self.class_names = [
            _resnet.resnet_class_name(self._handle, i).decode() for i in range(info.classes if info.has_class_names else 0)]

    def predict(self, pictures):
        """Logits (N, classes) of pictures (N, *shape)."""
        return self._run(_resnet.resnet_predict, pictures, self.classes)

    def embed(self, pictures):
        """What the last layer reads, (N, features)."""
        return self._run(_resnet.resnet_embed, pictures, self.features)

    def classify(self, pictures, top=5):
        """The `top` most probable classes of each picture: a path, the bytes of a file, or pixels (H, W, C) uint8."""
        top, error = min(top, self.classes), _Error()
        scores = np.empty((len(pictures), max(top, 1)), _SCORE)
        if len(pictures):
            given, kept = _pictures(pictures)
            _check(_resnet.resnet_classify(
                self._handle, given, len(given), top, scores.ctypes.data, None, ctypes.byref(error)), error)
            del kept
        name = lambda index: self.class_names[index] if self.class_names else f"class {index}"
        return [[Score(name(i), int(i), float(p), None if present < 0 else bool(present)) for i, p, present in row]
                for row in scores]

    def read(self, pictures):
        """The pictures as `predict` and `embed` take them: resized, cropped and, as floats, normalized."""
        arrays, error = np.empty((len(pictures), *self.shape), self.dtype), _Error()
        if len(pictures):
            given, kept = _pictures(pictures)
            _check(_resnet.resnet_read_pictures(
                self._handle, given, len(given), arrays.ctypes.data, None, ctypes.byref(error)), error)
            del kept
        return arrays

    def _run(self, function, pictures, width):
        if pictures.dtype != self.dtype or pictures.shape[1:] != self.shape:
            raise TypeError(f"expected {np.dtype(self.dtype)} (N, {', '.join(map(str, self.shape))}), "
                            f"found {pictures.dtype} {pictures.shape}")
        pictures = np.ascontiguousarray(pictures)  # copies only what has gaps
        result, error = np.empty((len(pictures), width), np.float32), _Error()
        if len(pictures):  # an empty partition has an empty result
            _check(function(
                self._handle, pictures.ctypes.data, len(pictures), result.ctypes.data, ctypes.byref(error)), error)
        return result

    def close(self):
        """Gives the memory back; happens by itself when nobody holds the network any more."""
        if self._handle:
            _resnet.resnet_close(self._handle)
        self._handle = None

    def __del__(self):
        self.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


def _pictures(pictures):
    """The structures, and what they point to, which must live as long."""
    result, kept = (_Picture * len(pictures))(), []
    for one, picture in zip(result, pictures):
        if isinstance(picture, np.ndarray):
            if picture.dtype != np.uint8 or picture.ndim != 3:
                raise TypeError(f"expected pixels (H, W, C) uint8, found {picture.dtype} {picture.shape}")
            kept.append(np.ascontiguousarray(picture))
            one.bytes, (one.height, one.width, one.channels) = kept[-1].ctypes.data, picture.shape
        elif isinstance(picture, (str, os.PathLike)):
            kept.append(os.fsencode(picture))
            one.path = kept[-1]
        else:
            kept.append(bytes(picture))
            one.bytes, one.size = ctypes.cast(kept[-1], ctypes.c_void_p).value, len(kept[-1])
    return result, kept


def _check(status, error):
    if status != 0:
        raise ResNetError(status, error.text.decode(errors="replace"))
