#!/bin/sh
# archive.sh ROOT OCAMLC OCAMLOPT ARCHIVE.a SHARED.so
#
# Builds the Rust library of the OCaml package: ROOT is the folder of the workspace's Cargo.toml. Called by dune.
#
# The library is linked into one object in which only `mina_p2p_*` are visible. Otherwise a program with another Rust library
# in it would not link (rust_eh_personality and std's symbols are in both), or would link and call the other's functions.
set -eu

root=$1 ocamlc=$2 ocamlopt=$3 archive=$4 shared=$5

fail() {
  printf 'mina_p2p: %s\n' "$1" >&2
  exit 1
}

[ "$(uname -s)" = Linux ] || fail "only Linux is supported so far (the binding uses eventfd and GNU binutils)"

cargo=$(command -v cargo || true)
[ -n "$cargo" ] || { [ -x "${HOME:-}/.cargo/bin/cargo" ] && cargo=$HOME/.cargo/bin/cargo; } ||
  fail "cargo was not found: install Rust (https://rustup.rs), or put cargo into PATH"
for tool in ld objcopy ar cc; do
  command -v "$tool" >/dev/null || fail "$tool was not found: install binutils and a C compiler (Debian: build-essential)"
done
ld --help | grep -q -- --force-group-allocation ||
  fail "this ld has no --force-group-allocation: GNU ld 2.29 or later is needed ($(ld --version | head -n 1))"

# Cargo's directory: one for each OCaml, whose headers the library is compiled against, and outside what dune copies. In this
# repository's own checkout it is under target/ and outlives `dune clean`; elsewhere it is in dune's build directory.
switch=$("$ocamlc" -config | cksum | tr -d ' \t')
if [ -n "${MINA_P2P_TARGET_DIR:-}" ]; then
  target=$MINA_P2P_TARGET_DIR/ocaml-$switch
elif [ -f "${DUNE_SOURCEROOT:-}/bindings/archive.sh" ]; then
  target=$DUNE_SOURCEROOT/target/ocaml-$switch
else
  target=${INSIDE_DUNE:?is set by dune}/../.mina_p2p-cargo/ocaml-$switch
fi

OCAMLOPT=$ocamlopt CARGO_TARGET_DIR=$target \
  "$cargo" build --quiet --locked --release --package mina-p2p-bindings \
  --features generate --manifest-path "$root/Cargo.toml" ||
  fail "cargo could not build the Rust library (above). The first build needs the network, to fetch crates"
library=$target/release/libmina_p2p_bindings.a

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

# Grouped sections are merged, so that the linker never drops our copy of one in favour of another library's, which we could
# not see any more. LLVM bitcode makes binutils abort.
ld -r --force-group-allocation -o "$work/all.o" --whole-archive "$library" --no-whole-archive
objcopy --wildcard --keep-global-symbol='mina_p2p_*' --remove-section=.llvmbc --remove-section=.llvmcmd \
  --strip-debug "$work/all.o" "$work/mina_p2p_stubs.o"

rm -f "$archive" "$shared"
ar rcs "$archive" "$work/mina_p2p_stubs.o"
cc -shared -o "$shared" "$work/mina_p2p_stubs.o" -lpthread -ldl -lm
