"""Whole networks from Python: ctypes over libresnet.so, NumPy arrays in and out, nothing copied.

    network = Network("resnet50.safetensors")            # floats, (N, C, H, W), normalized as in training
    logits = network.predict(x)

    network = Network("resnet50.safetensors", bytes=True)            # pictures as decoded, (N, H, W, C) uint8
    features = network.embed(pictures)

Usable in workers (multiprocessing, Ray, Spark): threads follow OMP_NUM_THREADS, a fork is noticed and gets threads of its
own, and with packed="weights.packed" all processes share one mapped copy of the weights. Calls release the GIL.
"""

import ctypes
import os

import numpy as np


class _Error(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char * 512)]


class _Options(ctypes.Structure):
    _fields_ = [("input", ctypes.c_int)] + [
        (name, ctypes.c_int32) for name in ["height", "width", "batch", "threads", "strict"]] + [
            ("model", ctypes.c_char_p), ("packed", ctypes.c_char_p)]


class _Info(ctypes.Structure):
    _fields_ = [("input", ctypes.c_int)] + [
        (name, ctypes.c_int32) for name in [
            "channels", "height", "width", "classes", "features", "threads", "has_class_names"]] + [
                ("model", ctypes.c_char * 64)]


class ResNetError(Exception):
    """What resnet.h's functions refuse; `status` is the resnet_status."""

    def __init__(self, status, text):
        super().__init__(text)
        self.status = status


def _library():
    library = ctypes.CDLL(os.environ.get("LIBRESNET", "libresnet.so.0"))
    pointer = ctypes.c_void_p
    library.resnet_version.restype = library.resnet_class_name.restype = ctypes.c_char_p
    library.resnet_open.argtypes = [ctypes.c_char_p, pointer, pointer, pointer]
    library.resnet_describe.argtypes = [pointer, pointer]
    library.resnet_class_name.argtypes = [pointer, ctypes.c_int32]
    library.resnet_predict.argtypes = library.resnet_embed.argtypes = [
        pointer, pointer, ctypes.c_int64, pointer, pointer]
    library.resnet_close.argtypes = [pointer]
    library.resnet_close.restype = None
    return library


_resnet = _library()
version = _resnet.resnet_version().decode()


class Network:
    """A network with its weights; safe to use from many threads at once."""

    _handle = None

    def __init__(self, weights, *, bytes=False, size=None, batch=0, threads=0, strict=False, model=None, packed=None):
        height, width = size or (0, 0)
        text = lambda value: None if value is None else os.fsencode(value)
        options = _Options(bool(bytes), height, width, batch, threads, strict, text(model), text(packed))
        self._handle, error = ctypes.c_void_p(), _Error()
        _check(_resnet.resnet_open(
            os.fsencode(weights), ctypes.byref(options), ctypes.byref(self._handle), ctypes.byref(error)), error)
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


def _check(status, error):
    if status != 0:
        raise ResNetError(status, error.text.decode(errors="replace"))
