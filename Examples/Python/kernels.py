"""The C core from Python: ctypes over NumPy's own memory, nothing copied on the way in or out.

    python3 kernels.py [/usr/local/lib/libckernels.so.0]
"""

import ctypes
import sys

import numpy as np

core = ctypes.CDLL(sys.argv[1] if len(sys.argv) > 1 else "libckernels.so.0")
core.ck_status_string.restype = core.ck_version.restype = ctypes.c_char_p
floats = lambda: np.ctypeslib.ndpointer(np.float32, flags="C_CONTIGUOUS")  # refuses other types and strided arrays
integer, size = ctypes.c_int32, ctypes.c_size_t
core.ck_linear.argtypes = [
    floats(), size, floats(), floats(), integer, integer, integer, floats(), size, integer, integer]
core.ck_softmax.argtypes = [floats(), integer, integer, floats()]
pixels = np.ctypeslib.ndpointer(np.uint8, flags="C_CONTIGUOUS")
core.ck_nhwc8_to_nchw.argtypes = [pixels, integer, integer, integer, integer, floats(), floats(), floats(), integer]


def call(function, *arguments):
    status = function(*arguments)
    if status != 0:
        raise ValueError(f"{function.__name__}: {core.ck_status_string(status).decode()}")


def linear(x, w, b, relu=False, threads=0):
    """max(x w^T + b, 0) or without the max: x (N, in), w (out, in), b (out), all float32."""
    y = np.empty((len(x), len(w)), np.float32)
    call(core.ck_linear, x, x.shape[1], w, b, *x.shape, len(w), y, len(w), relu, threads)
    return y


def normalized(pictures, mean, std):
    """(N, H, W, C) bytes to (N, C, H, W) floats, (byte / 255 - mean) / std."""
    n, h, w, c = pictures.shape
    y = np.empty((n, c, h, w), np.float32)
    scale, shift = np.float32(1 / (255 * std)), np.float32(-mean / std)
    call(core.ck_nhwc8_to_nchw, pictures, n, c, h, w, scale, shift, y, 0)
    return y


def main():
    random = np.random.default_rng(1)
    x, w, b = (random.standard_normal(shape, np.float32) for shape in [(8, 2048), (1000, 2048), (1000,)])
    logits = linear(x, w, b)
    error = np.abs(logits - (x.astype(float) @ w.T.astype(float) + b)).max() / np.abs(logits).max()
    call(core.ck_softmax, logits, *logits.shape, logits)  # in place
    pictures = random.integers(0, 256, (2, 224, 224, 3), np.uint8)
    mean, std = np.array([0.485, 0.456, 0.406]), np.array([0.229, 0.224, 0.225])
    wanted = ((pictures / 255 - mean) / std).transpose(0, 3, 1, 2)
    pixel_error = np.abs(normalized(pictures, mean, std) - wanted).max()
    print(f"ckernels {core.ck_version().decode()}: linear within {error:.1e}, pixels within {pixel_error:.1e}, "
          f"softmax rows sum to {logits.sum(1).min():.6f}...{logits.sum(1).max():.6f}")
    assert error < 1e-5 and pixel_error < 1e-5 and np.allclose(logits.sum(1), 1, atol=1e-5)


if __name__ == "__main__":
    main()
