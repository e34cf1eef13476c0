#!/usr/bin/env bash
# Builds libresnet.so, the Swift runtime in it, and copies it with its header and pkg-config file to a prefix.
#
#     scripts/build_libresnet.sh PREFIX
set -euo pipefail
prefix=$(realpath -m "$1")
cd "$(dirname "$0")/.."
version=$(sed -n 's/#define CK_VERSION_STRING "\(.*\)"/\1/p' Sources/CKernels/include/ckernels.h)
major=${version%%.*}
swift build -c release --static-swift-stdlib --target LibResNet
# SwiftPM links the Swift runtime statically into programs only, so the library is linked here. Of its symbols only resnet_*
# are seen from outside: a host may have another Swift, another OpenMP, kernels of its own.
objects=()
rooms=$(sed -n 's/^@_exported import //p' Sources/ResNetSwift/ResNetSwift/ResNetSwift.swift)
for target in LibResNet CResNetHeader ResNetSwift $rooms CKernels CImageCodecs; do
    while IFS= read -r object; do objects+=("$object"); done < <(find ".build/release/$target.build" -name '*.o')
done
swiftc -emit-library -static-stdlib -o .build/release/libresnet.so "${objects[@]}" \
    -lomp5 -lopenblas -lturbojpeg -lpng -lz -lm -Xlinker -soname=libresnet.so."$major" \
    -Xlinker --version-script="$PWD/Sources/CResNetHeader/resnet.map" -Xlinker --gc-sections
lib=$prefix/lib
install -D -m 755 .build/release/libresnet.so "$lib/libresnet.so.$version"
strip --strip-unneeded "$lib/libresnet.so.$version"
ln -sf "libresnet.so.$version" "$lib/libresnet.so.$major"
ln -sf "libresnet.so.$major" "$lib/libresnet.so"
install -D -m 644 Sources/CResNetHeader/include/resnet.h "$prefix/include/resnet.h"
mkdir -p "$lib/pkgconfig"
cat >"$lib/pkgconfig/resnet.pc" <<PC
prefix=\${pcfiledir}/../..

Name: resnet
Description: ResNets on CPUs: weights in, logits and embeddings out
Version: $version
Libs: -L\${prefix}/lib -lresnet
Cflags: -I\${prefix}/include
PC
