#!/usr/bin/env bash
# Makes `cargo build --target wasm32-wasip2` work, and prints the toolchain to build with as its last line:
#
#   scripts/wasm-target.sh          → wasm32-wasip2 by "+stable-…"
#
# 1. Nothing to do where a toolchain has the target already.
# 2. Otherwise rustup adds it (not with WASM_NO_RUSTUP=1).
# 3. Otherwise, where rustup's server can't be reached, Debian's packages of the same compiler are unpacked into a private
#    folder (no root, nothing installed system-wide), std is built once from their source, and libc brought up to date (with a
#    package of pip's). About a minute, 600 MB.
set -euo pipefail

target=wasm32-wasip2
name=wasm-web
oldest=1.95 # what the components need
prefix=${WASM_TOOLCHAIN_PREFIX:-${XDG_DATA_HOME:-$HOME/.local/share}/$name}
say() { echo "wasm-target: $*" >&2; }
fail() { say "$*"; exit 1; }

has_std() { # does the toolchain "+x" (or "" for the active one) hold std for the target?
  local libs
  libs=$(rustc ${1:+"$1"} --print target-libdir --target $target 2>/dev/null) && compgen -G "$libs/libstd-*.rlib" >/dev/null
}
is_recent() { [ "$(printf '%s\n' "$oldest" "$1" | sort -V | head -n 1)" = "$oldest" ]; }
active() { rustup show active-toolchain | cut -d' ' -f1; }

command -v rustup >/dev/null || fail "Rust is not here: install it by https://rustup.rs"
if has_std ""; then active; exit; fi
if [ "${WASM_NO_RUSTUP:-0}" != 1 ] && timeout 120 rustup target add $target >&2 && has_std ""; then active; exit; fi
usr=$prefix/usr
libs=$usr/lib/rustlib/$target/lib
has_sockets() { ar t "$libs/self-contained/libc.a" 2>/dev/null | grep -qx sockets.o; }
if has_std "+$name" && is_recent "$(rustc "+$name" -V | cut -d' ' -f2)" && has_sockets; then echo $name; exit; fi

say "rustup has no $target here: taking Debian's rustc-web instead (once, about a minute)"
command -v apt-get >/dev/null && command -v dpkg-deb >/dev/null || fail "this is no Debian either: run \`rustup target add $target\` where the network allows it"

candidate() { apt-cache policy rustc-web 2>/dev/null | awk '/Candidate:/ {print $2}'; }
if ! is_recent "$(candidate)"; then apt-get update -qq >&2 || sudo apt-get update -qq >&2; fi
version=$(candidate)
is_recent "$version" || fail "apt offers rustc-web ${version:-not at all}; $oldest or later is needed"

rm -rf "$prefix"
mkdir -p "$prefix/deb"
short=$(cut -d. -f1,2 <<<"$version")
llvm=$(apt-cache depends "libstd-rust-web-$short=$version" | awk '/Depends: libllvm/ {print $2}')
(cd "$prefix/deb" && apt-get download -q "rustc-web=$version" "libstd-rust-web-dev=$version" "libstd-rust-web-$short=$version" \
  "rust-web-src=$version" wasi-libc $llvm >&2)
for package in "$prefix"/deb/{rustc-web,libstd-rust-web-dev,libstd-rust-web-"$short",libllvm*}_*.deb; do
  dpkg-deb -x "$package" "$prefix"
done
dpkg-deb --fsys-tarfile "$prefix"/deb/rust-web-src_*.deb |
  tar -x -C "$prefix" --wildcards "./usr/src/rustc-*/library/*" "./usr/src/rustc-*/Cargo.lock" "./usr/lib/rustlib/src*"
dpkg-deb -x "$prefix"/deb/wasi-libc_*.deb "$prefix/wasi"
rm -r "$prefix/deb"
for library in "$usr"/lib/x86_64-linux-gnu/*.so*; do ln -sfn "x86_64-linux-gnu/$(basename "$library")" "$usr/lib/"; done

# The linker and cargo come from the toolchain that is here.
sysroot=$(rustc --print sysroot)
host=$(rustc -vV | awk '/^host:/ {print $2}')
mkdir -p "$usr/lib/rustlib/$host/bin"
for tool in rust-lld wasm-component-ld gcc-ld rust-objcopy; do
  [ -e "$sysroot/lib/rustlib/$host/bin/$tool" ] && ln -sfn "$sysroot/lib/rustlib/$host/bin/$tool" "$usr/lib/rustlib/$host/bin/$tool"
done
ln -sfn "$sysroot/bin/cargo" "$usr/bin/cargo"
mkdir -p "$libs/self-contained"
cp "$prefix"/wasi/usr/lib/wasm32-wasi/{crt1-command.o,crt1-reactor.o,libc.a} "$libs/self-contained/"

# std, with bitcode so that guests can be built with link-time optimisation.
build=$prefix/std
mkdir -p "$build/src"
: >"$build/src/lib.rs"
printf '[package]\nname = "std-build"\nversion = "0.0.0"\nedition = "2021"\n[profile.release]\npanic = "abort"\n[workspace]\n' >"$build/Cargo.toml"
say "building std for $target"
env -u CARGO_BUILD_TARGET -u CARGO_ENCODED_RUSTFLAGS -u RUSTC_WRAPPER LD_LIBRARY_PATH="$usr/lib" RUSTC="$usr/bin/rustc" RUSTC_BOOTSTRAP=1 \
  RUSTFLAGS="-Cembed-bitcode=yes" CARGO_TARGET_DIR="$build/target" \
  "$sysroot/bin/cargo" build -q --manifest-path "$build/Cargo.toml" -Zbuild-std=std,panic_abort --target $target --release >&2
cp "$build/target/$target/release/deps/"*.rlib "$libs/"
rm -rf "$libs"/libstd_build*.rlib

# Debian's libc is of 2022. It looks for folders before the program begins, though that may want none, and knows no sockets, which
# `std::net` links to. So its functions for paths are replaced by those of a newer one, whose source comes with Zig's compiler, and
# sockets are refused, as by a host that grants none.
python3 -m pip download -q --disable-pip-version-check --no-deps -d "$build" ziglang==0.17.1 >&2
python3 -m zipfile -e "$build"/ziglang-*.whl "$build"
chmod +x "$build/ziglang/zig"
newer=$build/ziglang/lib/libc/wasi/libc-bottom-half
sed -i '/^__attribute__((constructor(51)))$/d' "$newer/sources/preopens.c" # Zig's own: they are looked for at the first use
printf '#define LOCK(lock)\n#define UNLOCK(lock)\n' >"$build/lock.h"       # there are no threads
cat >"$build/sockets.c" <<'C'
#include <errno.h>

#define REFUSE(name) int name(int a, int b, int c) { (void)a, (void)b, (void)c; errno = EACCES; return -1; }
#define REFUSE_6(name) int name(int a, int b, int c, int d, int e, int f) { (void)d, (void)e, (void)f; return socket(a, b, c); }

REFUSE(socket)
REFUSE(connect)
REFUSE(bind)
REFUSE(getsockname)
REFUSE(getpeername)
REFUSE_6(sendto)
REFUSE_6(recvfrom)
int listen(int a, int b) { return socket(a, b, 0); }
int setsockopt(int a, int b, int c, int d, int e) { (void)d, (void)e; return socket(a, b, c); }
int getaddrinfo(int a, int b, int c, int d) { (void)a, (void)b, (void)c, (void)d; return -4; } // EAI_FAIL
void freeaddrinfo(int a) { (void)a; }
const char *gai_strerror(int a) { (void)a; return "names are not looked up here"; }
C
cp "$newer"/sources/{preopens,posix,chdir}.c "$build"
for part in preopens posix chdir sockets; do
  ZIG_GLOBAL_CACHE_DIR=$build/cache ZIG_LOCAL_CACHE_DIR=$build/cache "$build/ziglang/zig" cc -target wasm32-wasi -Os \
    -I "$newer/headers/private" -I "$newer/cloudlibc/src" -I "$newer/cloudlibc/src/include" -I "$build" \
    -c "$build/$part.c" -o "$build/$part.o" >&2
done
ar d "$libs/self-contained/libc.a" preopens.o posix.o chdir.o
ar q "$libs/self-contained/libc.a" "$build"/{preopens,posix,chdir,sockets}.o
rm -rf "$build"
rustup toolchain link $name "$usr"
has_std "+$name" || fail "std is still missing"
echo $name
