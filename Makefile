# What a person types. Each target sets up what it needs by itself (scripts/setup); the work is in scripts/.

.PHONY: help demo test bench fmt lint doc clean setup

ARGS ?=

help:
	@echo 'make demo    five OCaml nodes exchange blocks over QUIC and WebRTC, and rebuild them from their pools'
	@echo '             (ARGS="--transport quic" or webrtc: all by one; ARGS=--json: one JSON object on standard output; ARGS=--help)'
	@echo 'make test    all tests, Rust and OCaml; closes with "N passed, N failed"'
	@echo 'make bench   the figures of both transports, as ratios measured in one run'
	@echo 'make fmt     format the sources'
	@echo 'make lint    everything that CI checks besides the tests and the demo'
	@echo 'make doc     the documentation of the Rust crates (and of the OCaml package, with odoc)'
	@echo 'make clean   remove what was built'

setup:
	@scripts/setup

demo: setup
	@scripts/demo $(ARGS)

test: setup
	@scripts/test

bench: setup
	@scripts/bench $(ARGS)

fmt: setup
	@scripts/fmt

lint:
	@scripts/setup lint
	@scripts/lint

doc: setup
	@scripts/doc

clean:
	rm -rf target _build
