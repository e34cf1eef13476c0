"""Opens report.html in a headless Chromium, as a desktop, a phone, a dark page and in print, and looks for what goes wrong: messages
on the console, anything loaded from elsewhere, a page wider than the phone.

    python3 scripts/check_report_in_browser.py run/report.html --out screenshots [--browser chromium] [--picture docs/report.png]

Writes desktop.png, phone.png, dark.png and print.pdf, to be looked at; with --picture (needs Pillow) the desktop's and the phone's
view in one small file. Exits with 1 if something is wrong, with 0 and a message if
there is no Chromium. The package is chromium in Debian.
"""

import argparse
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

# Added to a copy of the page: what it says goes to the console, in which messages are looked for.
PROBE = """<script>addEventListener("load", () => {
  const wide = document.documentElement.scrollWidth - document.documentElement.clientWidth;
  if (wide > 0) console.error("the page is " + wide + " pixels too wide");
  for (const image of document.images) if (!image.complete || image.naturalWidth === 0) console.error("an image is broken");
  for (const entry of performance.getEntriesByType("resource"))
    if (!entry.name.startsWith("data:")) console.error("loaded from elsewhere: " + entry.name);
  console.info("height " + document.documentElement.scrollHeight);
});</script>"""


def console(browser, folder, page, *options):
    """What a page says on the console."""
    result = subprocess.run(
        [browser, "--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--enable-logging=stderr",
         f"--user-data-dir={folder}/profile", *options, page.resolve().as_uri()],
        capture_output=True, text=True, timeout=300)
    return re.findall(r'CONSOLE[:(]\d+\)?\] "(.*?)", source', result.stderr, re.DOTALL)


def look(browser, folder, text, name, width, out, *options):
    """Messages of the page at this width; its picture goes to `out`."""
    page = folder / f"{name}.html"
    page.write_text(text.replace("</body>", PROBE + "</body>"))
    shown = page
    if width < 500:  # a window of Chromium cannot be narrower than this, a frame can
        shown = folder / f"{name}-frame.html"
        frame = f'<iframe src="{page.name}" style="border:0;width:{width}px;height:100vh"></iframe>'
        shown.write_text(f'<!DOCTYPE html><link rel="icon" href="data:,"><body style="margin:0">{frame}')
    options = (*options, "--allow-file-access-from-files")
    said = console(browser, folder, shown, f"--window-size={max(width, 500)},900", "--dump-dom", *options)
    heights = [int(line.split()[1]) for line in said if line.startswith("height ")]
    if not heights:
        return ["the page did not load"]
    picture = (out / f"{name}.png").resolve()
    console(browser, folder, shown, f"--window-size={max(width, 500)},{heights[-1]}", f"--screenshot={picture}", *options)
    return [line for line in said if not line.startswith("height ")]


def both_views(folder, target):
    from PIL import Image

    desktop, phone = (Image.open(folder / f"{name}.png").convert("RGB") for name in ("desktop", "phone"))
    phone = phone.crop((0, 0, 390, phone.height))
    height = 1500
    desktop = desktop.resize((height * desktop.width // desktop.height, height), Image.LANCZOS)
    column = phone.crop((0, phone.height - 2 * height, 390, phone.height - height // 2)).resize((390 * 2 // 3, height), Image.LANCZOS)
    both = Image.new("RGB", (desktop.width + 20 + column.width, height), "#c8c8c8")
    both.paste(desktop, (0, 0))
    both.paste(column, (desktop.width + 20, 0))
    both.quantize(128).save(target, optimize=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("report", type=pathlib.Path)
    parser.add_argument("--out", type=pathlib.Path, required=True, help="a folder for the pictures")
    parser.add_argument("--browser", default="chromium")
    parser.add_argument("--picture", type=pathlib.Path, help="a PNG file for the documentation")
    arguments = parser.parse_args()
    browser = shutil.which(arguments.browser)
    if browser is None:
        print(f"{arguments.browser} is not installed: report.html is not looked at")
        return
    arguments.out.mkdir(parents=True, exist_ok=True)
    text = arguments.report.read_text()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        # A page that is wrong must be found to be.
        wide = '<!DOCTYPE html><body><p style="width:3000px">wide</p><img src="gone.png"></body>'
        if len(look(browser, folder, wide, "wrong", 390, folder)) < 2:
            sys.exit("a page with mistakes passes: the check is broken")
        dark = "--blink-settings=preferredColorScheme=0"
        views = {"desktop": (1100,), "phone": (390,), "dark": (1100, dark)}
        faults = []
        for view, (width, *options) in views.items():
            faults += [f"{view}: {line}" for line in look(browser, folder, text, view, width, arguments.out, *options)]
        target = (arguments.out / "print.pdf").resolve()
        faults += [f"print: {line}" for line in console(
            browser, folder, arguments.report, "--no-pdf-header-footer", f"--print-to-pdf={target}")]
        if not target.exists():
            faults.append("print: no PDF was made")
    if arguments.picture and not faults:
        both_views(arguments.out, arguments.picture)
    print(*faults or [f"{arguments.report}: nothing wrong as a desktop, a phone, a dark page and in print"], sep="\n")
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
