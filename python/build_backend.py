"""Builds the wheel (PEP 517): the package's files, the native library, the program, and what they need.

The platform tag says the oldest glibc that they run with, measured from the versions of the symbols that they ask for.
`RESNETSWIFT_NATIVE=FOLDER` takes what is built already.
"""

import base64
import hashlib
import io
import os
import pathlib
import platform
import re
import subprocess
import tarfile
import zipfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PACKAGE = ROOT / "python" / "resnetswift"
# What a Linux machine has; everything else must be inside.
ALLOWED = re.compile(r"(libc|libm|libdl|librt|libpthread|ld-linux-[\w-]+)\.so\.\d+")
# Their licenses ask to be named where the binary goes.
BUNDLED = ("libturbojpeg0", "libpng16-16", "zlib1g")


def get_requires_for_build_wheel(config_settings=None):
    return []


get_requires_for_build_sdist = get_requires_for_build_wheel


def build_wheel(wheel_directory, config_settings=None, metadata_directory=None):
    native = native_folder()
    version, tag = package_version(), f"py3-none-{platform_tag(native)}"
    info = f"resnetswift-{version}.dist-info"
    files = [(f"resnetswift/{path.relative_to(PACKAGE)}", path.read_bytes(), 0o644) for path in package_files()]
    files += [(f"resnetswift/native/{path.name}", path.read_bytes(), 0o755) for path in sorted(native.iterdir())]
    files += [(f"{info}/licenses/{name}", text, 0o644) for name, text in licenses()]
    files += [
        (f"{info}/METADATA", metadata(version).encode(), 0o644),
        (f"{info}/WHEEL", f"Wheel-Version: 1.0\nGenerator: resnetswift\nRoot-Is-Purelib: false\nTag: {tag}\n".encode(), 0o644),
        (f"{info}/entry_points.txt", entry_points().encode(), 0o644),
    ]
    name = f"resnetswift-{version}-{tag}.whl"
    write_wheel(pathlib.Path(wheel_directory) / name, files, f"{info}/RECORD")
    return name


def build_sdist(sdist_directory, config_settings=None):
    version = package_version()
    base = f"resnetswift-{version}"
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True).stdout
    with tarfile.open(pathlib.Path(sdist_directory) / f"{base}.tar.gz", "w:gz", format=tarfile.PAX_FORMAT) as archive:
        for name in filter(None, listed.decode().split("\0")):
            archive.add(ROOT / name, f"{base}/{name}", recursive=False)
        text = metadata(version).encode()
        entry = tarfile.TarInfo(f"{base}/PKG-INFO")
        entry.size = len(text)
        archive.addfile(entry, io.BytesIO(text))
    return f"{base}.tar.gz"


# ---- what goes in


def native_folder():
    given = os.environ.get("RESNETSWIFT_NATIVE")
    if given:
        return pathlib.Path(given)
    folder = ROOT / ".build" / "python-native"
    subprocess.run([ROOT / "scripts" / "build_standalone.sh", folder], check=True)
    return folder


def package_files():
    return sorted(p for p in PACKAGE.rglob("*") if p.suffix in (".py", ".typed") and p.is_file())


def package_version():
    header = (ROOT / "Sources/CKernels/include/ckernels.h").read_text()
    return re.search(r'#define CK_VERSION_STRING "(.*)"', header).group(1)


def platform_tag(native):
    """manylinux_X_Y_<machine>: glibc X.Y has every symbol that the library and the program need."""
    needed = [(2, 17)]
    for path in native.iterdir():
        dynamic = subprocess.run(["objdump", "-p", path], check=True, capture_output=True, text=True).stdout
        for library in re.findall(r"NEEDED\s+(\S+)", dynamic):
            if not ALLOWED.fullmatch(library) and not (native / library).exists():
                raise RuntimeError(f"{path.name}: expected to need what every Linux has, found {library}")
        needed += [tuple(map(int, v)) for v in re.findall(r"GLIBC_(\d+)\.(\d+)", dynamic)]
    return "manylinux_%d_%d_%s" % (*max(needed), platform.machine())


def licenses():
    yield "LICENSE", (ROOT / "LICENSE").read_bytes()
    yield "NOTICE", (ROOT / "NOTICE").read_bytes()
    for name in BUNDLED:
        path = pathlib.Path("/usr/share/doc") / name / "copyright"
        if path.exists():
            yield f"{name}.txt", path.read_bytes()


def project():
    import tomllib  # of Python 3.11; the package itself runs with earlier ones

    return tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def metadata(version):
    table = project()
    lines = ["Metadata-Version: 2.4", f"Name: {table['name']}", f"Version: {version}", f"Summary: {table['description']}",
             f"Keywords: {','.join(table['keywords'])}", f"License-Expression: {table['license']}",
             f"Requires-Python: {table['requires-python']}"]
    lines += [f"Classifier: {c}" for c in table["classifiers"]]
    lines += [f"Requires-Dist: {d}" for d in table["dependencies"]]
    for extra, needed in table["optional-dependencies"].items():
        lines += [f"Provides-Extra: {extra}"] + [f'Requires-Dist: {d}; extra == "{extra}"' for d in needed]
    lines += ["License-File: LICENSE", "License-File: NOTICE"]
    readme = (ROOT / "docs" / "python.md").read_text()
    return "\n".join(lines) + "\nDescription-Content-Type: text/markdown\n\n" + readme


def entry_points():
    return "[console_scripts]\n" + "".join(f"{name} = {target}\n" for name, target in project()["scripts"].items())


def write_wheel(path, files, record_name):
    record = []
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:

        def add(name, content, mode):
            entry = zipfile.ZipInfo(name, (2020, 1, 1, 0, 0, 0))  # the same files make the same wheel
            entry.compress_type = zipfile.ZIP_DEFLATED
            entry.external_attr = (0o100000 | mode) << 16
            archive.writestr(entry, content)

        for name, content, mode in files:
            add(name, content, mode)
            digest = base64.urlsafe_b64encode(hashlib.sha256(content).digest()).rstrip(b"=").decode()
            record.append(f"{name},sha256={digest},{len(content)}\n")
        add(record_name, ("".join(record) + f"{record_name},,\n").encode(), 0o644)
