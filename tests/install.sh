#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Installs into a fresh prefix and builds a forwarder against it, as a stranger would: static,
# shared and as C++17, found by pkg-config; both once more, found by CMake.
set -eu
top=$(cd "$(dirname "$0")/.." && pwd)
work=$(mktemp -d)
regions=$(mktemp -d /dev/shm/fwdscope-install.XXXXXX)
trap 'rm -rf "$work" "$regions"' EXIT

cmake -S "$top" -B "$work/build" -DFWDSCOPE_TESTS=OFF >"$work/log" 2>&1
cmake --build "$work/build" -j "$(nproc)" >>"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
cmake --install "$work/build" --prefix "$work/prefix" >>"$work/log" 2>&1

cat >"$work/user.c" <<'USER'
#include <fwdscope.h>
#include <stdio.h>

int main(void)
{
    struct fwdscope_options options = {0};
    options.service_name = "stranger";
    if (!fwdscope_open(&options)) {
        fprintf(stderr, "%s\n", fwdscope_reason());
        return 1;
    }
    fwdscope_log(FWDSCOPE_INFO, "hello", 5);
    fwdscope_close(FWDSCOPE_CLOSED, "done");
    return 0;
}
USER
sed 's/{0}/{}/' "$work/user.c" >"$work/user.cpp"

lib=$(dirname "$(find "$work/prefix" -name libfwdscope.a)")
export PKG_CONFIG_PATH="$lib/pkgconfig" FWDSCOPE_DIR="$regions"
flags="-Wall -Wextra -Wpedantic -Werror"
cc -std=c11 $flags "$work/user.c" $(pkg-config --cflags fwdscope) "$lib/libfwdscope.a" -pthread -o "$work/static"
cc -std=c11 $flags "$work/user.c" $(pkg-config --cflags --libs fwdscope) -o "$work/shared"
c++ -std=c++17 $flags "$work/user.cpp" $(pkg-config --cflags --libs fwdscope) -o "$work/cxx"
mkdir "$work/cmake"
cat >"$work/cmake/CMakeLists.txt" <<'CMAKE'
cmake_minimum_required(VERSION 3.25)
project(user LANGUAGES C)
find_package(fwdscope 0.1 REQUIRED)
foreach(kind static shared)
  add_executable(cmake-${kind} ../user.c)
  target_link_libraries(cmake-${kind} PRIVATE fwdscope::${kind})
endforeach()
CMAKE
{ cmake -S "$work/cmake" -B "$work/cmake/build" -DCMAKE_PREFIX_PATH="$work/prefix" &&
    cmake --build "$work/cmake/build"; } >"$work/log" 2>&1 || { tail -40 "$work/log"; exit 1; }
mv "$work/cmake/build/cmake-static" "$work/cmake/build/cmake-shared" "$work"
for program in static shared cxx cmake-static cmake-shared; do
    LD_LIBRARY_PATH="$lib" "$work/$program"
    "$work/prefix/bin/fwdscope" dump "$regions"/*.fwdscope | grep -q hello
done
# Programs ask for the version of the interface, not for a file name.
readelf -d "$work/shared" | grep -q 'NEEDED.*\[libfwdscope\.so\.0\]'
# Only the public names leave the libraries.
others=$({ nm -D --defined-only "$lib/libfwdscope.so"; nm -g --defined-only "$lib/libfwdscope.a"; } |
    awk 'NF == 3 {print $3}' | grep -v '^fwdscope_' || true)
[ -z "$others" ] || { echo "names that should be hidden: $others"; exit 1; }
