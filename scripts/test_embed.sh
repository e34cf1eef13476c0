#!/usr/bin/env bash
# Embeds the C core as its users do, and checks what they get: installed by gcc and by clang, through pkg-config, CMake's
# find_package and add_subdirectory, shared and static, from C11, C++17 and Python; with OpenMP and OpenBLAS and without.
#
#     scripts/test_embed.sh [compiler...]        (default: gcc, and clang if there is one)
set -euo pipefail
cd "$(dirname "$0")/.."
root=$PWD
build=$root/.build/embed
strict="-O2 -Wall -Wextra -Wpedantic -Werror"

say() { printf '\n== %s\n' "$*"; }
fail() {
    printf 'test_embed: %s\n' "$*" >&2
    exit 1
}
quietly() { "$@" >"$build/log" 2>&1 || {
    cat "$build/log" >&2
    fail "failed: $*"
}; }

mkdir -p "$build"
compilers=("$@")
if [ ${#compilers[@]} -eq 0 ]; then
    compilers=(gcc)
    if command -v clang >/dev/null; then compilers+=(clang); fi
fi

python=${PYTHON:-python3}
for cc in "${compilers[@]}"; do
    cxx=${cc/gcc/g++}
    cxx=${cxx/clang/clang++}
    work=$build/$cc
    prefix=$work/prefix
    # gcc's build is that of make test-core, which has checked its kernels.
    if [ "$cc" = gcc ]; then core=$root/.build/core-tests tests='share_plan|check_(team|cgroup|dot)'; else core=$work/core tests=.; fi
    say "$cc: installed, warnings are errors"
    mkdir -p "$work"
    rm -rf "$prefix"
    quietly cmake -S . -B "$core" -DCMAKE_C_COMPILER="$cc" -DCK_WARNINGS_ARE_ERRORS=ON -DCK_BUILD_TESTS=ON
    quietly cmake --build "$core" -j"$(nproc)"
    quietly cmake --install "$core" --prefix "$prefix"
    lib=$prefix/lib
    ls -l "$lib" | awk 'NR > 1 { print "  ", $5, $9, $10, $11 }'

    foreign=$(nm -D --defined-only "$lib/libckernels.so" | awk '$3 !~ /^ck_/ { print $3 }')
    [ -z "$foreign" ] || fail "libckernels.so shows symbols that are not ours: $foreign"
    foreign=$(nm -g --defined-only "$lib/libckernels.a" 2>/dev/null | awk 'NF == 3 && $3 !~ /^ck_/ { print $3 }')
    [ -z "$foreign" ] || fail "libckernels.a defines symbols that are not ours: $foreign"
    declared=$(grep -ohE '\bck_[a-z0-9_]+\(' "$prefix"/include/ckernels*.h | sort -u | wc -l)
    shown=$(nm -D --defined-only "$lib/libckernels.so" | wc -l)
    [ "$shown" -gt 60 ] && [ "$shown" -le "$declared" ] || fail "$shown symbols for $declared declarations"

    say "$cc: pkg-config, C11 and C++17, shared and static"
    export PKG_CONFIG_PATH=$lib/pkgconfig
    [ "$(pkg-config --modversion ckernels)" = "$("$core/Tests/CoreTests/check_core" --version)" ] ||
        fail "pkg-config and the library differ about the version"
    flags=$(pkg-config --cflags --libs ckernels)
    # shellcheck disable=SC2086
    {
        $cc -std=c11 $strict Examples/C/convolution.c $flags -lm -o "$work/convolution"
        $cxx -std=c++17 $strict Examples/C/resize.cpp $flags -o "$work/resize"
        $cc -std=c11 $strict -s Examples/C/convolution.c $(pkg-config --cflags ckernels) "$lib/libckernels.a" \
            $(pkg-config --libs --static ckernels | sed 's/-lckernels//') -lm -o "$work/convolution_static"
    }
    # The example in the manual: what stands in the comment at the top of the header.
    awk '/^ \*     #include/ { inside = 1 } inside { print substr($0, 8) } inside && /^ \*     }$/ { exit }' \
        "$prefix/include/ckernels.h" >"$work/manual.c"
    # shellcheck disable=SC2086
    $cc -std=c11 $strict "$work/manual.c" $flags -o "$work/manual"
    LD_LIBRARY_PATH=$lib "$work/manual"
    LD_LIBRARY_PATH=$lib "$work/convolution"
    LD_LIBRARY_PATH=$lib "$work/resize"
    "$work/convolution_static"
    echo "   stripped program with the core in it: $(stat -c %s "$work/convolution_static") bytes"

    say "$cc: CMake, find_package"
    quietly cmake -S Examples/C -B "$work/found" -DCMAKE_PREFIX_PATH="$prefix" -DCMAKE_C_COMPILER="$cc" \
        -DCMAKE_CXX_COMPILER="$cxx"
    quietly cmake --build "$work/found"
    "$work/found/convolution"
    "$work/found/convolution_static"
    "$work/found/resize"

    if "$python" -c 'import numpy' 2>/dev/null; then
        say "$cc: Python"
        "$python" Examples/Python/kernels.py "$lib/libckernels.so.0"
    else
        echo "   $python has no NumPy: the Python example was left out"
    fi

    say "$cc: teams of threads, control groups; clang: every kernel against the reference"
    ctest --test-dir "$core" --output-on-failure -j"$(nproc)" -R "$tests"
done

cc=${compilers[0]}
say "$cc: add_subdirectory, static, neither OpenMP nor OpenBLAS"
work=$build/serial
quietly cmake -S Examples/C -B "$work" -DFROM_SOURCE=ON -DBUILD_SHARED_LIBS=OFF -DCK_OPENMP=OFF \
    -DCK_OPENBLAS=OFF -DCK_WARNINGS_ARE_ERRORS=ON -DCK_BUILD_TESTS=ON -DCMAKE_C_COMPILER="$cc"
quietly cmake --build "$work" -j"$(nproc)"
"$work/convolution"
"$work/resize"
if ldd "$work/convolution" | grep -E 'omp|blas'; then fail "the serial program still needs these"; fi
CK_ISA=portable "$work/ckernels/Tests/CoreTests/check_core" --every 7 | tail -n 1
say "all embedded"
