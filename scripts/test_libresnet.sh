#!/usr/bin/env bash
# Builds libresnet.so and uses it as its users do, from C, C++ and Python; shows what it needs.
set -euo pipefail
cd "$(dirname "$0")/.."
prefix=$PWD/.build/prefix
python=${PYTHON:-python3}

[ "${1-}" = --built ] || scripts/build_libresnet.sh "$prefix"
lib=$prefix/lib
foreign=$(nm -D -g --defined-only "$lib/libresnet.so" | awk '$3 !~ /^resnet_/ { print $3 }')
[ -z "$foreign" ] || {
    echo "libresnet.so shows symbols that are not its own: $(echo "$foreign" | head -n 5)" >&2
    exit 1
}
if ldd "$lib/libresnet.so" | grep -i swift; then
    echo "libresnet.so needs a Swift runtime" >&2
    exit 1
fi
echo "libresnet.so: $(stat -L -c %s "$lib/libresnet.so") bytes, needs $(
    readelf -d "$lib/libresnet.so" | sed -n 's/.*(NEEDED).*\[\(.*\)\]/\1/p' | tr '\n' ' ')"

export PKG_CONFIG_PATH=$lib/pkgconfig LD_LIBRARY_PATH=$lib LIBRESNET=$lib/libresnet.so.0
cc -std=c11 -Wall -Wextra -Wpedantic -Werror Examples/C/classify.c $(pkg-config --cflags --libs resnet) \
    -o .build/classify
.build/classify demo/digits.safetensors demo/digits/six_1.png demo/digits/two_1.png | tee .build/classify.log
grep -q "six_1.png: six " .build/classify.log && grep -q "two_1.png: two " .build/classify.log
# The example in the manual: what stands in the comment at the top of the header.
awk '/^ \*     #include/ { inside = 1 } inside { print substr($0, 8) } inside && /^ \*     }$/ { exit }' \
    "$prefix/include/resnet.h" >.build/manual.c
cc -std=c11 -Wall -Wextra -Wpedantic -Werror .build/manual.c $(pkg-config --cflags --libs resnet) -o .build/manual
.build/manual demo/digits.safetensors demo/digits/nine_1.png | grep "^nine, "
cc -std=gnu11 -Wall -Wextra -Wpedantic -Werror Tests/LibResNetTests/refusals.c $(pkg-config --cflags --libs resnet) -pthread \
    -o .build/refusals
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
chmod 755 "$scratch"
.build/refusals demo/digits.safetensors "$scratch" >.build/refusals.log || {
    cat .build/refusals.log
    exit 1
}
tail -n 1 .build/refusals.log
cc -std=gnu11 -Wall -Wextra -Wpedantic -Werror Tests/LibResNetTests/pictures.c $(pkg-config --cflags --libs resnet) -pthread -lm \
    -o .build/pictures
.build/pictures demo/digits.safetensors demo/digits Tests/Fixtures/onnx/torchscript.onnx >.build/pictures.log || {
    cat .build/pictures.log
    exit 1
}
tail -n 1 .build/pictures.log
echo '#include <resnet.h>' | c++ -std=c++17 -Wall -Wextra -Wpedantic -Werror -fsyntax-only -x c++ - -I"$prefix/include"
if "$python" -c 'import numpy' 2>/dev/null; then
    "$python" Examples/Python/workers.py
    OMP_NUM_THREADS=1 "$python" -c '
import sys
sys.path.insert(0, "Examples/Python")
from resnet import Network
assert Network("demo/digits.safetensors").threads == 1, "OMP_NUM_THREADS is not honored"'
else
    echo "$python has no NumPy: the Python examples were left out"
fi
