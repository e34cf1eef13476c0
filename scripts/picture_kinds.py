"""WebP, GIF, BMP and TIFF files of every flavor, most of which Pillow reads but cannot write, and pictures whose orientation
stands in odd places. For make_picture_fixtures.py, which seeds them.
"""
import io
import struct
import zlib

import numpy as np
from PIL import Image


def scene(height, width, rng):
    """Smooth colors, an edge and a little noise: what a photograph is to a codec."""
    y, x = np.mgrid[0:height, 0:width]
    y, x = y / height, x / width
    phase = rng.uniform(0, 6, 6)
    planes = [
        128 + 90 * np.sin(5 * x + phase[0]) * np.cos(4 * y + phase[1]),
        128 + 90 * np.sin(7 * y + 3 * x + phase[2]) * np.cos(2 * x + phase[3]),
        128 + 90 * np.cos(6 * x - 5 * y + phase[4]),
    ]
    rgb = np.stack(planes, -1)
    disc = (x - 0.6) ** 2 + (y - 0.4) ** 2 < 0.06
    rgb[disc] = 255 - rgb[disc]
    return np.clip(rgb + rng.normal(0, 4, rgb.shape), 0, 255).astype(np.uint8)


def saved(picture, kind, **options):
    stream = io.BytesIO()
    picture.save(stream, kind, **options)
    return stream.getvalue()


def exif(orientation, order="<", kind=3, before=1):
    """A TIFF block with an orientation of a given byte order and type, behind some other entries."""
    entries = [struct.pack(order + "HHII", 0x0100 + i, 4, 1, 17) for i in range(before)]
    value = {1: "BBBB", 3: "HH", 4: "I"}[kind]
    fields = [orientation] + [0] * (len(value) - 1)
    entries.append(struct.pack(order + "HHI" + value, 0x0112, kind, 1, *fields))
    head = (b"II" if order == "<" else b"MM") + struct.pack(order + "HI", 42, 8)
    return head + struct.pack(order + "H", len(entries)) + b"".join(entries) + struct.pack(order + "I", 0)


def xmp(orientation, as_element=False):
    field = f"<tiff:Orientation>{orientation}</tiff:Orientation>" if as_element else ""
    attribute = "" if as_element else f' tiff:Orientation="{orientation}"'
    return (
        '<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
        f'<rdf:Description xmlns:tiff="http://ns.adobe.com/tiff/1.0/"{attribute}>{field}</rdf:Description>'
        "</rdf:RDF></x:xmpmeta>"
    ).encode()


# ---------------------------------------------------------------- WebP


def riff(*chunks):
    body = b"WEBP"
    for kind, data in chunks:
        body += kind + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)
    return b"RIFF" + struct.pack("<I", len(body)) + body


def webp_chunks(data):
    """The chunks of a WebP file as (kind, data)."""
    at, chunks = 12, []
    while at + 8 <= len(data):
        size = struct.unpack("<I", data[at + 4 : at + 8])[0]
        chunks.append((data[at : at + 4], data[at + 8 : at + 8 + size]))
        at += 8 + size + size % 2
    return chunks


def u24(value):
    return struct.pack("<I", value)[:3]


def webp_offset_frame(rgb, left, top, width, height):
    """An animation of one frame that covers a part of its canvas."""
    picture = [c for c in webp_chunks(saved(Image.fromarray(rgb), "WEBP", lossless=True)) if c[0] == b"VP8L"][0]
    frame = u24(left // 2) + u24(top // 2) + u24(rgb.shape[1] - 1) + u24(rgb.shape[0] - 1) + u24(100) + b"\0"
    frame += picture[0] + struct.pack("<I", len(picture[1])) + picture[1] + b"\0" * (len(picture[1]) % 2)
    canvas = bytes([2, 0, 0, 0]) + u24(width - 1) + u24(height - 1)
    return riff((b"VP8X", canvas), (b"ANIM", bytes([10, 200, 30, 255, 0, 0])), (b"ANMF", frame))


def webp_files(rng):
    color = Image.fromarray(scene(15, 22, rng))
    alpha = color.copy().convert("RGBA")
    alpha.putalpha(Image.fromarray(rng.integers(0, 256, (15, 22)).astype(np.uint8)))
    frames = [Image.fromarray(scene(10, 12, rng)) for _ in range(2)]
    lossless = dict(webp_chunks(saved(color, "WEBP", lossless=True)))[b"VP8L"]
    return {
        "lossless.webp": saved(color, "WEBP", lossless=True),
        "lossy.webp": saved(color, "WEBP", quality=70),
        "lossless_alpha.webp": saved(alpha, "WEBP", lossless=True, exact=True),
        "lossy_alpha.webp": saved(alpha, "WEBP", quality=70),
        "one_pixel.webp": saved(Image.new("RGB", (1, 1), (200, 30, 90)), "WEBP", lossless=True),
        "animated.webp": saved(frames[0], "WEBP", save_all=True, append_images=frames[1:], lossless=True),
        "offset_frame.webp": webp_offset_frame(scene(7, 9, rng), 4, 2, 20, 13),
        "exif_6.webp": saved(color, "WEBP", quality=70, exif=b"Exif\0\0" + exif(6)),
        "exif_plain_3.webp": riff(
            (b"VP8X", bytes([8, 0, 0, 0]) + u24(21) + u24(14)), (b"VP8L", lossless), (b"EXIF", exif(3, ">"))
        ),
        "xmp_8.webp": saved(color, "WEBP", lossless=True, xmp=xmp(8)),
    }


# ---------------------------------------------------------------- GIF


def gif_on_screen(data, left, top, width, height):
    """A GIF of one picture with no extensions, moved on a larger screen."""
    at = 13 + (3 << (data[10] & 7) + 1 if data[10] & 0x80 else 0)
    while data[at] != 0x2C:  # extensions: ! label, blocks, 0
        at += 2
        while data[at]:
            at += 1 + data[at]
        at += 1
    moved = bytearray(data)
    moved[6:10] = struct.pack("<HH", width, height)
    moved[at + 1 : at + 5] = struct.pack("<HH", left, top)
    return bytes(moved)


def gif_files(rng):
    color = Image.fromarray(scene(15, 22, rng))
    palette = color.quantize(40)
    frames = [Image.fromarray(scene(10, 12, rng)).quantize(16) for _ in range(2)]
    return {
        "palette.gif": saved(palette, "GIF", interlace=0),
        "interlaced.gif": saved(palette, "GIF", interlace=1),
        "interlaced_tiny.gif": saved(Image.fromarray(scene(3, 4, rng)).quantize(8), "GIF", interlace=1),
        "gray.gif": saved(color.convert("L"), "GIF"),
        "two_colors.gif": saved(color.convert("1"), "GIF"),
        "transparent.gif": saved(palette, "GIF", transparency=5),
        "animated.gif": saved(frames[0], "GIF", save_all=True, append_images=frames[1:]),
        "offset.gif": gif_on_screen(saved(palette, "GIF", interlace=0), 5, 3, 40, 25),
        "offset_transparent.gif": gif_on_screen(saved(palette, "GIF", interlace=1, transparency=7), 2, 4, 30, 21),
        "beyond_screen.gif": gif_on_screen(saved(palette, "GIF"), 3, 2, 10, 8),
    }


# ---------------------------------------------------------------- BMP


def bmp(rows, bits, width, height, header=40, palette=b"", compression=0, masks=(), top_down=False, offset=None, colors=0):
    """`rows` are the bytes of all rows in the file's order, padded already."""
    if header == 12:
        info = struct.pack("<IHHHH", 12, width, height, 1, bits)
    else:
        info = struct.pack(
            "<IiiHHIIiiII", header, width, -height if top_down else height, 1, bits, compression, len(rows), 0, 0, colors, 0
        )
        words = struct.pack(f"<{len(masks)}I", *masks)
        info += words if header == 40 else words + bytes(header - 40 - len(words))
    start = 14 + len(info) + len(palette) if offset is None else offset
    return b"BM" + struct.pack("<IHHI", start + len(rows), 0, 0, start) + info + palette + rows


def packed_rows(values, bits, padding=4):
    """(H, W) samples as rows of `bits` each, padded."""
    rows = b""
    for row in values:
        if bits >= 8:
            line = row.astype({8: "<u1", 16: "<u2", 32: "<u4"}[bits]).tobytes()
        else:
            each = ((row.reshape(-1, 1) >> np.arange(bits - 1, -1, -1)) & 1).astype(np.uint8)
            line = np.packbits(each.reshape(-1)).tobytes()
        rows += line + bytes(-len(line) % padding)
    return rows


def run_lengths(values, four_bits):
    """RLE8 or RLE4 with runs, literal pixels, ends of rows; not the shortest."""
    data = b""
    for row in values:
        at = 0
        while at < len(row):
            count = 1
            while at + count < len(row) and row[at + count] == row[at] and count < 255:
                count += 1
            literal = row[at : at + 5]
            if count < 2 and len(literal) == 5:
                data += bytes([0, 5])
                packed = bytes(literal)
                if four_bits:
                    packed = bytes([literal[0] << 4 | literal[1], literal[2] << 4 | literal[3], literal[4] << 4])
                data += packed + bytes(len(packed) % 2)
                at += 5
            else:
                data += bytes([count, row[at] << 4 | row[at] if four_bits else row[at]])
                at += count
        data += b"\0\0"
    return data + b"\0\1"


def bmp_files(rng):
    rgb = scene(9, 13, rng)
    height, width = rgb.shape[:2]
    flipped = rgb[::-1]
    indices = rng.integers(0, 16, (height, width)).astype(np.uint8)
    runs = np.repeat(rng.integers(0, 16, (height, 5)), 3, 1)[:, :width].astype(np.uint8)
    runs[3] = rng.integers(0, 16, width)
    palette = rng.integers(0, 256, (256, 4)).astype(np.uint8)
    wide = rng.integers(0, 65536, (height, width))
    full = rng.integers(0, 1 << 32, (height, width))
    bgr = np.ascontiguousarray(flipped[..., ::-1])
    rows24 = b"".join(row.tobytes() + bytes(-3 * width % 4) for row in bgr)
    size = dict(width=width, height=height)
    return {
        "rgb24.bmp": saved(Image.fromarray(rgb), "BMP"),
        "rgba32.bmp": saved(Image.fromarray(np.concatenate([rgb, rgb[..., :1]], -1)), "BMP"),
        "top_down.bmp": bmp(rows24, 24, top_down=True, **size),
        "os2.bmp": bmp(rows24, 24, header=12, **size),
        "os2_palette4.bmp": bmp(packed_rows(indices, 4), 4, header=12, palette=palette[:16, :3].tobytes(), **size),
        "gray8.bmp": saved(Image.fromarray(rgb[..., 0]), "BMP"),
        "palette8.bmp": bmp(packed_rows(indices * 16 + 3, 8), 8, palette=palette.tobytes(), **size),
        "palette8_short.bmp": bmp(packed_rows(indices, 8), 8, palette=palette[:20].tobytes(), colors=20, **size),
        "palette4.bmp": bmp(packed_rows(indices, 4), 4, palette=palette[:16].tobytes(), **size),
        "palette1.bmp": bmp(packed_rows(indices % 2, 1), 1, palette=palette[:2].tobytes(), **size),
        "forgotten_palette.bmp": bmp(packed_rows(indices, 8), 8, palette=palette.tobytes(), offset=54, **size),
        "rgb555.bmp": bmp(packed_rows(wide, 16), 16, **size),
        "rgb565.bmp": bmp(packed_rows(wide, 16), 16, compression=3, masks=(0xF800, 0x7E0, 0x1F), **size),
        "xrgb32.bmp": bmp(packed_rows(full, 32), 32, **size),
        "rgba_masks.bmp": bmp(
            packed_rows(full, 32), 32, header=124, compression=3, masks=(0xFF, 0xFF00, 0xFF0000, 0xFF000000), **size
        ),
        "xbgr_masks.bmp": bmp(
            packed_rows(full, 32), 32, header=108, compression=3, masks=(0xFF000000, 0xFF0000, 0xFF00, 0), **size
        ),
        "rle8.bmp": bmp(run_lengths(runs, False), 8, compression=1, palette=palette.tobytes(), **size),
        "rle4.bmp": bmp(run_lengths(runs, True), 4, compression=2, palette=palette[:16].tobytes(), **size),
    }


# ---------------------------------------------------------------- TIFF


def tiff(samples, bits=8, photometric=2, extra=(), order="<", planar=1, tile=None, rows=None, deflate=False, fill=1,
         palette=None, form=None, orientation=None, big=False, predictor=False, more=()):  # fmt: skip
    """A TIFF of any layout from (H, W, S) samples. `tile`: (height, width). `form`: the sample format."""
    height, width, count = samples.shape
    kind = order + {1: "u1", 2: "u1", 4: "u1", 8: "u1", 16: "u2", 32: "f4" if form == 3 else "u4"}[bits]

    def encoded(block):
        values = block
        if predictor:
            values = np.diff(block.astype(np.int64), axis=1, prepend=0) % (1 << bits)
        data = b""
        for row in values:
            flat = row.reshape(-1)
            data += packed_rows(flat[None], bits, 1) if bits < 8 else flat.astype(kind).tobytes()
        if fill == 2:
            data = bytes(int(f"{byte:08b}"[::-1], 2) for byte in data)
        return zlib.compress(data) if deflate else data

    planes = [samples] if planar == 1 else [samples[..., s : s + 1] for s in range(count)]
    blocks = []
    for plane in planes:
        if tile:
            down, across = tile
            padded = np.pad(plane, ((0, -height % down), (0, -width % across), (0, 0)), mode="edge")
            blocks += [
                encoded(padded[y : y + down, x : x + across]) for y in range(0, height, down) for x in range(0, width, across)
            ]
        else:
            step = rows or height
            blocks += [encoded(plane[y : y + step]) for y in range(0, height, step)]

    entries = {256: (4, [width]), 257: (4, [height]), 258: (3, [bits] * count), 259: (3, [8 if deflate else 1])}
    entries |= {262: (3, [photometric]), 277: (3, [count]), 284: (3, [planar])}
    if tile:
        entries |= {322: (4, [tile[1]]), 323: (4, [tile[0]]), 324: (4, []), 325: (4, [len(b) for b in blocks])}
    else:
        entries |= {273: (4, []), 278: (4, [rows or height]), 279: (4, [len(b) for b in blocks])}
    if extra:
        entries[338] = (3, list(extra))
    if palette is not None:
        entries[320] = (3, [int(v) for v in palette.T.reshape(-1)])
    if fill == 2:
        entries[266] = (3, [2])
    if form:
        entries[339] = (3, [form] * count)
    if predictor:
        entries[317] = (3, [2])
    if orientation:
        entries[274] = (3, [orientation])
    for tag, kind_of, values in more:
        entries[tag] = (kind_of, list(values))

    # Header, the blocks, the directory, what does not fit into its entries.
    word = "Q" if big else "I"
    head = (b"II" if order == "<" else b"MM") + (
        struct.pack(order + "HHHQ", 43, 8, 0, 0) if big else struct.pack(order + "HI", 42, 0)
    )
    body = bytearray(head)
    places = []
    for block in blocks:
        places.append(len(body))
        body += block + b"\0" * (len(block) % 2)
    entries[324 if tile else 273] = (4, places)
    start = len(body)
    directory = struct.pack(order + ("Q" if big else "H"), len(entries))
    behind = start + len(directory) + len(entries) * (20 if big else 12) + struct.calcsize(word)
    tail = b""
    for tag in sorted(entries):
        field, values = entries[tag]
        data = struct.pack(f"{order}{len(values)}{ {1: 'B', 3: 'H', 4: 'I'}[field] }", *values)
        directory += struct.pack(order + "HH" + word, tag, field, len(values))
        if len(data) <= struct.calcsize(word):
            directory += data.ljust(struct.calcsize(word), b"\0")
        else:
            directory += struct.pack(order + word, behind + len(tail))
            tail += data + b"\0" * (len(data) % 2)
    body += directory + struct.pack(order + word, 0) + tail
    struct.pack_into(order + word, body, 8 if big else 4, start)
    return bytes(body)


def tiff_files(rng):
    rgb = scene(19, 21, rng)
    color = Image.fromarray(rgb)
    alpha = rng.integers(0, 256, (19, 21, 1)).astype(np.uint8)
    multiplied = (rgb.astype(int) * alpha // 255).astype(np.uint8)
    wide = rng.integers(0, 65536, (11, 14, 4))
    colors = rng.integers(0, 65536, (256, 3))
    small = rgb[:7, :9]
    lab = rng.integers(0, 256, (8, 9, 3)).astype(np.uint8)
    files = {
        "strips.tif": tiff(rgb, rows=4),
        "tiles.tif": tiff(rgb, tile=(16, 16)),
        "tiles_deflate.tif": tiff(rgb, tile=(16, 16), deflate=True, predictor=True),
        "planes.tif": tiff(rgb, planar=2, rows=5, deflate=True),
        "planes_tiles.tif": tiff(rgb, planar=2, tile=(16, 16), deflate=True),
        "big_endian16.tif": tiff(wide[..., :3], 16, order=">"),
        "rgb16.tif": tiff(wide[..., :3], 16, deflate=True, predictor=True),
        "rgba.tif": tiff(np.concatenate([rgb, alpha], -1), extra=[2], rows=8),
        "rgba_undeclared.tif": tiff(np.concatenate([rgb, alpha], -1)),
        "rgba_multiplied.tif": tiff(np.concatenate([multiplied, alpha], -1), extra=[1]),
        "rgba_multiplied16.tif": tiff(wide, 16, extra=[1]),
        "rgbxx.tif": tiff(np.concatenate([rgb, alpha, alpha], -1), extra=[0, 0]),
        "gray_alpha.tif": tiff(np.concatenate([rgb[..., :1], alpha], -1), photometric=1, extra=[2]),
        "gray_inverted.tif": tiff(rgb[..., :1], photometric=0),
        "gray16.tif": tiff(wide[..., :1], 16, photometric=1),
        "gray16_dark.tif": tiff(wide[..., :1] >> 8, 16, photometric=1, order=">", deflate=True),
        "gray32.tif": tiff(wide[..., :1] >> 8, 32, photometric=1, form=2),
        "gray_float.tif": tiff(rng.uniform(0, 255, (8, 9, 1)), 32, photometric=1, form=3),
        "cmyk.tif": tiff(wide.astype(np.uint8), photometric=5),
        "cmyk16.tif": tiff(wide, 16, photometric=5, deflate=True),
        "ycbcr.tif": tiff(lab, photometric=6, more=[(530, 3, [1, 1])]),
        "bits_reversed.tif": tiff(wide[..., :1] % 2, 1, photometric=1, fill=2),
        "palette8.tif": tiff(wide[..., :1] % 256, 8, photometric=3, palette=colors, rows=3),
        "palette_alpha.tif": tiff(wide[..., :2] % 256, 8, photometric=3, palette=colors, extra=[2]),
        "jpeg.tif": saved(color, "TIFF", compression="jpeg"),
        "jpeg_gray.tif": saved(color.convert("L"), "TIFF", compression="jpeg"),
        "lzw.tif": saved(color, "TIFF", compression="tiff_lzw"),
        "packbits.tif": saved(color, "TIFF", compression="packbits"),
        "lzma.tif": saved(color, "TIFF", compression="lzma"),
        "zstd.tif": saved(color, "TIFF", compression="zstd"),
        "group4.tif": saved(color.convert("1"), "TIFF", compression="group4"),
        "group3.tif": saved(color.convert("1"), "TIFF", compression="group3"),
        "two_pages.tif": saved(color, "TIFF", save_all=True, append_images=[Image.fromarray(small)]),
        "bigtiff.tif": tiff(rgb, big=True, rows=6),
        "oriented_6.tif": tiff(small, orientation=6),
        "oriented_4.tif": tiff(small, orientation=4, deflate=True),
        "oriented_big_8.tif": tiff(small, orientation=8, big=True),
        "xmp_3.tif": tiff(small, more=[(700, 1, xmp(3))]),
    }
    for bits in (1, 2, 4):
        low = rng.integers(0, 1 << bits, (11, 19, 1))
        files[f"gray{bits}.tif"] = tiff(low, bits, photometric=1)
        files[f"inverted{bits}.tif"] = tiff(low, bits, photometric=0)
        files[f"palette{bits}.tif"] = tiff(low, bits, photometric=3, palette=colors[: 1 << bits])
    return files


# ---------------------------------------------------------------- orientation in JPEG's XMP and PNG's texts


def jpeg_segment(payload):
    return b"\xff\xe1" + struct.pack(">H", 2 + len(payload)) + payload


def oriented_files(rng, chunk):
    """`chunk` writes one of PNG."""
    rgb = scene(7, 11, rng)
    plain = saved(Image.fromarray(rgb), "JPEG", quality=90, subsampling=0)
    pixels = saved(Image.fromarray(rgb), "PNG")
    head, rest = pixels[:33], pixels[33:]
    name = b"http://ns.adobe.com/xap/1.0/\0"

    def profile(orientation):
        data = b"Exif\0\0" + exif(orientation)
        return f"\nexif\n{len(data):8}\n".encode() + b"\n".join(
            data.hex()[i : i + 72].encode() for i in range(0, 2 * len(data), 72)
        )

    key = b"Raw profile type exif\0"
    adobe = b"XML:com.adobe.xmp\0"
    return {
        "xmp_6.jpg": plain[:2] + jpeg_segment(name + xmp(6)) + plain[2:],
        "xmp_element_5.jpg": plain[:2] + jpeg_segment(name + xmp(5, as_element=True)) + plain[2:],
        "xmp_and_exif.jpg": plain[:2] + jpeg_segment(name + xmp(6)) + jpeg_segment(b"Exif\0\0" + exif(3)) + plain[2:],
        "xmp_twice.jpg": plain[:2] + jpeg_segment(name + xmp(6)) + jpeg_segment(name + xmp(3)) + plain[2:],
        "profile_8.png": head + chunk(b"zTXt", key + b"\0" + zlib.compress(profile(8))) + rest,
        "profile_text_6.png": head + chunk(b"tEXt", key + profile(6)) + rest,
        "xmp_7.png": head + chunk(b"iTXt", adobe + b"\0\0\0\0" + xmp(7)) + rest,
        "xmp_deflated_6.png": head + chunk(b"iTXt", adobe + b"\1\0\0\0" + zlib.compress(xmp(6))) + rest,
        "xmp_behind_2.png": rest and head + rest[:-12] + chunk(b"iTXt", adobe + b"\0\0en\0\0" + xmp(2)) + rest[-12:],
        "exif_and_profile.png": head + chunk(b"eXIf", exif(3)) + chunk(b"tEXt", key + profile(6)) + rest,
    }


# ---------------------------------------------------------------- files that are refused


def refused_files(rng):
    """Name: (file, fault). Sizes beyond the limit are lies; the rest is valid, of kinds that are not read."""
    rgb = scene(8, 9, rng)
    small = saved(Image.fromarray(rgb).quantize(8), "GIF")
    wide = rng.integers(0, 256, (8, 9, 5))
    header = bmp(b"\0" * 64, 24, 20000, 20000)
    return {
        "lab.tif": (saved(Image.fromarray(rgb).convert("LAB"), "TIFF"), "unsupported"),
        "float_unit.tif": (tiff(rng.uniform(0, 1, (8, 9, 1)), 32, photometric=1, form=3), "unsupported"),
        "float_negative.tif": (tiff(rng.uniform(-5, 200, (8, 9, 1)), 32, photometric=1, form=3), "unsupported"),
        "gray32_large.tif": (tiff(wide[..., :1] * 1000, 32, photometric=1, form=2), "unsupported"),
        "five_channels.tif": (tiff(wide, 8, photometric=1), "unsupported"),
        "preview.tif": (tiff(rgb, more=[(254, 4, [1])]), "unsupported"),
        "raw.tif": (tiff(rgb, more=[(50706, 1, [1, 4, 0, 0])]), "unsupported"),
        "inks.tif": (tiff(wide[..., :4], 8, photometric=5, more=[(332, 3, [2])]), "unsupported"),
        "jpeg_inside.bmp": (bmp(rgb.tobytes(), 24, 9, 8, compression=4), "unsupported"),
        "huge.gif": (small[:6] + struct.pack("<HH", 60000, 60000) + small[10:], "tooLarge"),
        "huge.bmp": (header, "tooLarge"),
        "huge.webp": (webp_offset_frame(rgb, 4, 2, 16384, 16384), "tooLarge"),
        "huge.tif": (tiff(np.zeros((1, 20000, 1)), more=[(256, 4, [200000]), (257, 4, [200000])], photometric=1,
                          deflate=True), "tooLarge"),
        "many_scans.jpg": (many_scans(rng), "tooLarge"),
    }  # fmt: skip


def many_scans(rng):
    """A progressive JPEG whose last scan comes 200 times."""
    data = saved(Image.fromarray(scene(16, 16, rng)), "JPEG", progressive=True)
    last = data.rindex(b"\xff\xda")
    return data[:-2] + data[last:-2] * 200 + data[-2:]
