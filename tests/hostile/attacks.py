"""All programs by name, each with its row in the table of what was observed."""

import bookkeeping
import ceiling
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
    "watched-command": ("11", floods.watched_command),
    "replay-cursors": ("12", memory.replay_cursors),
    "inflating-echoes": ("13", floods.inflating_echoes),
    "lines-of-nothing": ("14", reads.lines_of_nothing),
    "wrong-keys": ("15", reads.wrong_keys),
    # There are 200 in the bucket, and 100 more a second: a GET costs 17, a HEAD, which makes no body, 1.
    "history-reads": ("15", reads.history_reads("GET", 45)),
    "history-heads": ("15", reads.history_reads("HEAD", 600)),
    "presence-reads": ("15", reads.presence_reads),
    "bad-tokens": ("15", reads.bad_tokens),
    "short-streams": ("15", reads.short_streams),
    "chosen-address": ("16", gates.chosen_address),
    "told-secrets": ("17", gates.told_secrets),
    "lost-tls": ("18", gates.lost_tls),
    "weak-keys": ("19", gates.weak_keys),
    "rebound-names": ("20", gates.rebound_names),
    "header-fields": ("21", gates.header_fields),
    "empty-names": ("22", gates.empty_names),
    "transfer-codings": ("23", gates.transfer_codings),
    "full-inbox": ("24", floods.full_inbox),
    "half-sent-frames": ("read", memory.half_sent_frames),
    "paced-copies": ("25", memory.paced_copies),
    "slowly-read-answer": ("26", reads.slowly_read_answer),
    "stale-gauges": ("read", bookkeeping.stale_gauges),
    "trimmed-histories": ("read", bookkeeping.trimmed_histories),
    "small-subscribes": ("read", subscriptions.small_subscribes),
    "returning-sdks": ("read", subscriptions.returning_sdks),
    "members-at-once": ("read", reads.members_at_once),
    "bursts-of-commands": ("read", floods.bursts_of_commands),
    "many-gaps": ("read", bookkeeping.many_gaps),
    "many-rules": ("read", bookkeeping.many_rules),
    "lingering-places": ("read", shares.lingering_places),
} | {f"ceiling-{name}": ("P5", fill) for name, fill in ceiling.ACCOUNTS.items()}
