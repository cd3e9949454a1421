"""All programs by name."""

import bookkeeping
import ceiling
import floods
import gates
import memory
import reads
import shares
import subscriptions

ATTACKS = {
    "replaced-options": subscriptions.replaced_options,
    "many-matches": subscriptions.many_matches,
    "many-patterns": subscriptions.many_patterns,
    "much-since": subscriptions.much_since,
    "held-messages": memory.held_messages,
    "unread-answers": memory.unread_answers,
    "held-bodies": memory.held_bodies,
    "all-topics": shares.all_topics,
    "all-topics-over-http": shares.all_topics_over_http,
    "crowded-out": shares.crowded_out,
    "silent-connections": shares.silent_connections,
    "idle-connections": shares.idle_connections,
    "presence-storm": floods.presence_storm,
    "watched-command": floods.watched_command,
    "replay-cursors": memory.replay_cursors,
    "inflating-echoes": floods.inflating_echoes,
    "lines-of-nothing": reads.lines_of_nothing,
    "wrong-keys": reads.wrong_keys,
    # A GET costs 17 commands, and a HEAD, which has no body, 1.
    "history-reads": reads.history_reads("GET", 17),
    "history-heads": reads.history_reads("HEAD", 1),
    "presence-reads": reads.presence_reads,
    "bad-tokens": reads.bad_tokens,
    "short-streams": reads.short_streams,
    "chosen-address": gates.chosen_address,
    "told-secrets": gates.told_secrets,
    "lost-tls": gates.lost_tls,
    "weak-keys": gates.weak_keys,
    "rebound-names": gates.rebound_names,
    "header-fields": gates.header_fields,
    "empty-names": gates.empty_names,
    "transfer-codings": gates.transfer_codings,
    "full-inbox": floods.full_inbox,
    "half-sent-frames": memory.half_sent_frames,
    "paced-copies": memory.paced_copies,
    "slowly-read-answer": reads.slowly_read_answer,
    "stale-gauges": bookkeeping.stale_gauges,
    "trimmed-histories": bookkeeping.trimmed_histories,
    "small-subscribes": subscriptions.small_subscribes,
    "long-subscribes": subscriptions.long_subscribes,
    "returning-sdks": subscriptions.returning_sdks,
    "members-at-once": reads.members_at_once,
    "many-gaps": bookkeeping.many_gaps,
    "many-rules": bookkeeping.many_rules,
    "lingering-places": shares.lingering_places,
} | {f"ceiling-{name}": fill for name, fill in ceiling.ACCOUNTS.items()}
