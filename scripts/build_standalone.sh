#!/usr/bin/env bash
# Builds what the Python wheel carries, libresnet.so and the program resnet, into a folder.
#
#     scripts/build_python_native.sh FOLDER
#
# Both must run in any process and on any machine: threads are our own (CK_PTHREADS) instead of OpenMP's, so that no second
# OpenMP runtime meets PyTorch's or scikit-learn's; matrix products are our own instead of OpenBLAS's; libjpeg-turbo,
# libpng, zlib and the Swift runtime are linked statically. So SwiftPM compiles the Swift code and CMake the C core, and
# the two are linked here.
set -euo pipefail
folder=$(realpath -m "$1")
cd "$(dirname "$0")/.."
release=.build/release
swift build -c release --static-swift-stdlib --product resnet
swift build -c release --static-swift-stdlib --target LibResNet
cmake -S . -B .build/core-python -DCMAKE_C_COMPILER="${CC:-$(dirname "$(readlink -f "$(command -v swift)")")/clang}" \
    -DCK_OPENMP=OFF -DCK_PTHREADS=ON -DCK_OPENBLAS=OFF >.build/core-python.log
cmake --build .build/core-python -j >>.build/core-python.log
core=.build/core-python/libckernels.a

# objects TARGET...: SwiftPM's object files of the targets.
objects() {
    for target in "$@"; do find "$release/$target.build" -name '*.o'; done
}
rooms=$(sed -n 's/^@_exported import //p' Sources/ResNetSwift/ResNetSwift/ResNetSwift.swift)
mapfile -t shared < <(objects ResNetSwift $rooms CImageCodecs)
mapfile -t interface < <(objects LibResNet CResNetHeader)
mapfile -t tool < <(objects resnet ArgumentParser ArgumentParserToolInfo)
# Archives by their paths: swiftc does not keep the order of -l and -Bstatic.
mapfile -t archives < <(for name in turbojpeg png z; do gcc -print-file-name="lib$name.a"; done)
libraries=("$core" "${archives[@]}" -lm -Xlinker --as-needed -Xlinker --gc-sections
    -L .build/core-python/static -Xclang-linker -static-libgcc)
# A folder that has libstdc++ as an archive only: Swift asks for -lstdc++ by itself.
mkdir -p "$folder" .build/core-python/static
ln -sf "$(gcc -print-file-name=libstdc++.a)" .build/core-python/static/
swiftc -emit-library -static-stdlib -o "$folder/libresnet.so" "${interface[@]}" "${shared[@]}" "${libraries[@]}" \
    -Xlinker --version-script="$PWD/Sources/CResNetHeader/resnet.map" -Xlinker -soname=libresnet.so
swiftc -emit-executable -static-stdlib -o "$folder/resnet" "${tool[@]}" "${shared[@]}" "${libraries[@]}"
strip --strip-unneeded "$folder/libresnet.so" "$folder/resnet"
