"""What users have for a picture, and what the library takes: paths, bytes of picture files, and pixels.

NumPy is imported where arrays come or go: an import of the package, and the classification of a file, are quick without.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
import zlib
from typing import TYPE_CHECKING, Any, Union

if TYPE_CHECKING:
    import numpy as np

#: A picture: a path, the bytes of a picture file, or pixels as uint8 (height, width[, channels]).
Picture = Union[str, bytes, "np.ndarray"]


def is_network_input(x: Any) -> bool:
    """Whether x is an array of floats, which has been through the transform already."""
    dtype = getattr(x, "dtype", None)
    # NumPy's dtypes have a kind; torch's are called torch.float32 and torch.bfloat16.
    return getattr(dtype, "kind", None) == "f" or "float" in str(dtype)


def as_array(x: Any) -> np.ndarray:
    """x as a NumPy array, without a copy where it lies in this machine's memory (DLPack, the array interface, buffers)."""
    import numpy as np

    if isinstance(x, np.ndarray):
        return x
    if getattr(x, "requires_grad", False):
        x = x.detach()
    if hasattr(x, "__dlpack__"):
        try:
            return np.from_dlpack(x)
        except (BufferError, RuntimeError, TypeError):
            if not hasattr(x, "__array__"):
                raise
    return np.asarray(x)


def collect(pictures: Any, applies_exif: bool = True) -> tuple[list[Picture], bool]:
    """The pictures one by one, and whether the caller gave a single one.

    :param applies_exif: PIL images are turned upright, as picture files are.
    """
    def single(picture: Any) -> Picture:
        return _single(picture, applies_exif)

    if isinstance(pictures, (list, tuple)):
        return [single(p) for p in pictures], False
    if _is_pixels(pictures):
        array = as_array(pictures)
        if array.dtype.kind in "OU":  # of paths, such as a column of a table
            return [single(p) for p in array.tolist()], False
        array = _bytes_array(array)
        if array.ndim == 4:
            return [_checked(a) for a in array], False
        return [_checked(array)], True
    if hasattr(pictures, "__next__") and not hasattr(pictures, "read"):
        return [single(p) for p in pictures], False
    return [single(pictures)], True


def _single(picture: Any, applies_exif: bool) -> Picture:
    if isinstance(picture, (str, os.PathLike)):
        return os.path.abspath(os.fspath(picture))
    if isinstance(picture, (bytes, bytearray)):
        return bytes(picture)
    if _is_pillow(picture):
        return _checked(_of_pillow(picture, applies_exif))
    if _is_pixels(picture):
        return _checked(_bytes_array(picture))
    if hasattr(picture, "read"):  # an open file
        content = picture.read()
        if isinstance(content, bytes):
            return content
        raise TypeError("expected a picture file opened for bytes (mode 'rb'), found one opened for text")
    try:
        return bytes(memoryview(picture))
    except TypeError:
        pass
    raise TypeError(
        "expected a picture (a path, the bytes of a picture file, a file, a uint8 array, a PIL image), found "
        f"{type(picture).__name__}")


def _is_pixels(x: Any) -> bool:
    if _is_pillow(x):
        return False
    if isinstance(x, memoryview):
        return x.ndim > 1  # of one dimension it is the contents of a file
    return any(hasattr(x, name) for name in ("__dlpack__", "__array__", "__array_interface__"))


def _is_pillow(x: Any) -> bool:
    module = sys.modules.get("PIL.Image")
    return module is not None and isinstance(x, module.Image)


_ORIENTATION = 0x0112  # of Exif: 1 is upright


def _of_pillow(image: Any, applies_exif: bool) -> np.ndarray:
    """Gray, RGB or RGBA; what has more than 8 bits as the library reads it from files."""
    import numpy as np
    from PIL import ImageOps

    if applies_exif and image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16"):
        return (np.asarray(image) >> 8).astype(np.uint8)
    if image.mode in ("I", "F"):
        values = np.asarray(image)
        if not (values.min() >= 0 and values.max() <= 255):
            raise ValueError(
                f"expected a picture of values from 0 to 255 (mode {image.mode}), found {values.min()} to {values.max()}")
        return values.astype(np.uint8)
    if image.mode not in ("L", "RGB", "RGBA"):
        image = image.convert("RGBA" if "transparency" in image.info or image.mode in ("LA", "PA") else "RGB")
    return np.asarray(image)


def _bytes_array(x: Any) -> np.ndarray:
    array = as_array(x)
    if array.dtype != "uint8":
        raise TypeError(f"expected pixels as uint8, or floats (N, channels, height, width); found {array.dtype}")
    return array


def _checked(pixels: np.ndarray) -> np.ndarray:
    if pixels.ndim == 2:
        pixels = pixels[:, :, None]
    if pixels.ndim != 3 or pixels.shape[2] not in (1, 3, 4) or 0 in pixels.shape:
        raise ValueError(
            f"expected pixels (height, width), (height, width, 1, 3 or 4) or N of those, found {pixels.shape}")
    return pixels


def png(pixels: np.ndarray) -> bytes:
    """(height, width, 1, 3 or 4) as an uncompressed PNG."""
    import numpy as np

    height, width, channels = pixels.shape
    rows = np.zeros((height, 1 + width * channels), np.uint8)  # each row begins with its filter, 0
    rows[:, 1:] = pixels.reshape(height, -1)

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, {1: 0, 3: 2, 4: 6}[channels], 0, 0, 0)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows.tobytes(), 0))
            + chunk(b"IEND", b""))


def native(pictures: list[Picture]) -> tuple[Any, list[Any]]:
    """An array of ``resnet_picture``, and the objects whose memory it points to."""
    from . import _native

    array, held = (_native.Picture * len(pictures))(), []
    for entry, picture in zip(array, pictures):
        if isinstance(picture, str):
            entry.path = os.fsencode(picture)
            continue
        if not isinstance(picture, bytes) and picture.shape[2] == 4:
            picture = png(picture)  # what becomes of transparency is decided where files are read
        if isinstance(picture, bytes):
            entry.bytes, entry.size = ctypes.cast(ctypes.c_char_p(picture), ctypes.c_void_p), len(picture)
        else:
            import numpy as np

            picture = np.ascontiguousarray(picture)
            entry.bytes, (entry.height, entry.width, entry.channels) = picture.ctypes.data, picture.shape
        held.append(picture)
    return array, held
