"""The native library (resnet.h) by ctypes, loaded at the first use, and the program beside it."""

from __future__ import annotations

import ctypes
import os
import threading


class ResNetError(Exception):
    """A request that was refused: a file that cannot be read, a size the network does not run on, and so on.

    ``status`` is the ``resnet_status`` of ``resnet.h``, or the exit code of the program.
    """

    def __init__(self, text: str, status: int = 5):
        super().__init__(text, status)
        self.text = text
        self.status = status

    def __str__(self) -> str:
        return self.text


class Error(ctypes.Structure):
    _fields_ = [("text", ctypes.c_char * 512)]


class Options(ctypes.Structure):
    _fields_ = [
        ("input", ctypes.c_int), ("height", ctypes.c_int32), ("width", ctypes.c_int32), ("batch", ctypes.c_int32),
        ("threads", ctypes.c_int32), ("strict", ctypes.c_int32), ("model", ctypes.c_char_p),
        ("packed", ctypes.c_char_p), ("precision", ctypes.c_char_p)]


class Source(ctypes.Structure):
    _fields_ = [
        ("path", ctypes.c_char_p), ("weights", ctypes.c_char_p), ("weights_size", ctypes.c_size_t),
        ("classes", ctypes.c_int32), ("seed", ctypes.c_uint64), ("key", ctypes.c_char_p), ("prefix", ctypes.c_char_p),
        ("transform", ctypes.c_char_p), ("class_names", ctypes.POINTER(ctypes.c_char_p)),
        ("class_name_count", ctypes.c_int32), ("reserved", ctypes.c_void_p * 4)]


class Score(ctypes.Structure):
    _fields_ = [("index", ctypes.c_int32), ("probability", ctypes.c_float), ("present", ctypes.c_int32)]


class Picture(ctypes.Structure):
    _fields_ = [
        ("path", ctypes.c_char_p), ("bytes", ctypes.c_void_p), ("size", ctypes.c_size_t), ("height", ctypes.c_int32),
        ("width", ctypes.c_int32), ("channels", ctypes.c_int32)]


class Info(ctypes.Structure):
    _fields_ = [
        ("input", ctypes.c_int), ("channels", ctypes.c_int32), ("height", ctypes.c_int32), ("width", ctypes.c_int32),
        ("classes", ctypes.c_int32), ("features", ctypes.c_int32), ("threads", ctypes.c_int32),
        ("has_class_names", ctypes.c_int32), ("model", ctypes.c_char * 64),
        ("precision", ctypes.c_char * 16)]


def folder() -> str:
    """Where the library and the program lie: in the package, or where RESNETSWIFT_NATIVE says."""
    return os.environ.get("RESNETSWIFT_NATIVE") or os.path.join(os.path.dirname(__file__), "native")


def program() -> str:
    """The path of the program ``resnet``."""
    path = os.path.join(folder(), "resnet")
    if not os.path.exists(path):
        raise ResNetError(f"{path}: expected the program resnet, found nothing; the package is not built")
    return path


_lock = threading.Lock()
_library: ctypes.CDLL | None = None


def library() -> ctypes.CDLL:
    """The library. Its functions are called without the GIL."""
    global _library
    if _library is None:
        with _lock:
            if _library is None:
                _library = _load(os.path.join(folder(), "libresnet.so"))
    return _library


def _load(path: str) -> ctypes.CDLL:
    if not os.path.exists(path):
        raise ResNetError(f"{path}: expected the native library, found nothing; the package is not built")
    loaded = ctypes.CDLL(path)
    pointer, count, text = ctypes.c_void_p, ctypes.c_int64, ctypes.c_char_p
    index, number = ctypes.c_int32, ctypes.c_float
    signatures = {
        "resnet_version": (text, []),
        "resnet_instruction_set": (text, []),
        "resnet_model_name": (text, [index]),
        "resnet_open_source": (ctypes.c_int, [pointer] * 4),
        "resnet_with_views": (ctypes.c_int, [pointer, text, pointer, pointer]),
        "resnet_close": (None, [pointer]),
        "resnet_describe": (ctypes.c_int, [pointer] * 2),
        "resnet_class_name": (text, [pointer, index]),
        "resnet_threshold": (number, [pointer, index]),
        "resnet_normalization": (ctypes.c_int, [pointer] * 4),
        "resnet_transform": (text, [pointer]),
        "resnet_predict": (ctypes.c_int, [pointer, pointer, count, pointer, pointer]),
        "resnet_embed": (ctypes.c_int, [pointer, pointer, count, pointer, pointer]),
        "resnet_classify": (ctypes.c_int, [pointer, pointer, count, index, pointer, pointer, pointer]),
        "resnet_embed_pictures": (ctypes.c_int, [pointer, pointer, count, pointer, pointer, pointer]),
        "resnet_predict_pictures": (ctypes.c_int, [pointer, pointer, count, pointer, pointer, pointer]),
        "resnet_read_pictures": (ctypes.c_int, [pointer, pointer, count, pointer, pointer, pointer]),
    }
    for name, (result, arguments) in signatures.items():
        function = getattr(loaded, name)
        function.restype, function.argtypes = result, arguments
    return loaded


def check(status: int, error: Error) -> None:
    if status != 0:
        raise ResNetError(error.text.decode(errors="replace"), status)
