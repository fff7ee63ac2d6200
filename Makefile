# Every target sets up what it needs, says what it does and can be repeated.

SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.PHONY: help run test test-cluster fuzz check sqlx advisories bench clean

CACHE := $(or $(XDG_CACHE_HOME),$(HOME)/.cache)/meridian

# Compiled dependencies outlive a checkout, so that a fresh one builds warm.
export CARGO_TARGET_DIR ?= $(CACHE)/target
export PATH := $(CACHE)/tools/bin:$(PATH):$(or $(CARGO_HOME),$(HOME)/.cargo)/bin

# Queries are checked against the committed .sqlx; only `make check` and `make sqlx` ask a database.
export SQLX_OFFLINE := true

# `make run PROFILE=release` builds longer and runs faster.
PROFILE ?= dev

# Both prepare lines need the same database and the same arguments to share what they compile.
WITH_SCHEMA := scripts/with-postgres bash -euo pipefail -c 'cargo sqlx migrate run --source migrations && "$$@"' --
PREPARE := cargo sqlx prepare --workspace

help: ## Show this list
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1\t\2/p' $(MAKEFILE_LIST) | expand -t 18

run: ## Build Meridian and run the demo: a private database, 200 leads, three weeks in minutes
	scripts/setup build postgres
	cargo run --locked --profile $(PROFILE) --package server --bin meridian -- up --demo $(ARGS)

test: ## Run every test against real servers
	scripts/setup build postgres smtp contract try-temporal
	env -u DATABASE_URL scripts/test

# Tests share the server only where they are told to, by a variable of their own.
ON_CLUSTER := env -u DATABASE_URL temporal/full-server bash -euo pipefail -c 'MERIDIAN_TEST_TEMPORAL=$$TEMPORAL_ADDRESS "$$@"' --

# The scenarios of one engine, with two workers for each world, and a campaign that four processes share.
test-cluster: ## Run the scenarios on a full Temporal server with Postgres
	scripts/setup build postgres smtp temporal cluster
	env -u DATABASE_URL cargo test --locked --workspace --features tests/otlp --test scenarios --test temporal --no-run
	$(ON_CLUSTER) cargo test --locked --workspace --features tests/otlp --no-fail-fast --test scenarios -- temporal $(ARGS)
	$(ON_CLUSTER) cargo test --locked --workspace --features tests/otlp --test temporal -- several_processes

fuzz: ## Play 10,000 random logs of leads on Postgres and in memory
	scripts/setup build postgres
	env -u DATABASE_URL LOGS=$(or $(LOGS),10000) cargo test --locked --workspace --features tests/otlp --test scenarios -- anything_may_happen_on_postgres --nocapture

# Lints see the one feature there is; documentation and query data are made without it.
check: ## Format, lints, documentation, dependencies, query data
	scripts/setup build postgres tools
	cargo fmt --all --check
	cargo deny --workspace check bans licenses sources
	env -u DATABASE_URL cargo clippy --locked --workspace --all-targets --features tests/otlp -- -D warnings
	env -u DATABASE_URL RUSTDOCFLAGS="-D warnings" cargo doc --locked --workspace --no-deps
	$(WITH_SCHEMA) $(PREPARE) --check -- --all-targets

sqlx: ## Write the query data in .sqlx anew, after a change of queries or migrations
	scripts/setup build postgres tools
	$(WITH_SCHEMA) $(PREPARE) -- --all-targets

advisories: ## Compare the dependencies with the public list of vulnerabilities (needs github.com)
	scripts/setup build tools
	cargo deny --workspace check advisories

bench: ## Measure the Postgres engine against the limit that plain SQL sets, and Temporal beside it
	scripts/setup build postgres $(if $(findstring --without-temporal,$(ARGS)),,temporal)
	env -u DATABASE_URL cargo build --locked --release --package tests --bins
	$(CARGO_TARGET_DIR)/release/bench $(ARGS)

clean: ## Remove what was compiled; tools and data stay
	cargo clean
