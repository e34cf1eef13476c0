#!/usr/bin/env bash
# Builds libresnet.so and the program resnet so that they run in any process and on any machine, into a folder: what the
# Python wheel and the Debian package carry.
#
#     scripts/build_standalone.sh FOLDER               the library finds those of pictures beside it: copies of them
#     scripts/build_standalone.sh FOLDER SONAME        the system has the libraries of pictures
#     scripts/build_standalone.sh --static FOLDER      the program alone, with the C library inside
#
# Threads are our own (CK_PTHREADS) instead of OpenMP's, so that no second OpenMP runtime meets PyTorch's or scikit-learn's;
# matrix products are our own instead of OpenBLAS's; the Swift runtime is inside. The program also has libjpeg-turbo, libpng
# and zlib inside. The library cannot: Debian's archives of them are for programs only. So SwiftPM compiles the Swift code and
# CMake the C core, and the two are linked here.
set -euo pipefail
is_static=
[ "$1" != --static ] || { is_static=1 && shift; }
folder=$(realpath -m "$1")
soname=${2-}
cd "$(dirname "$0")/.."
release=.build/release
work=.build/core-standalone
swift build -c release --static-swift-stdlib --product resnet
swift build -c release --static-swift-stdlib --target LibResNet
cmake -S . -B $work -DCMAKE_C_COMPILER="${CC:-$(dirname "$(readlink -f "$(command -v swift)")")/clang}" \
    -DCK_OPENMP=OFF -DCK_PTHREADS=ON -DCK_OPENBLAS=OFF >$work.log
cmake --build $work -j >>$work.log
core=$work/libckernels.a

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
"${CC:-cc}" -O2 -Wall -Wextra -fPIC -c scripts/arc4random.c -o $work/arc4random.o
libraries=($work/arc4random.o "$core" -lm -Xlinker --gc-sections)
entry=(-Xlinker --defsym=main=resnet_main) # what SwiftPM calls the program's main, so that tests may link it
mkdir -p "$folder" $work/static
if [ -n "$is_static" ]; then
    "${CC:-cc}" -O2 -Wall -Wextra -c scripts/static_only.c -o $work/static_only.o
    swiftc -emit-executable -static-executable -o "$folder/resnet" "${entry[@]}" $work/static_only.o "${tool[@]}" "${shared[@]}" \
        "${archives[@]}" "${libraries[@]}"
    strip --strip-unneeded "$folder/resnet"
    exit
fi
# A folder that has libstdc++ as an archive only: Swift asks for -lstdc++ by itself.
ln -sf "$(gcc -print-file-name=libstdc++.a)" $work/static/
libraries+=(-Xlinker --as-needed -L $work/static -Xclang-linker -static-libgcc)
beside=()
[ -n "$soname" ] || beside=(-Xlinker -rpath -Xlinker "\$ORIGIN")
swiftc -emit-library -static-stdlib -o "$folder/libresnet.so" "${interface[@]}" "${shared[@]}" "${libraries[@]}" \
    -lturbojpeg -lpng -lz "${beside[@]}" -Xlinker --version-script="$PWD/Sources/CResNetHeader/resnet.map" \
    -Xlinker -soname="${soname:-libresnet.so}"
swiftc -emit-executable -static-stdlib -o "$folder/resnet" "${entry[@]}" "${tool[@]}" "${shared[@]}" "${archives[@]}" \
    "${libraries[@]}"
strip --strip-unneeded "$folder/libresnet.so" "$folder/resnet"
[ -z "$soname" ] || exit 0
objdump -p "$folder/libresnet.so" | sed -n 's/^ *NEEDED *\(lib\(turbojpeg\|png\|z\).*\.so\..*\)/\1/p' | while read -r name; do
    install -m 755 "$(realpath "$(gcc -print-file-name="$name")")" "$folder/$name"
done
