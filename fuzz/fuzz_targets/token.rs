//! A credential may be any text, and so may what is inside of a token that a known key has signed (PROTOCOL section 8).
//! The input is a credential as it comes; with a line feed in it, the head and the claims of a token, which is then signed.
#![no_main]

use std::sync::{Arc, LazyLock};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use belfry::auth::{Auth, AuthError, Identity};
use belfry::clock::{Clock, Timestamp};
use belfry::config::{self, ApiKey, GrantLists, KeyMaterial};
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use libfuzzer_sys::fuzz_target;

const SECRET: &str = "a secret that is long enough for HS256";
const API_KEY: &str = "an-api-key";
const NOW_SECONDS: u64 = 1_700_000_000;

static AUTH: LazyLock<Auth> = LazyLock::new(|| {
    let api_key = ApiKey { name: "feed".into(), key: API_KEY.into(), grants: GrantLists::default(), admin: true, commands_per_second: None };
    let keys = vec![KeyMaterial::Secret { algorithm: "HS256".into(), secret: SECRET.into() }.into()];
    let settings = config::Auth { keys, api_keys: vec![api_key], ..config::Auth::default() };
    Auth::new(&settings, Clock::by_hand(Timestamp(NOW_SECONDS * 1_000))).expect("both keys are good ones")
});

fuzz_target!(|data: &[u8]| {
    let line_feed = data.iter().position(|&byte| byte == b'\n');
    match line_feed.map(|at| (&data[..at], &data[at + 1..])) {
        Some((head, claims)) => look_into(identify(&signed(head, claims)), head),
        None => {
            let Ok(credential) = str::from_utf8(data) else { return };
            // Nobody signs by chance, so only the key itself is known.
            assert_eq!(identify(credential).is_ok(), credential == API_KEY, "{credential}");
        }
    }
});

fn identify(credential: &str) -> Result<Arc<Identity>, AuthError> {
    AUTH.identify(credential)
}

/// A token whose signature is good, whatever it says of itself.
fn signed(head: &[u8], claims: &[u8]) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let key = EncodingKey::from_secret(SECRET.as_bytes());
    let signature = crypto::sign(message.as_bytes(), &key, Algorithm::HS256).expect("HS256 signs anything");
    format!("{message}.{signature}")
}

fn look_into(identity: Result<Arc<Identity>, AuthError>, head: &[u8]) {
    match identity {
        Ok(identity) => {
            // Nobody has an empty name: an empty `sub` is the anonymous user's.
            assert!(identity.user.as_deref() != Some("") && identity.key.is_none() && !identity.admin, "{identity:?}");
            assert!(identity.expires.is_some_and(|expires| expires > NOW_SECONDS), "{identity:?}");
            assert!(head.windows(5).any(|bytes| bytes == b"HS256" || bytes.contains(&b'\\')), "the head names another algorithm");
            assert!(AUTH.renew(&identity).is_ok_and(|renewed| renewed.expires == identity.expires));
        }
        Err(error) => assert!([4001, 4002].contains(&error.close_code().number()) && !error.to_string().contains(SECRET)),
    }
}
