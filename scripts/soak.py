"""Runs 10,000 predictions over changing picture sizes, batch sizes, thread counts and kinds of input, and watches the
process's memory: after the first thousand it may not grow.

    LIBRESNET=.build/prefix/lib/libresnet.so.0 python3 scripts/soak.py [weights] [--predictions 10000] [--curve docs/soak.svg]
"""

import argparse
import math
import pathlib
import sys

try:
    import numpy as np
except ImportError:
    sys.exit("the soak test needs NumPy: pip install numpy, or apt install python3-numpy")

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "Examples" / "Python"))
from resnet import Network  # noqa: E402

PER_NETWORK = 10  # predictions before the network is closed and another opened


def resident():
    """MiB of memory that the process holds."""
    for line in open("/proc/self/status"):
        if line.startswith("VmRSS"):
            return int(line.split()[1]) / 1024
    raise OSError("no VmRSS")


def soak(weights, predictions):
    random = np.random.default_rng(1)
    samples = []
    for count in range(0, predictions, PER_NETWORK):
        size = int(random.integers(24, 97)), int(random.integers(24, 97))
        settings = {"size": size, "threads": int(random.integers(1, 9)), "batch": int(random.integers(1, 9)),
                    "bytes": bool(random.integers(2))}
        with Network(weights, **settings) as network:
            for _ in range(PER_NETWORK):
                shape = (int(random.integers(1, 12)), *network.shape)
                pictures = random.integers(0, 256, shape, np.uint8).astype(network.dtype)
                logits = network.predict(pictures)
                if not np.isfinite(logits).all():
                    raise SystemExit(f"logits are not finite: {settings}, {shape}")
        samples.append((count + PER_NETWORK, resident()))
    return samples


def curve(samples, early, late, path):
    """An SVG of memory over predictions; early and late are the largest values of the second and of the last tenth."""
    width, height, left, right, top, bottom = 800, 320, 64, 24, 52, 56
    count, most = samples[-1][0], 10 * math.ceil(max(rss for _, rss in samples) / 10 + 0.5)
    x = lambda at: left + (width - left - right) * at / count
    y = lambda rss: height - bottom - (height - top - bottom) * rss / most

    def text(at_x, at_y, words, anchor="start", fill="#555", size=13):
        return f'<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}" fill="{fill}" font-size="{size}">{words}</text>'

    def line(x1, y1, x2, y2, stroke):
        return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" {stroke}/>'

    parts = [text(left, 24, f"Resident memory over {count:,} predictions with {count // PER_NETWORK:,} networks", size=16,
                  fill="#111")]
    for rss in range(0, most + 1, 10):
        parts += [line(left, y(rss), width - right, y(rss), 'stroke="#ddd"'), text(left - 8, y(rss) + 4, rss, "end")]
    for tenth in range(0, 11, 2):
        parts.append(text(x(count * tenth / 10), height - bottom + 18, f"{count * tenth // 10:,}", "middle"))
    parts += [text(left, 44, "MiB"), text(width - right, height - 12, "predictions; pictures of 24 to 96 pixels a side, "
                                           "1 to 8 threads, batches of 1 to 8", "end")]
    points = " ".join(f"{x(at):.1f},{y(rss):.1f}" for at, rss in samples[:: max(1, len(samples) // 500)])
    parts.append(f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.5" stroke-linejoin="round"/>')
    for name, rss, begin, end in [("second tenth", early, 0.1, 0.2), ("last tenth", late, 0.9, 1)]:
        parts += [line(x(count * begin), y(rss), x(count * end), y(rss), 'stroke="#d62728" stroke-width="2"'),
                  text(x(count * (end if end == 1 else (begin + end) / 2)), y(rss) + 22, f"most in the {name}: {rss:.1f}",
                       "middle" if end < 1 else "end", "#d62728")]
    pathlib.Path(path).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" width="{width}" height="{height}" '
        f'font-family="Helvetica, Arial, sans-serif">\n<rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(parts) + "\n</svg>\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("weights", nargs="?", default=str(ROOT / "demo" / "digits.safetensors"))
    parser.add_argument("--predictions", type=int, default=10_000)
    parser.add_argument("--curve")
    options = parser.parse_args()
    samples = soak(options.weights, options.predictions)
    tenth = max(1, len(samples) // 10)
    early = max(rss for _, rss in samples[tenth: 2 * tenth])
    late = max(rss for _, rss in samples[-tenth:])
    if options.curve:
        curve(samples, early, late, options.curve)
    print(f"{samples[-1][0]} predictions: {samples[0][1]:.1f} MiB at first, at most {early:.1f} in the second tenth, "
          f"{late:.1f} in the last")
    # Flat: malloc's arenas may move by a little, a leak of 1 KiB a prediction would be 9 MiB.
    if late > early + 4:
        raise SystemExit("memory grows")


if __name__ == "__main__":
    main()
