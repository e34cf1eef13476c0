#!/usr/bin/env python3
"""Writes Tests/Fixtures/pictures: picture files of every flavour and what Pillow and torchvision make of them.

    python3 scripts/make_picture_fixtures.py
    python3 scripts/make_picture_fixtures.py --seed 100 --out /tmp/pictures       other pictures, for a live check beside Pillow:
    PICTURE_FIXTURES=/tmp/pictures swift test --filter PictureDecodingTests

Needs Pillow, NumPy, torch, torchvision and libturbojpeg (for YCCK and odd samplings, which Pillow cannot write). Seeded: the
same versions write the same bytes. The versions are in index.json.

    index.json      the cases; "offset" and "count" point into pixels.bin
    pixels.bin      expected pixels, raw bytes (H, W, C)
    *.jpg, ...      the files to decode
Where many results are compared but seldom looked at, index.json has their FNV-1a hash only, and their sources are
patterns that the tests compute themselves (see `pattern`).
"""
import argparse
import ctypes
import io
import json
import struct
import zlib
from pathlib import Path

import numpy as np
import PIL.features
import torch
import torchvision
from PIL import Image, ImageEnhance, ImageOps
from torchvision import transforms
from torchvision.transforms import functional

import c_tables
from picture_kinds import bmp_files, exif, gif_files, oriented_files, refused_files, saved, scene, tiff_files, webp_files

OUT = Path(__file__).resolve().parent.parent / "Tests" / "Fixtures" / "pictures"
FILTERS = {"bilinear": Image.Resampling.BILINEAR, "bicubic": Image.Resampling.BICUBIC}
MODES = {1: "L", 3: "RGB", 4: "CMYK"}


class Blob:
    """pixels.bin while it grows."""

    def __init__(self):
        self.data = bytearray()

    def add(self, array):
        raw = np.ascontiguousarray(array, dtype=np.uint8).tobytes()
        place = {"offset": len(self.data), "count": len(raw)}
        self.data += raw
        return place


def fnv1a(array):
    value = 0xCBF29CE484222325
    for byte in np.ascontiguousarray(array, dtype=np.uint8).tobytes():
        value = ((value ^ byte) * 0x100000001B3) & 0xFFFFFFFFFFFFFFFF
    return f"{value:016x}"


def pattern(height, width, channels, seed):
    """Bytes that look random and need no file: the upper byte of a multiplicative hash of the index."""
    index = np.arange(height * width * channels, dtype=np.uint64)
    value = ((index + np.uint64(seed)) * np.uint64(2654435761)) & np.uint64(0xFFFFFFFF)
    value ^= value >> np.uint64(15)
    value = (value * np.uint64(2246822519)) & np.uint64(0xFFFFFFFF)
    return (value >> np.uint64(24)).astype(np.uint8).reshape(height, width, channels)


def image(array):
    height, width, channels = array.shape
    return Image.frombytes(MODES[channels], (width, height), np.ascontiguousarray(array).tobytes())


def pixels(picture):
    array = np.asarray(picture)
    return array[..., None] if array.ndim == 2 else array


# ---------------------------------------------------------------- resize

RESIZES = [  # height, width, channels, out height, out width, box
    (1, 1, 3, 5, 7, None),
    (1, 50, 3, 1, 7, None),
    (50, 1, 1, 9, 1, None),
    (37, 23, 3, 16, 9, None),
    (23, 37, 3, 30, 44, None),
    (64, 48, 1, 32, 24, None),
    (31, 45, 4, 30, 21, None),
    (70, 21, 3, 12, 20, None),
    (100, 3, 3, 4, 2, None),
    (7, 5, 3, 7, 11, None),
    (5, 7, 3, 11, 7, None),
    (2, 2, 3, 17, 23, None),
    (60, 40, 1, 1, 1, None),
    (20, 30, 3, 15, 15, (4, 3, 24, 17)),
    (20, 30, 3, 20, 30, (0.5, 0.25, 29.75, 19.5)),
    (33, 17, 4, 9, 25, (1.3, 2.7, 15.9, 30.1)),
]


def resize_text(height, width, channels, seed, out_height, out_width, name, box):
    """A row of the C table: shapes, box and the hash of Pillow's pixels."""
    source = pattern(height, width, channels, seed)
    result = image(source).resize((out_width, out_height), FILTERS[name], box=box)
    edges = ", ".join(repr(float(v)) for v in box or (0, 0, width, height))
    return (
        f"    {{{height}, {width}, {channels}, {seed}, {out_height}, {out_width}, CK_{name.upper()},\n"
        f"     {{{edges}}}, 0x{fnv1a(pixels(result))}}},"
    )


def listed_resizes():
    for seed, (height, width, channels, out_height, out_width, box) in enumerate(RESIZES):
        for name in FILTERS:
            yield resize_text(height, width, channels, seed, out_height, out_width, name, box)


def random_resizes(rng):
    for seed in range(160):
        height, width, out_height, out_width = (int(v) for v in np.exp(rng.uniform(0, np.log(130), 4)).round())
        channels = int(rng.choice([1, 3, 4]))
        box = None
        if seed % 3 == 0:
            left, right = sorted(float(np.float32(v)) for v in rng.uniform(0, width, 2))
            top, bottom = sorted(float(np.float32(v)) for v in rng.uniform(0, height, 2))
            if right - left > 0.1 and bottom - top > 0.1:
                box = [left, top, right, bottom]
        name = ["bilinear", "bicubic"][seed % 2]
        yield resize_text(height, width, channels, seed, out_height, out_width, name, box)


def write_resizes():
    rows = [*listed_resizes(), *random_resizes(np.random.default_rng(2))]
    c_tables.write_header(
        "pinned_resizes.h",
        f"Resized patterns and the FNV-1a hashes of their pixels in Pillow {PIL.__version__}: the box is left, top, right,"
        " bottom. Written by scripts/make_picture_fixtures.py.",
        '#include <stdint.h>\n\n#include "ckernels.h"\n\n'
        "static const struct {\n    int height, width, channels, seed, out_height, out_width;\n    ck_filter filter;\n"
        "    double box[4];\n    uint64_t hash;\n} resizes[] = {\n" + "\n".join(rows) + "\n};\n",
    )


# ---------------------------------------------------------------- torchvision's transforms


def transform_hashes():
    """Resize (shorter side) and CenterCrop on bytes: sizes, roundings, padding and pixels at once."""
    cases = []
    sizes = [(48, 64), (64, 48), (65, 47), (33, 100), (100, 33), (7, 90), (32, 32), (31, 31), (5, 5), (1, 40), (40, 1)]
    steps = [(37, 32), (32, 32), (33, 28), (24, 31), (20, 27), (9, 8)]
    for seed, (height, width) in enumerate(sizes):
        for resize, crop in steps:
            for name, mode in (("bilinear", "BILINEAR"), ("bicubic", "BICUBIC")):
                pipeline = transforms.Compose(
                    [
                        transforms.Resize(resize, interpolation=transforms.InterpolationMode[mode]),
                        transforms.CenterCrop((crop, crop + 1)),
                    ]
                )
                result = pipeline(image(pattern(height, width, 3, seed)))
                cases.append(
                    {
                        "height": height, "width": width, "seed": seed, "resize": resize, "filter": name,
                        "cropHeight": crop, "cropWidth": crop + 1, "hash": fnv1a(pixels(result)),
                    }
                )  # fmt: skip
    return cases


def pipeline_case(rng, blob):
    """The ImageNet pipeline, from a file to normalized floats."""
    source = Image.fromarray(scene(300, 420, rng))
    source.save(OUT / "pipeline.jpg", quality=85)
    opened = Image.open(OUT / "pipeline.jpg").convert("RGB")
    geometry = transforms.Compose([transforms.Resize(256), transforms.CenterCrop(224)])
    result = geometry(opened)
    result.save(OUT / "pipeline_expected.png", optimize=True)
    values = transforms.Compose(
        [transforms.ToTensor(), transforms.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225])]
    )(result)
    places = rng.integers(0, [3, 224, 224], (48, 3))
    return {
        "file": "pipeline.jpg",
        "expected": "pipeline_expected.png",
        "places": places.tolist(),
        "values": [float(values[tuple(place)]) for place in places],
        "sum": float(values.double().sum()),
    }


# ---------------------------------------------------------------- colors


def color_hashes():
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 15)] * 3, indexing="ij"), -1).astype(np.uint8)
    colors = Image.fromarray(grid.reshape(18 * 18, 18, 3))
    gray = Image.fromarray(pattern(30, 20, 1, 5)[..., 0])
    cases = []
    for factor in (0.0, 0.3, 0.75, 1.0, 1.3, 2.5):
        for name, enhance in (("brightness", ImageEnhance.Brightness), ("contrast", ImageEnhance.Contrast)):
            cases.append({"change": name, "amount": factor, "hash": fnv1a(enhance(colors).enhance(factor)),
                          "grayHash": fnv1a(enhance(gray).enhance(factor))})  # fmt: skip
        cases.append({"change": "saturation", "amount": factor, "hash": fnv1a(ImageEnhance.Color(colors).enhance(factor))})
    for turn in (-0.5, -0.31, -0.004, 0.0, 0.1, 0.27, 0.5):
        cases.append({"change": "hue", "amount": turn, "hash": fnv1a(functional.adjust_hue(colors, turn))})
    cases.append({"change": "gray", "amount": 0, "hash": fnv1a(colors.convert("L"))})
    return cases


# ---------------------------------------------------------------- JPEG


def turbojpeg_compress(array, pixel_format, sampling, quality=90, flags=0):
    library = ctypes.CDLL("libturbojpeg.so.0")
    library.tjInitCompress.restype = ctypes.c_void_p
    handle = ctypes.c_void_p(library.tjInitCompress())
    height, width, _ = array.shape
    buffer, size = ctypes.POINTER(ctypes.c_ubyte)(), ctypes.c_ulong(0)
    data = np.ascontiguousarray(array)
    failed = library.tjCompress2(
        handle, data.ctypes.data_as(ctypes.c_void_p), width, 0, height, pixel_format, ctypes.byref(buffer),
        ctypes.byref(size), sampling, quality, flags)  # fmt: skip
    assert failed == 0
    result = ctypes.string_at(buffer, size.value)
    library.tjFree(buffer)
    library.tjDestroy(handle)
    return result


def jpeg_files(rng):
    color = Image.fromarray(scene(21, 34, rng))
    small = Image.fromarray(scene(11, 18, rng))
    cmyk = np.concatenate([255 - scene(19, 26, rng), scene(19, 26, rng)[..., :1] // 2], -1)
    ink = Image.frombytes("CMYK", (26, 19), cmyk.tobytes())
    files = {
        "baseline_444.jpg": saved(color, "JPEG", quality=90, subsampling=0),
        "baseline_422.jpg": saved(color, "JPEG", quality=90, subsampling=1),
        "baseline_420.jpg": saved(color, "JPEG", quality=75, subsampling=2),
        "progressive_444.jpg": saved(color, "JPEG", quality=90, subsampling=0, progressive=True),
        "progressive_420.jpg": saved(color, "JPEG", quality=75, progressive=True),
        "restart.jpg": saved(color, "JPEG", quality=80, restart_marker_blocks=1),
        "rgb.jpg": saved(color, "JPEG", quality=90, keep_rgb=True),
        "gray.jpg": saved(color.convert("L"), "JPEG", quality=85),
        "gray_progressive.jpg": saved(color.convert("L"), "JPEG", quality=85, progressive=True),
        "one_pixel.jpg": saved(Image.new("RGB", (1, 1), (200, 30, 90)), "JPEG"),
        "thin.jpg": saved(Image.fromarray(scene(1, 40, rng)), "JPEG", quality=90),
        "cmyk.jpg": saved(ink, "JPEG", quality=90),
        "cmyk_progressive.jpg": saved(ink, "JPEG", quality=90, progressive=True),
        # pixel format 11 is CMYK, which TurboJPEG stores as YCCK
        "ycck_444.jpg": turbojpeg_compress(cmyk, 11, 0),
        "ycck_420.jpg": turbojpeg_compress(cmyk, 11, 2),
        "sampling_440.jpg": turbojpeg_compress(np.asarray(color), 0, 4),
        "sampling_411.jpg": turbojpeg_compress(np.asarray(color), 0, 5),
        "trailing_bytes.jpg": saved(small, "JPEG", quality=80) + bytes(range(64)),
    }
    for value in range(1, 9):
        order, kind = ("<", 3) if value % 2 else (">", 3)
        if value == 7:
            kind = 4
        files[f"exif_{value}.jpg"] = saved(small, "JPEG", quality=80, exif=b"Exif\0\0" + exif(value, order, kind, value % 3))
    files["exif_absurd.jpg"] = saved(small, "JPEG", quality=80, exif=b"Exif\0\0" + exif(9))
    plain = saved(small, "JPEG", quality=80)
    comment = b"\xff\xfe" + struct.pack(">H", 2 + 300) + bytes(300)
    xmp = b"http://ns.adobe.com/xap/1.0/\0<x/>"
    app1 = lambda payload: b"\xff\xe1" + struct.pack(">H", 2 + len(payload)) + payload
    files["exif_behind_others.jpg"] = plain[:2] + comment + app1(xmp) + app1(b"Exif\0\0" + exif(6)) + plain[2:]
    return files


# ---------------------------------------------------------------- PNG

ADAM7 = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(samples, bits, color, interlaced=False, before=b"", after=b""):
    """A PNG of any kind from (H, W, C) samples, which Pillow cannot write; rows are not filtered."""

    def packed(rows):
        data = b""
        for row in rows:
            if bits == 16:
                data += b"\0" + row.astype(">u2").tobytes()
            elif bits == 8:
                data += b"\0" + row.astype(np.uint8).tobytes()
            else:
                each = ((row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8)
                data += b"\0" + np.packbits(each.reshape(-1)).tobytes()
        return data

    height, width = samples.shape[:2]
    if interlaced:
        parts = [samples[top::down, left::right] for top, left, down, right in ADAM7]
        raw = b"".join(packed(part) for part in parts if part.size)
    else:
        raw = packed(samples)
    header = struct.pack(">IIBBBBB", width, height, bits, color, 0, 0, int(interlaced))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + before + chunk(b"IDAT", zlib.compress(raw, 9)) + after
        + chunk(b"IEND", b"")
    )  # fmt: skip


def png_files(rng):
    rgb = scene(13, 22, rng)
    alpha = rng.integers(0, 256, (13, 22, 1))
    wide = rng.integers(0, 65536, (9, 14, 4))
    palette = rng.integers(0, 256, (200, 3))
    indices = rng.integers(0, 200, (13, 22, 1))
    plte = chunk(b"PLTE", palette.astype(np.uint8).tobytes())
    short = chunk(b"PLTE", palette[:4].astype(np.uint8).tobytes())
    files = {
        "rgb8.png": saved(Image.fromarray(rgb), "PNG"),
        "rgba8.png": png(np.concatenate([rgb, alpha], -1), 8, 6),
        "gray8.png": png(rgb[..., :1], 8, 0),
        "gray_alpha8.png": png(np.concatenate([rgb[..., :1], alpha], -1), 8, 4),
        "gray16.png": png(wide[..., :1], 16, 0),
        "gray_alpha16.png": png(wide[..., :2], 16, 4),
        "rgb16.png": png(wide[..., :3], 16, 2),
        "rgba16.png": png(wide, 16, 6),
        "palette8.png": png(indices, 8, 3, before=plte),
        "palette8_trns.png": png(indices, 8, 3, before=plte + chunk(b"tRNS", bytes(range(0, 200)))),
        "rgb8_trns.png": png(rgb, 8, 2, before=chunk(b"tRNS", struct.pack(">HHH", *(int(v) for v in rgb[0, 0])))),
        "gray8_trns.png": png(rgb[..., :1], 8, 0, before=chunk(b"tRNS", struct.pack(">H", int(rgb[0, 0, 0])))),
        "gamma.png": png(rgb, 8, 2, before=chunk(b"gAMA", struct.pack(">I", 100000))),
        "one_pixel.png": png(rgb[:1, :1], 8, 2),
        "thin.png": png(rgb[:, :1], 8, 2),
    }
    for bits in (1, 2, 4):
        low = rng.integers(0, 1 << bits, (11, 19, 1))
        files[f"gray{bits}.png"] = png(low, bits, 0)
        colors = palette[: min(1 << bits, 4)]
        files[f"palette{bits}.png"] = png(low % 4, bits, 3, before=chunk(b"PLTE", colors.astype(np.uint8).tobytes()))
    files["interlaced_rgb8.png"] = png(rgb, 8, 2, interlaced=True)
    files["interlaced_palette4.png"] = png(indices % 4, 4, 3, interlaced=True, before=short)
    files["interlaced_rgba16.png"] = png(wide, 16, 6, interlaced=True)
    files["interlaced_tiny.png"] = png(rgb[:3, :2], 8, 2, interlaced=True)
    for value in (3, 6):
        files[f"exif_{value}.png"] = png(rgb[:7, :9], 8, 2, before=chunk(b"eXIf", exif(value)))
    files["exif_behind_8.png"] = png(rgb[:7, :9], 8, 2, after=chunk(b"eXIf", exif(8, ">")))
    return files


def decode_cases(files, blob):
    cases = []
    for name, data in sorted(files.items()):
        (OUT / name).write_bytes(data)
        opened = Image.open(io.BytesIO(data))
        opened.load()
        # Pillow clips these; the documented rule is the high byte, unless all are 255 at most.
        is_wide = opened.mode.startswith("I;16") and np.asarray(opened).max() > 255
        if is_wide:
            upright = Image.fromarray((np.asarray(opened) >> 8).astype(np.uint8))
        else:
            upright = ImageOps.exif_transpose(opened)
        result = pixels(upright.convert("RGB"))
        case = {"file": name, "height": result.shape[0], "width": result.shape[1], **blob.add(result)}
        if not is_wide:
            case["grayHash"] = fnv1a(upright.convert("RGB").convert("L"))
            case["storedHash"] = fnv1a(opened.convert("RGB"))
        cases.append(case)
    return cases


def refused_cases(files):
    for name, (data, _) in files.items():
        (OUT / name).write_bytes(data)
    return [{"file": name, "fault": fault} for name, (_, fault) in sorted(files.items())]


def main():
    global OUT
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=OUT, help="a folder of its own: what is in it is deleted")
    parser.add_argument("--seed", type=int, default=0, help="0 for the pictures of the tests")
    options = parser.parse_args()
    OUT = options.out
    OUT.mkdir(parents=True, exist_ok=True)
    for old in OUT.iterdir():
        old.unlink()

    def rng(seed):
        return np.random.default_rng(options.seed + seed)

    blob = Blob()
    if options.seed == 0:
        write_resizes()
    kinds = [webp_files, gif_files, bmp_files, tiff_files, lambda rng: oriented_files(rng, chunk)]
    index = {
        "versions": {
            "Pillow": PIL.__version__, "libjpeg_turbo": PIL.features.version("libjpeg_turbo"),
            "torchvision": torchvision.__version__.split("+")[0], "torch": torch.__version__.split("+")[0],
        },
        "transformHashes": transform_hashes(),
        "pipeline": pipeline_case(rng(3), blob),
        "colorHashes": color_hashes(),
        "decode": decode_cases({**jpeg_files(rng(4)), **png_files(rng(5))}, blob)
        + [case for seed, files in enumerate(kinds) for case in decode_cases(files(rng(6 + seed)), blob)],
        "refused": refused_cases(refused_files(rng(20))),
    }  # fmt: skip
    lines = []
    for key, value in index.items():
        if isinstance(value, list):
            items = ",\n".join("  " + json.dumps(item) for item in value)
            lines.append(f'"{key}": [\n{items}\n]')
        else:
            lines.append(f'"{key}": {json.dumps(value)}')
    (OUT / "index.json").write_text("{\n" + ",\n".join(lines) + "\n}\n")
    (OUT / "pixels.bin").write_bytes(bytes(blob.data))


if __name__ == "__main__":
    main()
