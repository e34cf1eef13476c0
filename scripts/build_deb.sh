#!/usr/bin/env bash
# Builds a Debian package of the program resnet and of libresnet: its manual page, shell completions, the header for C.
#
#     scripts/build_deb.sh FOLDER
#
# The same file serves Debian and Ubuntu from the C library on whose version the symbols ask for.
set -euo pipefail
folder=$(realpath -m "$1")
cd "$(dirname "$0")/.."
version=$(sed -n 's/#define CK_VERSION_STRING "\(.*\)"/\1/p' Sources/CKernels/include/ckernels.h)
soname=libresnet.so.${version%%.*}
architecture=$(dpkg --print-architecture)
native=.build/deb-native
scripts/build_standalone.sh $native "$soname"

root=$(mktemp -d)
trap 'rm -rf "$root"' EXIT
chmod 755 "$root"
lib=usr/lib/$(gcc -print-multiarch)
share=$root/usr/share
doc=$share/doc/resnetswift
install -D -m 755 $native/resnet "$root/usr/bin/resnet"
install -D -m 644 $native/libresnet.so "$root/$lib/libresnet.so.$version"
ln -s "libresnet.so.$version" "$root/$lib/$soname"
ln -s "$soname" "$root/$lib/libresnet.so"
install -D -m 644 Sources/CResNetHeader/include/resnet.h "$root/usr/include/resnet.h"
printf '%s\n' 'Name: resnet' 'Description: ResNets on CPUs: weights in, logits and embeddings out' "Version: $version" \
    'Libs: -lresnet' 'Cflags:' | install -D -m 644 /dev/stdin "$root/$lib/pkgconfig/resnet.pc"
scripts/install_manual.sh $native/resnet "$share" zsh/vendor-completions
gzip -9n "$share/man/man1/resnet.1"
gzip -9nc CHANGELOG.md | install -D -m 644 /dev/stdin "$doc/changelog.gz"
{
    cat LICENSE NOTICE
    for library in libturbojpeg0 libpng16-16 zlib1g; do
        printf '\n---- %s, which is linked into the program ----\n' $library
        cat "/usr/share/doc/$library/copyright"
    done
} | install -D -m 644 /dev/stdin "$doc/copyright"

glibc=$(objdump -T $native/resnet $native/libresnet.so | grep -o 'GLIBC_[0-9.]*' | sort -uV | tail -n 1)
install -d -m 755 "$root/DEBIAN"
cat >"$root/DEBIAN/control" <<CONTROL
Package: resnetswift
Version: $version
Architecture: $architecture
Maintainer: the ResNetSwift authors <resnetswift@localhost>
Section: science
Priority: optional
Installed-Size: $(du -sk --apparent-size "$root" | cut -f 1)
Depends: libc6 (>= ${glibc#GLIBC_}), libturbojpeg0 | libturbojpeg, libpng16-16 | libpng16-16t64, zlib1g
Recommends: libwebp7, libwebpdemux2, libgif7, libtiff6 | libtiff5
Description: fast ResNets on CPUs: classify pictures, fine-tune, embed
 The program resnet classifies, embeds and explains pictures with the weights
 of PyTorch, timm, Hugging Face and ONNX, and trains on pictures with labels.
 libresnet gives the same networks to programs in C and other languages.
 WebP, GIF and TIFF pictures are read with the recommended libraries.
CONTROL
(cd "$root" && find usr -type f -exec md5sum {} + | LC_ALL=C sort -k 2) >"$root/DEBIAN/md5sums"
# What ldconfig is to do after the library came or went.
printf 'activate-noawait ldconfig\n' >"$root/DEBIAN/triggers"
mkdir -p "$folder"
package=$folder/resnetswift_${version}_$architecture.deb
dpkg-deb --root-owner-group --build "$root" "$package" >/dev/null
echo "$package: $(stat -c %s "$package") bytes, needs ${glibc/_/ }"
