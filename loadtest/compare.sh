#!/usr/bin/env bash
# Makes every table of docs/performance.md on this machine: a folder with one Markdown table and one page per series.
#   loadtest/compare.sh [FOLDER]        rounds: REPEAT (5), seconds per run: SECONDS_EACH (10)
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${1:-target/performance}"
repeat="${REPEAT:-5}"
seconds="${SECONDS_EACH:-10}"

cargo build --release --workspace
belfry=target/release/belfry
loadtest=target/release/belfry-loadtest
mkdir -p "$folder"

# series NAME SERVERS ARGUMENT…: a table; checks that failed are told in it, and do not end the script.
series() {
  local name="$1" servers="$2"
  shift 2
  echo "== $name"
  "$loadtest" compare --start "$belfry" --pin --with "$servers" --repeat "$repeat" --duration "$seconds" \
    --html "$folder/$name.html" "$@" >"$folder/$name.md" || [ $? -eq 2 ]
  cat "$folder/$name.md"
}

# alone NAME ARGUMENT…: a report of one run.
alone() {
  local name="$1"
  shift
  echo "== $name"
  "$loadtest" "$@" --start "$belfry" --pin --html "$folder/$name.html" >"$folder/$name.txt" || [ $? -eq 2 ]
  cat "$folder/$name.txt"
}

series fanout-50 json,raw,floor,python-websockets,node-ws --rate 50
series fanout-100 json,raw,floor --rate 100
series fanout-8-ahead json,raw,floor-joined,floor --ahead 8
series fanout-32-ahead json,raw,floor-joined,floor --ahead 32
series fanout-deflate json,json-deflate --payload 600 --rate 10
series market json,json-coalesce-1ms --scenario market
series market-64-ahead json,json-coalesce-1ms --scenario market --ahead 64
for sessions in 100 1000 10000; do
  series "growth-$sessions" json,floor --sessions "$sessions" --rate "$((50000 / sessions))"
done
for scenario in idle storm slow churn chat drain; do
  alone "$scenario" "$scenario"
done
alone idle-deflate idle --deflate
echo "all reports are in $folder"
