//! Tokens and keys that are accepted, and the many that are refused (PROTOCOL sections 3, 6 and 8).

use std::sync::Arc;
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use jsonwebtoken::{Algorithm, EncodingKey, crypto};
use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::clock::Timestamp;
use crate::config::{GrantLists, KeyMaterial, Problem, TokenKey};
use crate::topic_name::{Pattern, Scope, TopicName};

const NOW: u64 = 1_732_233_600;
const SECRET: &str = "a secret of more than thirty-two bytes";
const RSA: &str = include_str!("testdata/rsa.pem");
const RSA_PUBLIC: &str = include_str!("testdata/rsa.pub.pem");
const EC: &str = include_str!("testdata/ec-p256.pem");
const EC_PUBLIC: &str = include_str!("testdata/ec-p256.pub.pem");
const ED: &str = include_str!("testdata/ed.pem");
const ED_PUBLIC: &str = include_str!("testdata/ed.pub.pem");

fn lists(subscribe: &[&str], publish: &[&str]) -> GrantLists {
    let parse = |list: &[&str]| list.iter().map(|text| Scope::parse(text).unwrap()).collect();
    GrantLists { subscribe: parse(subscribe), publish: parse(publish) }
}

fn secret_key(secret: &str) -> TokenKey {
    KeyMaterial::Secret { algorithm: "HS256".into(), secret: secret.into() }.into()
}

fn public_key(algorithm: &str, pem: &str) -> TokenKey {
    KeyMaterial::PublicKey { algorithm: Some(algorithm.into()), pem: pem.into() }.into()
}

fn api_key(name: &str, key: &str, publish: &[&str]) -> config::ApiKey {
    config::ApiKey { name: name.into(), key: key.into(), grants: lists(&[], publish), admin: false, commands_per_second: None }
}

fn settings(keys: Vec<TokenKey>) -> config::Auth {
    config::Auth {
        anonymous: Some(lists(&["quotes.>"], &[])),
        keys,
        api_keys: vec![api_key("feed", "feed-key", &["quotes.>"])],
        ..config::Auth::default()
    }
}

fn clock() -> Clock {
    Clock::by_hand(Timestamp(NOW * 1_000))
}

fn auth(keys: Vec<TokenKey>) -> Auth {
    Auth::new(&settings(keys), clock()).unwrap()
}

/// A token with this header and these claims as text, signed by `key` whatever the header says.
fn signed_text(head: &str, claims: &str, algorithm: Algorithm, key: &EncodingKey) -> String {
    let message = format!("{}.{}", URL_SAFE_NO_PAD.encode(head), URL_SAFE_NO_PAD.encode(claims));
    let signature = crypto::sign(message.as_bytes(), key, algorithm).unwrap();
    format!("{message}.{signature}")
}

fn hs256(head: &Value, claims: &Value) -> String {
    signed_text(&head.to_string(), &claims.to_string(), Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()))
}

fn with_claims(claims: &str) -> String {
    signed_text(r#"{"alg":"HS256"}"#, claims, Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()))
}

fn good_claims() -> Value {
    json!({"sub": "ann", "exp": NOW + 60, "subscribe": ["chat.>"], "publish": ["chat.lobby"]})
}

fn topic(text: &str) -> TopicName {
    TopicName::parse(text).unwrap()
}

fn pattern(text: &str) -> Pattern {
    Pattern::parse(text).unwrap()
}

/// PROTOCOL 8: `sub`, `exp` and the grants, with the grants of everybody added.
#[test]
fn a_valid_token_gives_user_and_grants() {
    let identity = auth(vec![secret_key(SECRET)]).identify(&hs256(&json!({"alg": "HS256", "typ": "JWT"}), &good_claims())).unwrap();
    assert_eq!((identity.user.as_deref(), identity.expires, identity.admin), (Some("ann"), Some(NOW + 60), false));
    assert!(identity.grants.may_subscribe(&pattern("chat.*")) && identity.grants.may_publish(&topic("chat.lobby")));
    assert!(identity.grants.may_subscribe(&pattern("quotes.>")), "everybody's");
    assert!(!identity.grants.may_publish(&topic("chat.other")) && !identity.grants.may_subscribe(&pattern(">")));
}

/// PROTOCOL 3: `user` is null for the anonymous, and Centrifugo's backends sign an empty `sub` for them.
#[test]
fn an_empty_sub_is_nobody() {
    let token = hs256(&json!({"alg": "HS256"}), &json!({"sub": "", "exp": NOW + 60}));
    let identity = auth(vec![secret_key(SECRET)]).identify(&token).unwrap();
    assert_eq!((identity.user.as_deref(), identity.expires), (None, Some(NOW + 60)));
}

/// Other valid claims: a fraction (RFC 7519 §2), the gateway's audience, unknown claims, no grants.
#[test]
fn unusual_claims_that_are_accepted() {
    let auth = auth(vec![secret_key(SECRET)]);
    for more in [r#""exp":1732233660.5"#, r#""exp":1e300"#, r#""exp":9999999999,"aud":"belfry""#] {
        let token = with_claims(&format!(r#"{{"sub":"ann","iat":"x","nbf":1732233600.25,{more}}}"#));
        assert!(auth.identify(&token).is_ok(), "{more}");
    }
    let both = hs256(
        &json!({"alg": "HS256", "jku": "https://a.example/", "x5u": 7, "jwk": {}}),
        &json!({"sub": "a", "exp": NOW + 1, "aud": ["x", "belfry"]}),
    );
    assert!(auth.identify(&both).is_ok());
}

/// Each of these tokens is refused as `token_invalid`, except those that have only expired.
#[test]
fn forty_bad_tokens() {
    let jwks = format!(r#"{{"keys":[{}]}}"#, jwk_of_ed("one"));
    let auth = auth(vec![
        secret_key(SECRET),
        public_key("RS256", RSA_PUBLIC),
        public_key("ES256", EC_PUBLIC),
        KeyMaterial::Jwks { json: jwks }.into(),
    ]);
    let bad = bad_shapes().into_iter().chain(bad_heads()).chain(bad_claims()).collect::<Vec<_>>();
    assert!(bad.len() >= 40, "{}", bad.len());
    for (what, token) in bad {
        let refused = auth.identify(&token).map(|identity| identity.user.clone()).unwrap_err();
        assert!(matches!(refused, AuthError::Invalid(_)), "{what}: {refused}");
    }
    for exp in ["1732233600", "1732233599.9", "0", "-1", "-1e300"] {
        let token = with_claims(&format!(r#"{{"sub":"ann","exp":{exp}}}"#));
        assert_eq!(auth.identify(&token).unwrap_err(), AuthError::Expired, "{exp}");
    }
}

fn bad_shapes() -> Vec<(&'static str, String)> {
    let good = hs256(&json!({"alg": "HS256"}), &good_claims());
    let (message, signature) = good.rsplit_once('.').unwrap();
    let claims = message.split_once('.').unwrap().1;
    let other = EncodingKey::from_secret(b"another secret");
    let plain = good_claims().to_string();
    vec![
        ("empty", String::new()),
        ("one part", "abc".into()),
        ("two parts", message.to_owned()),
        ("four parts", format!("{good}.x")),
        ("only dots", "..".into()),
        ("not base64", format!("a$b.{claims}.{signature}")),
        ("padded base64", format!("{message}.{signature}=")),
        ("standard base64", format!("{message}.{}", "+/".repeat(20))),
        ("white space", format!("{good} ")),
        ("a line end", format!("{good}\n")),
        ("no signature", format!("{message}.")),
        ("cut signature", good[..good.len() - 2].to_owned()),
        ("a megabyte", format!("{message}.{}", "A".repeat(1 << 20))),
        ("past 8 KiB, well signed", hs256(&json!({"alg": "HS256"}), &json!({"sub": "a".repeat(8_192), "exp": NOW + 60}))),
        ("other secret", signed_text(r#"{"alg":"HS256"}"#, &plain, Algorithm::HS256, &other)),
        (
            "changed claims",
            format!("{}.{}.{signature}", message.split_once('.').unwrap().0, URL_SAFE_NO_PAD.encode(r#"{"sub":"eve","exp":9999999999}"#)),
        ),
        ("part of an API key", "feed-ke".into()),
        ("more than an API key", "feed-key2".into()),
    ]
}

fn bad_heads() -> Vec<(&'static str, String)> {
    let claims = good_claims();
    let plain = claims.to_string();
    let unsigned = |alg: &str| format!("{}.{}.", URL_SAFE_NO_PAD.encode(format!(r#"{{"alg":"{alg}"}}"#)), URL_SAFE_NO_PAD.encode(&plain));
    let with_public_key = EncodingKey::from_secret(RSA_PUBLIC.as_bytes());
    let ec = EncodingKey::from_ec_pem(EC.as_bytes()).unwrap();
    let ed = EncodingKey::from_ed_pem(ED.as_bytes()).unwrap();
    let rsa = EncodingKey::from_rsa_pem(RSA.as_bytes()).unwrap();
    vec![
        ("none", unsigned("none")),
        ("None", unsigned("None")),
        ("no alg", hs256(&json!({"typ": "JWT"}), &claims)),
        ("alg null", hs256(&json!({"alg": null}), &claims)),
        (
            "alg twice",
            signed_text(r#"{"alg":"none","alg":"HS256"}"#, &plain, Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes())),
        ),
        ("head is an array", signed_text(r#"["HS256",null,true]"#, &plain, Algorithm::HS256, &EncodingKey::from_secret(SECRET.as_bytes()))),
        ("RS to HS with the public key", signed_text(r#"{"alg":"HS256"}"#, &plain, Algorithm::HS256, &with_public_key)),
        ("HS signature called RS", signed_text(r#"{"alg":"RS256"}"#, &plain, Algorithm::HS256, &with_public_key)),
        (
            "HS384 with a secret for HS256",
            signed_text(r#"{"alg":"HS384"}"#, &plain, Algorithm::HS384, &EncodingKey::from_secret(SECRET.as_bytes())),
        ),
        ("RS512 with a key for RS256", signed_text(r#"{"alg":"RS512"}"#, &plain, Algorithm::RS512, &rsa)),
        ("PS256 with a key for RS256", signed_text(r#"{"alg":"PS256"}"#, &plain, Algorithm::PS256, &rsa)),
        ("ES384 with a key for ES256", signed_text(r#"{"alg":"ES384"}"#, &plain, Algorithm::ES256, &ec)),
        ("EdDSA with another kid", signed_text(r#"{"alg":"EdDSA","kid":"two"}"#, &plain, Algorithm::EdDSA, &ed)),
        ("kid is a path", signed_text(r#"{"alg":"EdDSA","kid":"../../../dev/null"}"#, &plain, Algorithm::EdDSA, &ed)),
        ("kid is a number", signed_text(r#"{"alg":"EdDSA","kid":1}"#, &plain, Algorithm::EdDSA, &ed)),
        ("crit", hs256(&json!({"alg": "HS256", "crit": ["exp"]}), &claims)),
        ("crit b64", hs256(&json!({"alg": "HS256", "b64": false, "crit": ["b64"]}), &claims)),
        ("crit null", hs256(&json!({"alg": "HS256", "crit": null}), &claims)),
    ]
}

fn bad_claims() -> Vec<(&'static str, String)> {
    let texts = [
        ("no exp", r#"{"sub":"ann"}"#),
        ("exp null", r#"{"sub":"ann","exp":null}"#),
        ("exp string", r#"{"sub":"ann","exp":"9999999999"}"#),
        ("exp past all numbers", r#"{"sub":"ann","exp":1e999}"#),
        ("exp twice", r#"{"sub":"ann","exp":1,"exp":9999999999}"#),
        ("nbf ahead", r#"{"sub":"ann","exp":9999999999,"nbf":1732233606}"#),
        ("nbf string", r#"{"sub":"ann","exp":9999999999,"nbf":"0"}"#),
        ("aud", r#"{"sub":"ann","exp":9999999999,"aud":"shop"}"#),
        ("aud list", r#"{"sub":"ann","exp":9999999999,"aud":["shop"]}"#),
        ("no sub", r#"{"exp":9999999999}"#),
        ("sub number", r#"{"sub":7,"exp":9999999999}"#),
        ("subscribe string", r#"{"sub":"ann","exp":9999999999,"subscribe":"chat.>"}"#),
        ("subscribe numbers", r#"{"sub":"ann","exp":9999999999,"subscribe":[1]}"#),
        ("bad pattern", r#"{"sub":"ann","exp":9999999999,"publish":["a..b"]}"#),
        ("bad tail", r#"{"sub":"ann","exp":9999999999,"subscribe":["a.>.b"]}"#),
        ("claims not an object", "[]"),
        ("claims not JSON", "sub=ann"),
    ];
    texts.into_iter().map(|(what, text)| (what, with_claims(text))).collect()
}

/// The reason names the invalid pattern, so that the issuer can correct it.
#[test]
fn a_bad_pattern_is_named() {
    let token = with_claims(r#"{"sub":"ann","exp":9999999999,"publish":["a..b"]}"#);
    let refused = auth(vec![secret_key(SECRET)]).identify(&token).unwrap_err().to_string();
    assert!(refused.contains("`publish`") && refused.contains("a..b"), "{refused}");
}

/// PROTOCOL 8: `belfry token` signs with the algorithm of the key's type, and the public key verifies the token.
#[test]
fn minted_tokens_are_accepted() {
    let grants = lists(&["a.>"], &["a.b"]);
    let keys = [
        (SigningKey::Secret(SECRET), secret_key(SECRET)),
        (SigningKey::Pem(RSA), public_key("RS256", RSA_PUBLIC)),
        (SigningKey::Pem(EC), public_key("ES256", EC_PUBLIC)),
        (SigningKey::Pem(ED), public_key("EdDSA", ED_PUBLIC)),
    ];
    for (signing, verifying) in keys {
        let token = mint(signing, "ann", &grants, Duration::from_secs(3_600), &clock()).unwrap();
        let identity = auth(vec![verifying]).identify(&token).unwrap();
        assert_eq!((identity.user.as_deref(), identity.expires), (Some("ann"), Some(NOW + 3_600)));
        assert!(identity.grants.may_publish(&topic("a.b")));
    }
}

#[test]
fn keys_that_cannot_sign_are_told() {
    let mint = |key| mint(key, "ann", &GrantLists::default(), Duration::from_secs(60), &clock()).unwrap_err().to_string();
    assert!(mint(SigningKey::Secret("")).contains("empty"));
    assert!(mint(SigningKey::Pem(ED_PUBLIC)).contains("a public one"));
    assert!(mint(SigningKey::Pem(include_str!("testdata/ec-p256.sec1.pem"))).contains("pkcs8"));
    assert!(mint(SigningKey::Pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")).contains("can't sign"));
    assert!(mint(SigningKey::Pem("hello")).contains("not PEM"));
}

/// A key that can't verify is found at the start. The error has its place, and what is allowed there.
#[test]
fn keys_that_cannot_verify_are_told() {
    let short = include_str!("testdata/rsa-1024.pub.pem");
    let p384 = include_str!("testdata/ec-p384.pub.pem");
    let jwks = |json: &str| TokenKey::from(KeyMaterial::Jwks { json: json.into() });
    let bad = [
        (KeyMaterial::Secret { algorithm: "RS256".into(), secret: "x".into() }.into(), "HS256, HS384 or HS512"),
        (secret_key(""), "32 random bytes"),
        (public_key("HS256", RSA_PUBLIC), "one for RS256"),
        (public_key("RS256", RSA), "private key"),
        (public_key("RS256", EC_PUBLIC), "one for ES256"),
        (public_key("ES256", ED_PUBLIC), "one for EdDSA"),
        (public_key("EdDSA", RSA_PUBLIC), "one for RS256"),
        (public_key("RS256", short), "2,048"),
        (public_key("ES256", p384), "P-256"),
        (public_key("ES256", "hello"), "BEGIN PUBLIC KEY"),
        (jwks("{}"), "Key Set"),
        (jwks(r#"{"keys":[]}"#), "no key"),
        (jwks(r#"{"keys":[{"kty":"oct","k":"c2VjcmV0"},{"kty":"RSA","use":"enc","n":"AQAB","e":"AQAB"}]}"#), "no key"),
        (jwks(r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"}]}"#), "Ed25519"),
        (jwks(r#"{"keys":[{"kty":"RSA","n":"AQAB","e":"AQAB"}]}"#), "2,048"),
        (jwks(r#"{"keys":[{"kty":"EC","crv":"P-256","x":"AAAA","y":"AAAA"}]}"#), "P-256"),
    ];
    for (key, remedy) in bad {
        let Problem(problem) = Auth::new(&settings(vec![key]), clock()).unwrap_err();
        assert!(problem.starts_with("auth.keys[0]") && problem.contains(remedy), "{problem:?} should say {remedy:?}");
    }
}

/// PROTOCOL 8: an error lists all problems, also those within a set of keys.
#[test]
fn every_bad_key_is_told() {
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"},7]}"#.into();
    let keys = vec![secret_key(""), secret_key(SECRET), public_key("RS256", RSA), KeyMaterial::Jwks { json: set }.into()];
    let places: Vec<_> = check(&settings(keys)).into_iter().map(|Problem(text)| text.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(places, ["auth.keys[0].secret", "auth.keys[2].public_key", "auth.keys[3].jwks:", "auth.keys[3].jwks:"]);
}

/// The Ed25519 test key as a JWK: the last 32 bytes of its DER are the key.
fn jwk_of_ed(kid: &str) -> String {
    let base64: String = ED_PUBLIC.lines().filter(|line| !line.starts_with('-')).collect();
    let der = base64::engine::general_purpose::STANDARD.decode(base64).unwrap();
    json!({"kty": "OKP", "crv": "Ed25519", "kid": kid, "x": URL_SAFE_NO_PAD.encode(&der[der.len() - 32..])}).to_string()
}

/// PROTOCOL 8: in a JWKS file `kid` selects the key. A token without one is tried with each key. Keys for other purposes are ignored.
#[test]
fn a_key_set_is_selected_from_by_kid() {
    let json = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-521","kid":"odd"}},{}]}}"#, jwk_of_ed("one"));
    let auth = auth(vec![KeyMaterial::Jwks { json }.into()]);
    let ed = EncodingKey::from_ed_pem(ED.as_bytes()).unwrap();
    for head in [r#"{"alg":"EdDSA","kid":"one"}"#, r#"{"alg":"EdDSA"}"#] {
        assert!(auth.identify(&signed_text(head, &good_claims().to_string(), Algorithm::EdDSA, &ed)).is_ok(), "{head}");
    }
}

#[test]
fn an_api_key_is_its_entry() {
    let identity = auth(vec![]).identify("feed-key").unwrap();
    assert_eq!((identity.user.as_deref(), identity.key.as_deref(), identity.expires), (Some("feed"), Some("feed"), None));
    assert!(identity.grants.may_publish(&topic("quotes.AAPL")) && identity.grants.may_subscribe(&pattern("quotes.*")));
    assert!(!format!("{identity:?}").contains("feed-key"), "a log must not hold the key");
}

/// PROTOCOL 8: a reload changes grants at once, and credentials of a removed key are refused.
#[test]
fn renewing_after_a_reload() {
    let auth = auth(vec![secret_key(SECRET)]);
    let token = auth.identify(&hs256(&json!({"alg": "HS256"}), &good_claims())).unwrap();
    let feed = auth.identify("feed-key").unwrap();
    let nobody = auth.anonymous().unwrap();

    let mut changed = settings(vec![public_key("EdDSA", ED_PUBLIC), secret_key(SECRET)]);
    changed.anonymous = Some(lists(&["news.>"], &[]));
    changed.api_keys = vec![config::ApiKey { admin: true, ..api_key("renamed", "feed-key", &["news.>"]) }];
    auth.reload(&changed).unwrap();
    let token = auth.renew(&token).unwrap();
    assert!(token.grants.may_subscribe(&pattern("news.*")) && token.grants.may_publish(&topic("chat.lobby")));
    assert!(!token.grants.may_subscribe(&pattern("quotes.AAPL")));
    let feed = auth.renew(&feed).unwrap();
    assert!(feed.admin && feed.user.as_deref() == Some("renamed") && !feed.grants.may_publish(&topic("quotes.AAPL")));
    assert!(auth.renew(&nobody).unwrap().grants.may_subscribe(&pattern("news.*")));

    assert!(auth.reload(&settings(vec![secret_key("")])).is_err());
    assert!(auth.renew(&token).is_ok(), "a bad configuration changes nothing");

    auth.reload(&config::Auth {
        keys: vec![secret_key("another secret")],
        api_keys: vec![api_key("feed", "new", &[])],
        ..config::Auth::default()
    })
    .unwrap();
    assert!(matches!(auth.renew(&token), Err(AuthError::Invalid(_))));
    assert!(matches!(auth.renew(&feed), Err(AuthError::Invalid(_))));
    assert!(auth.anonymous().is_none());
    assert!(!auth.renew(&nobody).unwrap().grants.may_subscribe(&pattern("news.*")));
}

/// PROTOCOL 2 and 8: `{user}` in every kind of grant, and the grants of everybody with a user; also after a reload.
#[test]
fn grants_of_a_user() {
    let mut granted = settings(vec![secret_key(SECRET)]);
    granted.require_exp = false;
    granted.authenticated = lists(&["#{user}", "news.>"], &["said.{user}"]);
    granted.anonymous = Some(lists(&["quotes.>", "hello.{user}"], &[]));
    granted.api_keys = vec![config::ApiKey { grants: lists(&["desk.{user}"], &[]), ..api_key("feed", "feed-key", &[]) }];
    let auth = Auth::new(&granted, clock()).unwrap();
    let may = |identity: &Identity, names: &[&str]| names.iter().all(|name| identity.grants.may_subscribe(&pattern(name)));
    let is_barred = |identity: &Identity, names: &[&str]| names.iter().all(|name| !identity.grants.may_subscribe(&pattern(name)));

    let ann = auth.identify(&with_claims(r#"{"sub":"ann","subscribe":["personal:#{user}","chat:*"]}"#)).unwrap();
    for ann in [&ann, &auth.renew(&ann).unwrap()] {
        assert!(may(ann, &["#ann", "news.a", "hello.ann", "personal:#ann", "chat:a", "quotes.AAPL"]));
        assert!(is_barred(ann, &["#bob", "#{user}", "hello.bob", "personal:#bob", "chat:a.b", "chat:", "desk.ann"]));
        assert!(ann.grants.may_publish(&topic("said.ann")) && !ann.grants.may_publish(&topic("said.bob")));
    }
    let feed = auth.identify("feed-key").unwrap();
    assert!(may(&feed, &["desk.feed", "#feed", "news.a"]) && is_barred(&feed, &["desk.ann", "#ann"]));
    let nobody = auth.identify(&with_claims(r#"{"subscribe":["own.{user}","own.a"]}"#)).unwrap();
    for nobody in [&nobody, &auth.identify(&with_claims(r#"{"sub":"","subscribe":["own.{user}","own.a"]}"#)).unwrap()] {
        assert!(may(nobody, &["own.a", "quotes.a"]) && is_barred(nobody, &["own.{user}", "own.b", "news.a", "#", "hello.a"]));
    }
    assert!(is_barred(&auth.anonymous().unwrap(), &["hello.{user}", "hello.a", "news.a"]));
    let dotted = auth.identify(&with_claims(r#"{"sub":"a.>","subscribe":["own.{user}"]}"#)).unwrap();
    assert!(may(&dotted, &["news.a"]) && is_barred(&dotted, &["own.a", "own.a.b", "hello.a", "#a"]));

    granted.authenticated = lists(&["late.{user}"], &[]);
    granted.anonymous = Some(lists(&["hello.{user}"], &[]));
    auth.reload(&granted).unwrap();
    let ann = auth.renew(&ann).unwrap();
    assert!(may(&ann, &["late.ann", "hello.ann", "personal:#ann"]) && is_barred(&ann, &["#ann", "news.a", "late.bob"]));
    assert!(auth.anonymous().is_none(), "no grant of everybody's is left for the anonymous");
}

/// PROTOCOL 2: a grant that spells the `$` covers publishing to `$` names, except the gateway's own.
#[test]
fn names_with_a_dollar_need_a_grant_that_spells_it() {
    let auth = auth(vec![secret_key(SECRET)]);
    let granted = |claims: &str| Arc::clone(&auth.identify(&with_claims(claims)).unwrap().grants);
    let all = granted(r#"{"sub":"$own","exp":9999999999,"subscribe":[">","*.a","{user}.>"],"publish":[">","{user}.>"]}"#);
    assert!(!all.may_publish(&topic("$own.a")) && !all.may_subscribe(&pattern("$own.a")));
    let own = granted(r#"{"sub":"ann","exp":9999999999,"subscribe":["$own.>"],"publish":["$own.>","$belfry.>"]}"#);
    assert!(own.may_publish(&topic("$own.a")) && own.may_subscribe(&pattern("$own.*")));
    assert!(!own.may_publish(&topic("$belfry.stats")) && !own.may_publish(&topic("$belfry")));
}

/// A token expires at its `exp`, also for a renewal after a reload.
#[test]
fn a_token_ends_at_its_exp() {
    let clock = clock();
    let auth = Auth::new(&settings(vec![secret_key(SECRET)]), clock.clone()).unwrap();
    let token = hs256(&json!({"alg": "HS256"}), &good_claims());
    let identity = auth.identify(&token).unwrap();
    clock.advance(Duration::from_millis(59_999));
    assert!(auth.identify(&token).is_ok() && auth.renew(&identity).is_ok());
    clock.advance(Duration::from_millis(1));
    assert_eq!(auth.identify(&token).unwrap_err(), AuthError::Expired);
    assert_eq!(auth.renew(&identity).unwrap_err(), AuthError::Expired);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Grants cover exactly what their patterns match: those of the token and those of everybody.
    #[test]
    fn grants_cover_their_patterns_and_no_more(
        everybodys in prop::collection::vec("([ab*]\\.){0,2}[ab*>]", 0..3),
        own in prop::collection::vec("([ab*]\\.){0,2}[ab*>]", 0..3),
        asked in "([ab]\\.){0,3}[ab]",
        wide in "([ab*]\\.){0,2}[ab*>]",
    ) {
        let texts = |list: &[String]| list.iter().map(|text| Scope::parse(text).unwrap()).collect::<Vec<_>>();
        let both = |list: &[String]| GrantLists { subscribe: texts(list), publish: texts(list) };
        let settings = config::Auth { anonymous: Some(both(&everybodys)), keys: vec![secret_key(SECRET)], ..config::Auth::default() };
        let auth = Auth::new(&settings, clock()).unwrap();
        let token = mint(SigningKey::Secret(SECRET), "ann", &both(&own), Duration::from_secs(9), &clock()).unwrap();
        let grants = Arc::clone(&auth.identify(&token).unwrap().grants);
        let all: Vec<_> = texts(&everybodys).into_iter().chain(texts(&own)).collect();
        prop_assert_eq!(grants.may_publish(&topic(&asked)), all.iter().any(|one| one.matches(&topic(&asked))));
        prop_assert_eq!(grants.may_subscribe(&pattern(&wide)), all.iter().any(|one| one.covers(&pattern(&wide))));
        prop_assert!(!grants.may_publish(&topic("$belfry.stats")));
    }

    /// No credential ends the process.
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        let auth = auth(vec![secret_key(SECRET)]);
        prop_assert!(auth.identify(&text).is_err() && auth.identify(&parts).is_err());
    }
}

/// PROTOCOL 8: `audience` and `issuer` hold for all keys. A key may have its own; its tokens must then have an `aud`.
#[test]
fn audience_and_issuer_are_checked() {
    let named = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    let refused = |settings: &config::Auth, claims: &str| {
        let token = with_claims(&format!(r#"{{"sub":"ann","exp":{}{claims}}}"#, NOW + 60));
        Auth::new(settings, clock()).unwrap().identify(&token).is_err()
    };
    let all = config::Auth {
        audience: named(&["belfry", "push"]),
        issuer: Some("https://id.example".to_owned()),
        keys: vec![secret_key(SECRET)],
        ..config::Auth::default()
    };
    let ours = r#","iss":"https://id.example""#;
    for (claims, is_refused) in
        [("", false), (r#","aud":"push""#, false), (r#","aud":["x","belfry"]"#, false), (r#","aud":"x""#, true), (r#","aud":[]"#, true)]
    {
        assert_eq!(refused(&all, &format!("{ours}{claims}")), is_refused, "{claims}");
        assert!(refused(&all, claims), "without the issuer: {claims}");
    }
    assert!(refused(&all, r#","iss":["https://id.example"]"#));
    let key = TokenKey { audience: Some(named(&["desk"])), issuer: Some("desk.example".to_owned()), ..secret_key(SECRET) };
    let own = config::Auth { keys: vec![key], ..all };
    for (claims, is_refused) in [
        (r#","iss":"desk.example","aud":"desk""#, false),
        (r#","iss":"desk.example","aud":"belfry""#, true),
        (r#","iss":"desk.example""#, true),
        (r#","iss":"https://id.example","aud":"desk""#, true),
    ] {
        assert_eq!(refused(&own, claims), is_refused, "{claims}");
    }
}

/// PROTOCOL 8: with `require_exp` off, tokens without `exp` and `sub` are accepted. Claims that they have must still be valid.
#[test]
fn tokens_without_exp_and_sub_may_be_accepted() {
    let settings = config::Auth { require_exp: false, ..settings(vec![secret_key(SECRET)]) };
    let auth = Auth::new(&settings, clock()).unwrap();
    let identity = auth.identify(&with_claims(r#"{"subscribe":["chat.>"]}"#)).unwrap();
    assert_eq!((identity.user.as_deref(), identity.expires), (None, None));
    assert!(identity.grants.may_subscribe(&pattern("chat.>")));
    assert_eq!(auth.renew(&identity).unwrap().expires, None);
    assert_eq!(auth.identify(&with_claims(r#"{"sub":"ann","exp":1}"#)).unwrap_err(), AuthError::Expired);
    for claims in [r#"{"sub":7}"#, r#"{"exp":"x"}"#, r#"{"sub":null,"exp":[]}"#] {
        assert!(matches!(auth.identify(&with_claims(claims)).unwrap_err(), AuthError::Invalid(_)), "{claims}");
    }
}
