#!/bin/sh
# installed.sh ARCHIVE
#
# The package as it is installed: which symbols it shows, whether it links beside another Rust library, and whether bytecode
# and the toplevel can load it. Called by dune, which sets INSIDE_DUNE and OCAMLPATH.
set -eu

archive=$1
install=${INSIDE_DUNE:?is set by dune}/../install/${INSIDE_DUNE##*/}
OCAMLPATH=$install/lib${OCAMLPATH:+:$OCAMLPATH}
CAML_LD_LIBRARY_PATH=$install/lib/stublibs${CAML_LD_LIBRARY_PATH:+:$CAML_LD_LIBRARY_PATH}
export OCAMLPATH CAML_LD_LIBRARY_PATH RUST_BACKTRACE=0

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cp installed/* "$work"

passed=0

fail() {
  printf 'FAILED: %s\n' "$1" >&2
  printf 'installed: %d passed, 1 failed\n' "$passed"
  exit 1
}

pass() {
  printf '  [OK]          installed          %s.\n' "$1"
  passed=$((passed + 1))
}

PATH=$PATH:${HOME:-}/.cargo/bin

# Columns of readelf: number, value, size, type, binding, visibility, section, name.
others=$(readelf -sW "$archive" | awk '
  ($5 == "GLOBAL" || $5 == "WEAK" || $5 == "UNIQUE") && $7 != "UND" && $8 !~ /^mina_p2p_/ { print $8 }')
[ -z "$others" ] || fail "the archive shows more than mina_p2p_*: $others"
readelf -sW "$archive" | grep -q 'GLOBAL .* mina_p2p_node_create$' || fail "the archive does not show its stubs"
pass "only mina_p2p_* are visible"

cd "$work"

mina=$(ocamlfind query mina_p2p)

# With LTO and without: both are common, and clash in different symbols.
for lto in off fat; do
  rustc --edition 2024 --crate-type staticlib -O -C lto=$lto -o libother.a other.rs
  ocamlfind ocamlopt -package mina_p2p -c other.ml both.ml
  ocamlfind ocamlopt -a -o other.cmxa other.cmx -cclib -lother
  ocamlfind ocamlopt -package mina_p2p -linkpkg -ccopt -L. other.cmxa both.cmx -o after.exe
  ocamlfind ocamlopt -package unix -linkpkg -I "$mina" -ccopt -L. mina_p2p.cmxa other.cmxa both.cmx -o before.exe
  ocamlfind ocamlopt -package mina_p2p -linkpkg libother.a other.cmx both.cmx -o first.exe
  for program in after before first; do
    [ "$(./$program.exe 2>errors)" = both ] || { cat errors >&2; fail "$program.exe, LTO $lto"; }
  done
  pass "links beside another Rust library in every order (LTO $lto)"
done

ocamlfind ocamlc -package mina_p2p -linkpkg smoke.ml -o smoke.byte
[ "$(ocamlrun ./smoke.byte)" = smoke ] || fail "bytecode"
pass "runs in bytecode"

# What `#require "mina_p2p"` does, without topfind, which not every system has.
[ "$(ocaml -I "$(ocamlfind query unix)" -I "$mina" unix.cma mina_p2p.cma smoke.ml 2>errors)" = smoke ] ||
  { cat errors >&2; fail "the toplevel"; }
pass "runs in the toplevel"

printf 'installed: %d passed, 0 failed\n' "$passed"
