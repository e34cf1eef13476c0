"""The native library (resnet.h) by ctypes, loaded at the first use, and the program beside it."""

from __future__ import annotations

import ctypes
import os
import pathlib
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
        ("packed", ctypes.c_char_p)]


class Info(ctypes.Structure):
    _fields_ = [
        ("input", ctypes.c_int), ("channels", ctypes.c_int32), ("height", ctypes.c_int32), ("width", ctypes.c_int32),
        ("classes", ctypes.c_int32), ("features", ctypes.c_int32), ("threads", ctypes.c_int32),
        ("has_class_names", ctypes.c_int32), ("model", ctypes.c_char * 64)]


def folder() -> pathlib.Path:
    """Where the library and the program lie: in the package, or where RESNETSWIFT_NATIVE says."""
    given = os.environ.get("RESNETSWIFT_NATIVE")
    return pathlib.Path(given) if given else pathlib.Path(__file__).parent / "native"


def program() -> str:
    """The path of the program ``resnet``."""
    path = folder() / "resnet"
    if not path.exists():
        raise ResNetError(f"{path}: expected the program resnet, found nothing; the package is not built")
    return str(path)


_lock = threading.Lock()
_library: ctypes.CDLL | None = None


def library() -> ctypes.CDLL:
    """The library. Its functions are called without the GIL."""
    global _library
    if _library is None:
        with _lock:
            if _library is None:
                _library = _load(folder() / "libresnet.so")
    return _library


def _load(path: pathlib.Path) -> ctypes.CDLL:
    if not path.exists():
        raise ResNetError(f"{path}: expected the native library, found nothing; the package is not built")
    loaded = ctypes.CDLL(str(path))
    pointer = ctypes.c_void_p
    loaded.resnet_version.restype = loaded.resnet_class_name.restype = ctypes.c_char_p
    loaded.resnet_open.argtypes = [ctypes.c_char_p, pointer, pointer, pointer]
    loaded.resnet_describe.argtypes = [pointer, pointer]
    loaded.resnet_class_name.argtypes = [pointer, ctypes.c_int32]
    loaded.resnet_predict.argtypes = loaded.resnet_embed.argtypes = [
        pointer, pointer, ctypes.c_int64, pointer, pointer]
    loaded.resnet_close.argtypes = [pointer]
    loaded.resnet_close.restype = None
    return loaded


def check(status: int, error: Error) -> None:
    if status != 0:
        raise ResNetError(error.text.decode(errors="replace"), status)
