//! Tests of keys that sign and verify tokens, of sets of keys, and of API keys.

use super::*;

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
fn keys_that_cannot_sign_are_refused() {
    let mint = |key| mint(key, "ann", &GrantLists::default(), Duration::from_secs(60), &clock()).unwrap_err().to_string();
    assert!(mint(SigningKey::Secret("")).contains("empty"));
    assert!(mint(SigningKey::Pem(ED_PUBLIC)).contains("a public one"));
    assert!(mint(SigningKey::Pem(include_str!("../testdata/ec-p256.sec1.pem"))).contains("pkcs8"));
    assert!(mint(SigningKey::Pem("-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n")).contains("can't sign"));
    assert!(mint(SigningKey::Pem("hello")).contains("not PEM"));
}

/// A key that can't verify is refused at the start. The error names the key's entry, and says what is allowed.
#[test]
fn keys_that_cannot_verify_are_refused() {
    let short = include_str!("../testdata/rsa-1024.pub.pem");
    let p384 = include_str!("../testdata/ec-p384.pub.pem");
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
fn every_bad_key_is_reported() {
    let set = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","x":"AAAA"},7]}"#.into();
    let keys = vec![secret_key(""), secret_key(SECRET), public_key("RS256", RSA), KeyMaterial::Jwks { json: set }.into()];
    let places: Vec<_> = check(&settings(keys)).into_iter().map(|Problem(text)| text.split(' ').next().unwrap().to_owned()).collect();
    assert_eq!(places, ["auth.keys[0].secret", "auth.keys[2].public_key", "auth.keys[3].jwks:", "auth.keys[3].jwks:"]);
}

/// PROTOCOL 8: in a JWKS file `kid` selects the key. A token without one is tried with each key. Keys for other
/// purposes are ignored.
#[test]
fn kid_selects_a_key_of_a_set() {
    let json = format!(r#"{{"keys":[{{"kty":"EC","crv":"P-521","kid":"odd"}},{}]}}"#, jwk_of_ed("one"));
    let auth = auth(vec![KeyMaterial::Jwks { json }.into()]);
    let ed = EncodingKey::from_ed_pem(ED.as_bytes()).unwrap();
    for head in [r#"{"alg":"EdDSA","kid":"one"}"#, r#"{"alg":"EdDSA"}"#] {
        assert!(auth.identify(&signed_text(head, &good_claims().to_string(), Algorithm::EdDSA, &ed)).is_ok(), "{head}");
    }
}

#[test]
fn an_api_key_has_the_identity_of_its_entry() {
    let identity = auth(vec![]).identify("feed-key").unwrap();
    assert_eq!((identity.user.as_deref(), identity.key.as_deref(), identity.expires), (Some("feed"), Some("feed"), None));
    assert!(identity.grants.may_publish(&topic("quotes.AAPL")) && identity.grants.may_subscribe(&pattern("quotes.*")));
    assert!(!format!("{identity:?}").contains("feed-key"), "a log must not hold the key");
}
