"""Runs 10,000 predictions over changing picture sizes, batch sizes, thread counts and kinds of input, and watches the
process's memory: after the first thousand it may not grow.

    LIBRESNET=.build/prefix/lib/libresnet.so.0 python3 scripts/soak.py [weights] [--predictions 10000] [--curve docs/soak.svg]
"""

import argparse
import pathlib
import sys

import numpy as np

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "examples" / "python"))
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


def curve(samples, path):
    width, height, left, bottom = 760, 280, 60, 40
    most = max(rss for _, rss in samples) * 1.2
    x = lambda count: left + (width - left - 20) * count / samples[-1][0]
    y = lambda rss: height - bottom - (height - bottom - 20) * rss / most
    points = " ".join(f"{x(count):.1f},{y(rss):.1f}" for count, rss in samples[:: max(1, len(samples) // 400)])
    grid = "".join(
        f'<line x1="{left}" x2="{width - 20}" y1="{y(v):.1f}" y2="{y(v):.1f}" stroke="#ddd"/>'
        f'<text x="{left - 8}" y="{y(v) + 4:.1f}" text-anchor="end">{v:.0f}</text>'
        for v in np.linspace(0, most / 1.2, 5))
    pathlib.Path(path).write_text(
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" font-family="sans-serif" '
        f'font-size="12"><rect width="100%" height="100%" fill="white"/>{grid}'
        f'<polyline points="{points}" fill="none" stroke="#1f77b4" stroke-width="1.5"/>'
        f'<text x="{left}" y="14">resident memory, MiB</text>'
        f'<text x="{width - 20}" y="{height - 12}" text-anchor="end">{samples[-1][0]} predictions, sizes 24 to 96, '
        f"1 to 8 threads</text></svg>\n")


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
        curve(samples, options.curve)
    print(f"{samples[-1][0]} predictions: {samples[0][1]:.1f} MiB at first, at most {early:.1f} in the second tenth, "
          f"{late:.1f} in the last")
    # Flat: malloc's arenas may move by a little, a leak of 1 KiB a prediction would be 9 MiB.
    if late > early + 4:
        raise SystemExit("memory grows")


if __name__ == "__main__":
    main()
