# A pipeline fails when any part of it does: without this, a broken build would
# only show as an odd difference in the schema.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

CARGO ?= cargo

.DEFAULT_GOAL := help
.PHONY: help demo test lint schema servers bench chaos

help: ## List the targets
	@sed -n 's/^\([a-z]*\):.*## /\1|/p' $(firstword $(MAKEFILE_LIST)) | \
		while IFS='|' read -r target text; do printf '%-10s%s\n' "$$target" "$$text"; done

demo: ## Run the demo
	$(CARGO) run --locked -- demo

# Lint comes first as it is quick to fail. The schema is taken from the program
# that the tests were run against: `cargo run` would leave out the features that
# dev-dependencies turn on, and so compile most dependencies a second time.
test: lint ## Run everything a change has to pass
	tests/clients/setup
	tests/with-servers $(CARGO) test --workspace --locked
	@program=$$($(CARGO) test -q --workspace --locked --no-run --message-format=json-render-diagnostics | \
		sed -n 's|.*"executable":"\([^"]*/tributary\)".*|\1|p'); \
	"$${program:?cargo names no program}" schema | \
		diff -u --label schema.graphql --label 'schema of this build' schema.graphql - || \
		{ echo "schema.graphql is not current: 'make schema' renews it" >&2; exit 1; }

# Warnings are denied by an argument: in RUSTFLAGS it would part this build from
# all others, and compile every dependency once more.
lint: ## Check the formatting, and the code by clippy
	$(CARGO) fmt --all -- --check
	$(CARGO) clippy --workspace --all-targets --locked -- -D warnings

# By way of a second file, so that a failing build leaves the old schema whole.
schema: ## Write schema.graphql anew
	@trap 'rm -f schema.graphql.new' EXIT; \
	$(CARGO) run -q --locked -- schema > schema.graphql.new; \
	mv schema.graphql.new schema.graphql

servers: ## Open a shell next to a private PostgreSQL and Redis
	tests/with-servers bash

# `BENCH=pages` or `BENCH="fanout --loads 1000x50"` chooses one measurement, `BENCH="all --scale 1"` the whole size of all.
BENCH ?= all
bench: ## Measure the program beside its floor
	$(CARGO) build --release --locked --package tributary --package tributary-bench
	target/release/tributary-bench $(BENCH)

# `CHAOS=1800` is half an hour. A run's seed is printed; TRIBUTARY_TEST_SEED repeats its faults.
CHAOS ?= 300
chaos: ## Let whatever can fail do so at random, for CHAOS seconds
	TRIBUTARY_TEST_CHAOS_SECS=$(CHAOS) tests/with-servers $(CARGO) test --locked --package tributary --test it chaos:: -- --nocapture
