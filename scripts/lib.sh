# shellcheck shell=sh
# What the scripts share: where the checkout is, and which Rust and OCaml it is built with. Sourced, not run.

root=$(CDPATH='' cd -- "$(dirname -- "$0")/.." && pwd)

# Everything for a person goes to standard error: standard output belongs to results (`make demo ARGS=--json`).
say() {
    printf '%s\n' "$*" >&2
}

have() {
    command -v "$1" >/dev/null 2>&1
}

# version_at_least 1.95.0 1.89
version_at_least() {
    [ "$(printf '%s\n%s\n' "$2" "$1" | sort -V | head -n 1)" = "$2" ]
}

# The oldest Rust that builds this workspace, from its one home in Cargo.toml.
rust_minimum() {
    sed -n 's/^rust-version = "\(.*\)"$/\1/p' "$root/Cargo.toml"
}

# The version of the rustc on PATH; empty without one.
rust_version() {
    rustc --version 2>/dev/null | cut -d ' ' -f 2
}

rust_is_usable() {
    have cargo && have rustc && version_at_least "$(rust_version)" "$(rust_minimum)"
}

# rustup's folder is not on PATH in the shell that has just installed it, and a distribution's older Rust may stand before it.
use_rust() {
    rust_is_usable && return 0
    rustup_bin=${CARGO_HOME:-$HOME/.cargo}/bin
    if [ -x "$rustup_bin/cargo" ]; then
        PATH=$rustup_bin:$PATH
        export PATH
    fi
    rust_is_usable
}

# An active opam switch is used when it has OCaml and dune; otherwise what is on PATH is. Sets `opam_switch` to the switch's folder, or to nothing.
use_ocaml() {
    opam_switch=
    if [ -z "${OPAM_SWITCH_PREFIX:-}" ] && have opam; then
        eval "$(opam env 2>/dev/null)" || true
    fi
    if [ -n "${OPAM_SWITCH_PREFIX:-}" ] && [ -x "$OPAM_SWITCH_PREFIX/bin/dune" ]; then
        PATH=$OPAM_SWITCH_PREFIX/bin:$PATH
        export PATH
        if have ocamlopt; then
            # shellcheck disable=SC2034  # scripts/setup reads it.
            opam_switch=$OPAM_SWITCH_PREFIX
        fi
    fi
}

# Builds the Rust library of the OCaml package where bindings/archive.sh looks for it. dune would do it too, but holds back what cargo prints
# until it has finished, which is minutes the first time. The compiler's name is dune's choice as well, or cargo would build some of it again.
build_archive() {
    ocamlopt=$(command -v ocamlopt.opt || command -v ocamlopt)
    target=${MINA_P2P_TARGET_DIR:-$root/target}/ocaml-$(ocamlc -config | cksum | tr -d ' \t')
    OCAMLOPT=$ocamlopt CARGO_TARGET_DIR=$target cargo build --locked --release --package mina-p2p-bindings --features generate
}
