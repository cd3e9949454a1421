//! Why sessions are not subscribed: the reasons of the server, and the remedy.

use crate::engine::Findings;

/// The reasons of the server, and a remedy if one is known.
pub fn explanation(findings: &Findings) -> String {
    let Findings { refusals, faults, errors, closes, .. } = findings;
    let reasons = refusals.iter().chain(faults).map(|(reason, count)| format!("{count} × {reason}"));
    let errors = errors.iter().map(|(code, (count, words))| format!("{count} × {code}: {words}"));
    let closes = closes.iter().map(|(code, count)| format!("{count} × closed with {code}"));
    let reasons: Vec<String> = reasons.chain(errors).chain(closes).collect();
    let reasons = if reasons.is_empty() { "the server gave no reason".to_owned() } else { reasons.join(", ") };
    reasons + remedy(findings)
}

fn remedy(findings: &Findings) -> &'static str {
    let is_refused_with = |status: &str| findings.refusals.keys().any(|reason| reason.starts_with(status));
    let is_closed_with = |code: &u16| findings.closes.contains_key(code);
    if is_refused_with("429") {
        "; the gateway holds each address to `limits.sessions_per_address`: spread the sessions with --spread, raise the key, or let --start start a gateway"
    } else if is_refused_with("401") || is_refused_with("403") || [1008, 4001, 4002].iter().any(is_closed_with) {
        "; is the --token right?"
    } else if findings.errors.contains_key("not_allowed") {
        "; the grants must cover --prefix: give a --token or another --prefix, or let --start start a gateway"
    } else {
        ""
    }
}
