"""All programs by name, each with its row in the table of what was observed; and those that the gateway does not withstand yet."""

import bookkeeping
import floods
import gates
import memory
import reads
import shares
import subscriptions

ATTACKS = {
    "replaced-options": ("1", subscriptions.replaced_options),
    "many-matches": ("2", subscriptions.many_matches),
    "many-patterns": ("3", subscriptions.many_patterns),
    "much-since": ("4", subscriptions.much_since),
    "held-messages": ("5", memory.held_messages),
    "unread-answers": ("6", memory.unread_answers),
    "held-bodies": ("7", memory.held_bodies),
    "all-topics": ("8", shares.all_topics),
    "all-topics-over-http": ("8", shares.all_topics_over_http),
    "crowded-out": ("8", shares.crowded_out),
    "silent-connections": ("9", shares.silent_connections),
    "idle-connections": ("10", shares.idle_connections),
    "presence-storm": ("11", floods.presence_storm),
    "replay-cursors": ("12", memory.replay_cursors),
    "inflating-echoes": ("13", floods.inflating_echoes),
    "lines-of-nothing": ("14", reads.lines_of_nothing),
    "wrong-keys": ("15", reads.wrong_keys),
    # There are 200 in the bucket, and 100 more a second: a GET costs 17, a HEAD, which makes no body, 1.
    "history-reads": ("15", reads.history_reads("GET", 45)),
    "history-heads": ("15", reads.history_reads("HEAD", 600)),
    "presence-reads": ("15", reads.presence_reads),
    "bad-tokens": ("15", reads.bad_tokens),
    "chosen-address": ("16", gates.chosen_address),
    "told-secrets": ("17", gates.told_secrets),
    "lost-tls": ("18", gates.lost_tls),
    "weak-keys": ("19", gates.weak_keys),
    "rebound-names": ("20", gates.rebound_names),
    "header-fields": ("21", gates.header_fields),
    "empty-names": ("22", gates.empty_names),
    "transfer-codings": ("23", gates.transfer_codings),
    "full-inbox": ("24", floods.full_inbox),
    "paced-copies": ("25", memory.paced_copies),
    "slowly-read-answer": ("26", reads.slowly_read_answer),
    "stale-gauges": ("read", bookkeeping.stale_gauges),
    "trimmed-histories": ("read", bookkeeping.trimmed_histories),
    "many-gaps": ("read", bookkeeping.many_gaps),
    "many-rules": ("read", bookkeeping.many_rules),
    "lingering-places": ("read", shares.lingering_places),
}

# Each with what is missing; a program that passes has to leave this list.
KNOWN_GAPS = {
    "many-matches": "patterns times topics, in one go: all shards stand meanwhile",
    "many-patterns": "each name is matched against all patterns that share its tokens",
    "much-since": "a subscribe with 1,150 topics in `since`, on 1,000 subscriptions, holds its shard for 4 ms",
    "unread-answers": "1,500 answers of 1 MiB take more than limits.http_bytes",
    "all-topics": "a subscribe of 1,000 new names holds its shard for some milliseconds",
    "presence-storm": "joins and leaves that many watch are not coalesced: others wait for them",
    "replay-cursors": "the cursors of a session are in no account: 1 MiB each for 19,500 topics",
    "inflating-echoes": "an echo may come compressed, and is charged by its bytes on the wire",
    "lines-of-nothing": "a batch goes on after its bucket is empty",
    "full-inbox": "room in an inbox goes to whoever looks first",
    "many-gaps": "gaps are in no account",
}
