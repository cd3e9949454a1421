//! Warnings: settings that are valid and probably not intended. `serve` and `check` print them.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::config::auth::{ApiKey, Auth, SECRET_BYTES_ADVISED};
use crate::config::rules::RuleIndex;
use crate::config::settings::Config;

/// The shortest API key without a warning, in bytes.
const API_KEY_BYTES_ADVISED: usize = 20;
/// The smallest number of different bytes in such a key. 20 random hexadecimal digits nearly always have more.
const API_KEY_VARIETY_ADVISED: usize = 8;
/// The permission of everybody to read a file.
const READ_BY_ALL: u32 = 0o004;

impl Config {
    /// Each warning has its key, and what would be better.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        self.weak_secrets(&mut warnings);
        let Auth { anonymous, keys, api_keys, .. } = &self.auth;
        if anonymous.is_none() && keys.is_empty() && api_keys.is_empty() {
            let advice = "write auth.anonymous = { subscribe = [\">\"] }, or keys";
            warnings.push(format!("auth grants nobody anything and has no keys, so that nobody gets in; {advice}"));
        }
        warnings.extend(self.secret_files.iter().filter_map(|file| readable_by_all(file)));
        let open = self.server.listen.iter().find(|address| address.is_open()).filter(|_| self.admin.listen.is_empty());
        if let Some(listen) = open.filter(|_| self.auth.api_keys.iter().any(|key| key.admin)) {
            warnings.push(format!(
                "admin.listen = \"\" lets whoever reaches server.listen = \"{listen}\" try an admin key; give it an address"
            ));
        }
        if self.server.proxy_protocol && self.server.trusted_proxies.is_empty() {
            let advice = "is read from server.trusted_proxies, which names nobody; list the proxies";
            warnings.push(format!("server.proxy_protocol = true {advice}"));
        }
        self.ineffective_rules(&mut warnings);
        self.misplaced_users(&mut warnings);
        warnings
    }

    /// Warns about `{user}` in anonymous grants, which apply to sessions without a user too, and in rules, which have
    /// no user.
    fn misplaced_users(&self, warnings: &mut Vec<String>) {
        let granted = self.auth.anonymous.iter().flat_map(|lists| lists.subscribe.iter().chain(&lists.publish));
        warnings.extend(
            granted
                .filter(|grant| grant.names_user())
                .map(|grant| format!("auth.anonymous grants \"{grant}\", which nobody anonymous gets; put it into auth.authenticated")),
        );
        let rules = self.rules.iter().enumerate().filter_map(|(index, rule)| Some((index, rule.pattern.as_ref()?)));
        warnings.extend(rules.filter(|(_, pattern)| pattern.names_user()).map(|(index, pattern)| {
            format!("topics[{index}].match = \"{pattern}\" matches {{user}} literally, because only grants have users; write a wildcard")
        }));
    }

    fn weak_secrets(&self, warnings: &mut Vec<String>) {
        for (index, key) in self.auth.keys.iter().enumerate() {
            if let Some(secret) = key.secret().filter(|secret| secret.len() < SECRET_BYTES_ADVISED) {
                let bytes = secret.len();
                warnings
                    .push(format!("auth.keys[{index}].secret has {bytes} bytes and may be guessed; use at least {SECRET_BYTES_ADVISED}"));
            }
        }
        warnings.extend(self.auth.api_keys.iter().enumerate().filter_map(|(index, key)| weak_key(index, key)));
    }

    /// Warns about rules that another one covers, and about `last` beyond `history`.
    fn ineffective_rules(&self, warnings: &mut Vec<String>) {
        let (rules, mut earlier_rules) = (self.rules.iter().collect::<Vec<_>>(), RuleIndex::default());
        for (index, rule) in rules.iter().enumerate() {
            if rule.last > rule.history {
                let (last, history) = (rule.last, rule.history);
                warnings.push(format!("topics[{index}].last = {last} asks for more than its history = {history} keeps; raise history"));
            }
            let Some(pattern) = &rule.pattern else { continue };
            let covers = |wide: usize| rules[wide].pattern.as_ref().is_some_and(|wide| wide.covers_all_of(pattern));
            if let Some(earlier) = earlier_rules.first(pattern.as_str(), covers) {
                warnings.push(format!("topics[{index}].match = \"{pattern}\" never rules, for topics[{earlier}] covers it; put it before"));
            }
            earlier_rules.add(index, pattern);
        }
    }
}

fn weak_key(index: usize, key: &ApiKey) -> Option<String> {
    let (bytes, variety) = (key.key.len(), key.key.bytes().collect::<BTreeSet<_>>().len());
    let weakness = if bytes < API_KEY_BYTES_ADVISED {
        format!("{bytes} characters")
    } else if variety < API_KEY_VARIETY_ADVISED {
        format!("{variety} different characters")
    } else {
        return None;
    };
    let power = if key.admin { ", and admin = true gives it the whole gateway" } else { "" };
    Some(format!("auth.api_keys[{index}].key has {weakness} and may be guessed{power}; use 32 random ones"))
}

fn readable_by_all(file: &Path) -> Option<String> {
    let mode = std::fs::metadata(file).ok()?.permissions().mode() & 0o7777;
    let name = file.display();
    (mode & READ_BY_ALL != 0).then(|| format!("{name} holds a secret, and its mode {mode:04o} lets everybody read it; chmod 640 {name}"))
}
