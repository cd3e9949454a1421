#!/usr/bin/env bash
# The slow suites at full size: an hour and a half, on a machine with nothing else to do. `tests/long.sh NAME…` runs only the named
# parts. Some of it needs root and nftables, and says so where it is left out. docs/security.md has the last figures.
set -euo pipefail
cd "$(dirname "$0")/.."
export BELFRY="${BELFRY:-$PWD/target/release/belfry}"

parts=("$@")
[ $# -gt 0 ] || parts=(build model malformed chaos)

part_build() { cargo build --locked --release --workspace; }

# Ten times the cases of every day; 200,000 take a night.
part_model() { PROPTEST_CASES="${PROPTEST_CASES:-20000}" cargo test --locked --release --test model; }

part_malformed() { cargo test --locked --release --test malformed -- --nocapture; }

# Its last scenario is the soak: half an hour, or SOAK_MINUTES.
part_chaos() { tests/chaos/run --long --minutes "${SOAK_MINUTES:-30}"; }

for part in "${parts[@]}"; do
  echo "== $part"
  began=$SECONDS
  "part_$part"
  echo "== $part: passed, $((SECONDS - began)) s"
done
