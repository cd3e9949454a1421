//! What holds but is hardly meant: told by `serve` and `check`, and no reason not to start.

use super::auth::TokenKey;
use super::settings::Config;

/// RFC 7518 §3.2: a secret has at least as many bits as its hash; HS256's is the shortest.
const SECRET_BYTES_MIN: usize = 32;

impl Config {
    /// Each with its key and what would be better.
    pub fn warnings(&self) -> Vec<String> {
        let mut warnings = Vec::new();
        for (index, key) in self.auth.keys.iter().enumerate() {
            if let TokenKey::Secret { secret, .. } = key
                && secret.len() < SECRET_BYTES_MIN
            {
                let bytes = secret.len();
                warnings.push(format!("auth.keys[{index}].secret has {bytes} bytes and may be guessed; use at least {SECRET_BYTES_MIN}"));
            }
        }
        let listen = self.server.listen;
        if self.admin.listen.is_none() && !listen.ip().is_loopback() && self.auth.api_keys.iter().any(|key| key.admin) {
            warnings.push(format!(
                "admin.listen = \"\" lets whoever reaches server.listen = \"{listen}\" try an admin key; give it an address"
            ));
        }
        let rules: Vec<_> = self.rules.iter().collect();
        for (index, rule) in rules.iter().enumerate() {
            if rule.last > rule.history {
                let (last, history) = (rule.last, rule.history);
                warnings.push(format!("topics[{index}].last = {last} asks for more than its history = {history} keeps; raise history"));
            }
            let Some(pattern) = &rule.pattern else { continue };
            if let Some(earlier) =
                rules[..index].iter().position(|earlier| earlier.pattern.as_ref().is_some_and(|wide| wide.covers(pattern)))
            {
                warnings.push(format!("topics[{index}].match = \"{pattern}\" never rules, for topics[{earlier}] covers it; put it before"));
            }
        }
        warnings
    }
}
