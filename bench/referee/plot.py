"""The plots of a run: images per second per model and batch, a picture a thread count; start and memory in another."""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt  # noqa: E402
from matplotlib.patches import Patch  # noqa: E402

from referee.ours import Ours  # noqa: E402
from referee.report import columns  # noqa: E402

OURS = "#d1350f"
# Relatives share a hue.
COLORS = {
    Ours.key: OURS,
    "pytorch": "#8c6bb1",
    "compile": "#c1a6d6",
    "onnxruntime": "#4d4d4d",
    "openvino": "#1f78b4",
    "openvino-streams": "#92c5de",
    "ncnn": "#2f8f4e",
    "ncnn-images": "#9fd3a0",
    "mnn": "#c9a227",
    "eager": "#8c6bb1",
    "eager-channels-last": "#c1a6d6",
    "compiled": "#1f78b4",
    "compiled-channels-last": "#92c5de",
}


def subtitle(result):
    m, s = result["machine"], result["settings"]
    isa = (
        "AVX2" if s["isa"] == "avx2" else ("AVX-512" if "avx512f" in m["isa"] else "AVX2" if "avx2" in m["isa"] else "")
    )
    return f"{m['cpu']}, {m['cores']} cores, {isa}, fp32, {m['date'].split()[0]}; medians of interleaved turns"


def draw_model(axes, cells, keys, model):
    cells = sorted((cell for cell in cells if cell["model"] == model), key=lambda cell: cell["batch"])
    width = 0.86 / len(keys)
    for group, cell in enumerate(cells):
        present = [key for key, _ in keys if key in cell["peers"]]
        left = group - width * len(present) / 2
        for place, key in enumerate(present):
            x, height = left + width * (place + 0.5), cell["peers"][key]["images_per_s"]
            axes.bar(x, height, width * 0.92, color=COLORS[key], zorder=3)
            if key == Ours.key and "ratio" in cell:
                axes.annotate(
                    f"{cell['ratio']:.2f}x",
                    (x, height),
                    (0, 3),
                    textcoords="offset points",
                    ha="center",
                    va="bottom",
                    fontsize=11,
                    fontweight="bold",
                    color=OURS,
                )
    axes.set_xticks(range(len(cells)), [f"batch {cell['batch']}" for cell in cells])
    axes.set_title(model, loc="left", fontweight="bold", fontsize=12)
    axes.set_ylabel("images / s")
    axes.margins(y=0.14)
    tidy(axes)


def tidy(axes):
    axes.grid(axis="y", color="#dddddd", linewidth=0.7, zorder=0)
    axes.tick_params(length=0)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)


def draw_threads(result, threads, path, what):
    cells = [cell for cell in result["cells"] if cell["threads"] == threads]
    keys = columns(cells)
    models = list(dict.fromkeys(cell["model"] for cell in cells))
    wide = 2 if len(models) > 1 else 1
    tall = -(-len(models) // wide)
    figure, grid = plt.subplots(tall, wide, figsize=(13.6 if wide > 1 else 10, 3.1 * tall + 1.6), squeeze=False)
    panels = grid.ravel()
    for axes, model in zip(panels, models):
        draw_model(axes, cells, keys, model)
    handles = [Patch(color=COLORS[key]) for key, _ in keys]
    labels = [title for _, title in keys]
    for axes in panels[len(models) :]:
        axes.axis("off")
    top = 1 - 0.75 / figure.get_figheight()
    figure.suptitle(
        f"{what} on {threads} thread{'s' if threads > 1 else ''}",
        x=0.02,
        y=1 - 0.12 / figure.get_figheight(),
        va="top",
        ha="left",
        fontsize=15,
        fontweight="bold",
    )
    labeled = any("ratio" in cell for cell in cells)
    figure.text(
        0.02,
        1 - 0.68 / figure.get_figheight(),
        subtitle(result) + ("; label: ours / fastest peer" if labeled else ""),
        fontsize=9.5,
        color="#555555",
        va="bottom",
    )
    if len(models) < len(panels):
        panels[-1].legend(handles, labels, loc="center", frameon=False, fontsize=11)
        figure.tight_layout(rect=(0, 0, 1, top), h_pad=1.6, w_pad=1.6)
    else:
        figure.legend(handles, labels, loc="lower center", ncols=5, frameon=False, fontsize=10)
        figure.tight_layout(rect=(0, 0.62 / figure.get_figheight(), 1, top), h_pad=1.6, w_pad=1.6)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_start(result, path):
    """Two panels of horizontal bars: seconds to the first result, and peak RSS per batch size."""
    groups = result["starts"]
    model = groups[0]["model"]
    groups = [group for group in groups if group["model"] == model]
    first = next(group for group in groups if group["batch"] == 1)
    keys = columns(groups)[::-1]
    figure, (left, right) = plt.subplots(1, 2, figsize=(12.5, 1.6 + 0.42 * len(keys)))

    def bars(axes, values, offset, height, colors, form, alpha=1.0):
        at = [i + offset for i in range(len(values))]
        axes.barh(at, values, height, color=colors, alpha=alpha, zorder=3)
        for y, value in zip(at, values):
            if value:
                axes.annotate(
                    form.format(value), (value, y), (4, 0), textcoords="offset points", va="center", fontsize=9
                )

    colors = [COLORS[key] for key, _ in keys]
    bars(left, [first["peers"].get(key, {}).get("median_s", 0) for key, _ in keys], 0, 0.7, colors, "{:.2f}")
    left.set_title(
        f"{model}, batch 1: seconds from process start to result", loc="left", fontsize=11, fontweight="bold"
    )
    ends = [groups[0], groups[-1]] if len(groups) > 1 else [groups[0]]
    for place, group in enumerate(ends):
        offset = 0.2 - 0.4 * place if len(ends) > 1 else 0
        values = [group["peers"].get(key, {}).get("peak_rss_mib", 0) for key, _ in keys]
        bars(
            right, values, offset, 0.7 / len(ends), colors, "{:.0f}" + f" (batch {group['batch']})", 1.0 - 0.45 * place
        )
    right.set_title(f"{model}: peak resident memory, MiB", loc="left", fontsize=11, fontweight="bold")
    for axes in (left, right):
        axes.set_yticks(range(len(keys)), [title for _, title in keys])
        axes.margins(x=0.18)
        tidy(axes)
        axes.grid(False)
        axes.xaxis.set_visible(False)
        axes.spines["bottom"].set_visible(False)
    figure.text(
        0.01, 0.01, f"fresh processes, {first['threads']} threads; {subtitle(result)}", fontsize=8.5, color="#555555"
    )
    figure.tight_layout(rect=(0, 0.05, 1, 1), w_pad=2)
    figure.savefig(path, dpi=130)
    plt.close(figure)


def draw_all(result, out, what):
    """OUT.png for the most threads, OUT-Nthreads.png for the others."""
    paths = []
    counts = sorted({cell["threads"] for cell in result["cells"]}, reverse=True)
    for place, threads in enumerate(counts):
        paths.append(Path(f"{out}.png" if place == 0 else f"{out}-{threads}thread{'s' if threads > 1 else ''}.png"))
        draw_threads(result, threads, paths[-1], what)
    return paths


def draw(result, out):
    paths = draw_all(result, out, "ResNet inference")
    if any(group["batch"] == 1 for group in result["starts"]):
        paths.append(Path(f"{out}-start.png"))
        draw_start(result, paths[-1])
    return paths


def draw_training(result, out):
    return draw_all(result, out, "ResNet training steps")
