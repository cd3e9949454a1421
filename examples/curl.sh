#!/bin/sh
# The gateway from a shell: sh curl.sh [http://host:port]
set -eu
gateway=${1:-http://127.0.0.1:8765}
curl -fsS -o /dev/null "$gateway/healthz" || { echo "no gateway at $gateway; start one with \`belfry serve\`" >&2; exit 1; }

# Publish: the body is the message, byte for byte.
curl -fsS "$gateway/v1/topics/chat.lobby" --data '{"nickname":"curl","text":"hi"}'; echo

# Publish several messages, one on each line. The answer has the number and the error of each refused line.
printf '%s\n' '{"topic":"chat.lobby","data":"one"}' '{"topic":"chat.ops","data":"two"}' |
    curl -fsS "$gateway/v1/publish" --data-binary @-; echo

# The history and the members of a topic.
curl -fsS "$gateway/v1/topics/chat.lobby/history?limit=3"; echo
curl -fsS "$gateway/v1/topics/chat.lobby/presence"; echo

# Readiness and metrics. An admin key may read more: -H "Authorization: Bearer $KEY" "$gateway/v1/sessions"
curl -fsS "$gateway/readyz"; echo
curl -fsS "$gateway/metrics" | grep '^belfry_sessions '

# curl 8.11 or later can open a WebSocket:  curl -N "ws://127.0.0.1:8765/ws?topics=quotes.*&last=1"
