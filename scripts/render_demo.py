"""Draws docs/demo.png: what `make demo` prints, as a terminal shows it.

    make build && python3 scripts/render_demo.py        (Pillow; the font comes with matplotlib)

Runs the demo and draws its real output; nothing is made up, but the middle of long lists is left out ("...").
"""

import itertools
import pathlib
import subprocess

import matplotlib
from PIL import Image, ImageDraw, ImageFont

ROOT = pathlib.Path(__file__).resolve().parent.parent
FONT = pathlib.Path(matplotlib.get_data_path()) / "fonts" / "ttf"
SIZE = 22
MARGIN = 28
PAPER, INK, FAINT, PROMPT, BAR = "#11151c", "#d8dee9", "#7b8698", "#8fbc6b", "#5aa9e6"


def color(line, character):
    if line.startswith(("$", "    --")):
        return PROMPT
    if line.startswith(("resnet:", "picture ", "class ", "actual ", "...")):
        return FAINT
    return BAR if "\u2580" <= character <= "\u259f" else INK


def shortened(lines):
    """Of the epochs and of the pictures the first three and the last two."""
    result = []
    for kind, group in itertools.groupby(lines, lambda line: line.startswith(("epoch ", "demo/digits/"))):
        group = list(group)
        result += [*group[:3], "...", *group[-2:]] if kind and len(group) > 6 else group
    return result


def main():
    done = subprocess.run(
        [ROOT / "demo" / "run.sh", ROOT / ".build" / "release" / "resnet"], stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True, check=True)
    lines = ["$ make demo", *shortened(done.stdout.rstrip().splitlines())]
    regular = ImageFont.truetype(FONT / "DejaVuSansMono.ttf", SIZE)
    cell = regular.getlength("M")
    height = int(SIZE * 1.3)
    columns = max(map(len, lines))
    image = Image.new("RGB", (int(columns * cell) + 2 * MARGIN, len(lines) * height + 2 * MARGIN), PAPER)
    draw = ImageDraw.Draw(image)
    for row, line in enumerate(lines):
        for column, character in enumerate(line):
            x, y = MARGIN + column * cell, MARGIN + row * height
            eighths = "▏▎▍▌▋▊▉█".find(character) + 1
            if eighths:  # the font's blocks leave gaps between cells
                box = [x, y + 4, x + cell * eighths / 8, y + height - 5]
                draw.rectangle(box, fill=color(line, character))
            elif character != " ":
                draw.text((x, y), character, font=regular, fill=color(line, character))
    target = ROOT / "docs" / "demo.png"
    target.parent.mkdir(exist_ok=True)
    image.quantize(24, dither=Image.Dither.NONE).save(target, optimize=True)
    print(target, image.size, target.stat().st_size, "bytes")


if __name__ == "__main__":
    main()
