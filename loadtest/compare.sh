#!/usr/bin/env bash
# Measures Belfry beside other servers on this machine: for each series one Markdown table and one page with plots.
#   loadtest/compare.sh [SERIES…]       all series by default; `loadtest/compare.sh --list` lists them
# Variables: REPEAT, the number of rounds (5); SECONDS_EACH, the length of each run (4); FOLDER, for the reports
# (target/performance). BUILD=0 uses the existing binaries. Servers that can't be started are left out; the scripts in
# loadtest/peers/ have what each needs.
set -euo pipefail
cd "$(dirname "$0")/.."
folder="${FOLDER:-target/performance}"
repeat="${REPEAT:-5}"
seconds="${SECONDS_EACH:-4}"
belfry="${BELFRY:-target/release/belfry}"
loadtest="${LOADTEST:-target/release/belfry-loadtest}"
broadcasters="uwebsockets,nchan,centrifugo,nats,node-ws,python-websockets"

# SERIES | SERVERS | ARGUMENT…
compared='
fanout-50 | json,raw,baseline,PEERS | --rate 50
fanout-100 | json,raw,baseline,uwebsockets | --rate 100
fanout-8-ahead | json,raw,baseline-joined,PEERS | --ahead 8
fanout-32-ahead | json,raw,baseline-joined,PEERS | --ahead 32
fanout-burst | json,raw,baseline,baseline-joined,uwebsockets | --rate 400 --burst 8
fanout-http | json,raw,nchan | --rate 50 --publish-by http
market | json,json-coalesce-1ms,uwebsockets,centrifugo,nats | --scenario market
market-200 | json,PEERS | --scenario market --rate 200
market-64-ahead | json,json-coalesce-1ms,PEERS | --scenario market --ahead 64
dialects | json,centrifugo-json,centrifugo-protobuf,sse,stream | --sessions 200 --rate 100
dialects-market | json,centrifugo-json,centrifugo-protobuf,sse,stream | --scenario market --sessions 200 --rate 1000
deflate-128 | json,json+deflate,raw,raw+deflate | --rate 100
deflate-2048 | json,json+deflate,raw,raw+deflate | --rate 100 --payload 2048
deflate | json,json+deflate,raw,raw+deflate,uwebsockets,uwebsockets+deflate,nchan,nchan+deflate,centrifugo,centrifugo+deflate,nats,nats+deflate | --payload 600 --rate 10
handshake | json,raw,baseline,PEERS | --scenario handshake
idle | json,json+deflate,raw,PEERS | --scenario idle --sessions 5000
two-shards | json,json-two-shards | --rate 100
growth-100 | json,baseline,uwebsockets | --sessions 100 --rate 500
growth-1000 | json,baseline,uwebsockets | --sessions 1000 --rate 50
growth-15000 | json,baseline,uwebsockets | --sessions 15000 --rate 3
'
alone="slow storm churn chat drain"

names() { sed -n 's/^\([a-z0-9-]*\) |.*/\1/p' <<<"$compared"; tr ' ' '\n' <<<"$alone"; }

# record NAME COMMAND…: writes the command and its output to NAME.md. Failed checks are in the output, and do not end the
# script.
record() {
  local name="$1" file="$folder/$1.md"
  shift
  echo "== $name" >&2
  { "$@" >"$file.out" || [ $? -eq 2 ]; } || { echo "$name did not run" >&2; return 1; }
  { printf '### %s\n\n`%s`\n\n' "$name" "${*//$loadtest/belfry-loadtest}"; cat "$file.out"; echo; } >"$file"
  rm "$file.out"
  cat "$file"
}

compare() {
  local name="$1" servers="${2//PEERS/$broadcasters}"
  shift 2
  record "$name" "$loadtest" compare --start "$belfry" --pin --keep-going --with "$servers" --repeat "$repeat" --duration "$seconds" \
    --html "$folder/$name.html" "$@"
}

run() {
  local name="$1" servers arguments
  if grep -qw -- "$name" <<<"$alone"; then
    record "$name" "$loadtest" "$name" --start "$belfry" --pin --html "$folder/$name.html"
    return
  fi
  IFS='|' read -r _ servers arguments < <(grep "^$name |" <<<"$compared") || {
    echo "$name is no series; write one of: $(names | tr '\n' ' ')" >&2
    return 1
  }
  # The arguments are words of this file.
  # shellcheck disable=SC2086
  compare "$name" "${servers// /}" $arguments
}

[ "${1:-}" != "--list" ] || { names; exit; }
[ "${BUILD:-1}" = 0 ] || cargo build --release --workspace
mkdir -p "$folder"
[ $# -gt 0 ] || mapfile -t all < <(names)
for name in "${@:-${all[@]}}"; do run "$name"; done
echo "the reports are in $folder" >&2
