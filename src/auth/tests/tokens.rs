//! Tests of tokens that are accepted and refused.

use super::*;

/// PROTOCOL 8: the grants are those of the token and those of everybody.
#[test]
fn a_valid_token_gives_user_and_grants() {
    let identity = auth(vec![secret_key(SECRET)]).identify(&hs256(&json!({"alg": "HS256", "typ": "JWT"}), &good_claims())).unwrap();
    assert_eq!((identity.user.as_deref(), identity.expires, identity.admin), (Some("ann"), Some(NOW + 60), false));
    assert!(identity.grants.may_subscribe(&pattern("chat.*")) && identity.grants.may_publish(&topic("chat.lobby")));
    assert!(identity.grants.may_subscribe(&pattern("quotes.>")), "a grant of everybody");
    assert!(!identity.grants.may_publish(&topic("chat.other")) && !identity.grants.may_subscribe(&pattern(">")));
}

/// PROTOCOL 3: the `user` of an anonymous session is null. Backends for Centrifugo sign an empty `sub` for anonymous users.
#[test]
fn an_empty_sub_is_anonymous() {
    let token = hs256(&json!({"alg": "HS256"}), &json!({"sub": "", "exp": NOW + 60}));
    let identity = auth(vec![secret_key(SECRET)]).identify(&token).unwrap();
    assert_eq!((identity.user.as_deref(), identity.expires), (None, Some(NOW + 60)));
}

/// The claims: a time with a fraction (RFC 7519 §2), the gateway's audience, unknown claims, no grants.
#[test]
fn unusual_valid_claims_are_accepted() {
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

/// PROTOCOL 3: `expires` is the token's `exp`. The bug: it was rounded, and replaced by another time if its milliseconds had more than
/// 64 bits.
#[test]
fn expires_is_the_exp_of_the_token() {
    let auth = auth(vec![secret_key(SECRET)]);
    let expires = |claims: &str| auth.identify(&with_claims(&format!(r#"{{"sub":"ann",{claims}}}"#))).unwrap().expires;
    for exp in [9_007_199_254_740_993, 18_446_744_073_709_552, 18_446_744_073_709_553, i64::MAX as u64, u64::MAX] {
        assert_eq!(expires(&format!(r#""exp":{exp}"#)), Some(exp));
        assert_eq!(expires(&format!(r#""exp":9999999999,"expire_at":{exp}"#)), Some(exp));
    }
    assert_eq!(expires(r#""exp":9999999999.75"#), Some(9_999_999_999));
    assert_eq!(expires(r#""exp":9999999999,"expire_at":-1"#), Some(0));
    assert_eq!(expires(r#""exp":9999999999,"expire_at":0.5"#), Some(0));
    assert_eq!(expires(r#""exp":18446744073709551616"#), Some(u64::MAX));
}

/// Each of these tokens is refused as `token_invalid`, except those that have only expired.
#[test]
fn forty_bad_tokens_are_refused() {
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
    let (head, claims) = message.split_once('.').unwrap();
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
        ("changed claims", format!("{head}.{}.{signature}", URL_SAFE_NO_PAD.encode(r#"{"sub":"eve","exp":9999999999}"#))),
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
        ("alg twice", by_secret(r#"{"alg":"none","alg":"HS256"}"#, &plain, Algorithm::HS256)),
        ("head is an array", by_secret(r#"["HS256",null,true]"#, &plain, Algorithm::HS256)),
        ("RS to HS with the public key", signed_text(r#"{"alg":"HS256"}"#, &plain, Algorithm::HS256, &with_public_key)),
        ("HS signature called RS", signed_text(r#"{"alg":"RS256"}"#, &plain, Algorithm::HS256, &with_public_key)),
        ("HS384 with a secret for HS256", by_secret(r#"{"alg":"HS384"}"#, &plain, Algorithm::HS384)),
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
fn an_invalid_pattern_is_named() {
    let token = with_claims(r#"{"sub":"ann","exp":9999999999,"publish":["a..b"]}"#);
    let refused = auth(vec![secret_key(SECRET)]).identify(&token).unwrap_err().to_string();
    assert!(refused.contains("`publish`") && refused.contains("a..b"), "{refused}");
}

/// PROTOCOL 8: `audience` and `issuer` hold for all keys. A key may have its own. Its tokens must then have an `aud`.
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

/// PROTOCOL 8: with `require_exp` off, tokens without `exp` and `sub` are accepted. Claims that they have must still be
/// valid.
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
