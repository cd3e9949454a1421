//! Tests of grants and of expired tokens, also after a reload of the configuration.

use super::*;

/// PROTOCOL 8: a reload changes grants at once, and credentials of a removed key are refused.
#[test]
fn a_reload_changes_grants_and_ends_credentials_of_removed_keys() {
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

/// PROTOCOL 2 and 8: every kind of grant may have `{user}`. A session with a user also has the `authenticated` grants.
/// Both hold after a reload too.
#[test]
fn user_templates_become_grants_of_the_user() {
    let mut granted = settings(vec![secret_key(SECRET)]);
    granted.require_exp = false;
    granted.authenticated = lists(&["#{user}", "news.>"], &["said.{user}"]);
    granted.anonymous = Some(lists(&["quotes.>", "hello.{user}"], &[]));
    granted.api_keys = vec![config::ApiKey { grants: lists(&["desk.{user}"], &[]), ..api_key("feed", "feed-key", &[]) }];
    let auth = Auth::new(&granted, clock()).unwrap();
    let may = |identity: &Identity, names: &[&str]| names.iter().all(|name| identity.grants.may_subscribe(&pattern(name)));
    let lacks = |identity: &Identity, names: &[&str]| names.iter().all(|name| !identity.grants.may_subscribe(&pattern(name)));

    let ann = auth.identify(&with_claims(r#"{"sub":"ann","subscribe":["personal:#{user}","chat:*"]}"#)).unwrap();
    for ann in [&ann, &auth.renew(&ann).unwrap()] {
        assert!(may(ann, &["#ann", "news.a", "hello.ann", "personal:#ann", "chat:a", "quotes.AAPL"]));
        assert!(lacks(ann, &["#bob", "#{user}", "hello.bob", "personal:#bob", "chat:a.b", "chat:", "desk.ann"]));
        assert!(ann.grants.may_publish(&topic("said.ann")) && !ann.grants.may_publish(&topic("said.bob")));
    }
    let feed = auth.identify("feed-key").unwrap();
    assert!(may(&feed, &["desk.feed", "#feed", "news.a"]) && lacks(&feed, &["desk.ann", "#ann"]));
    let nobody = auth.identify(&with_claims(r#"{"subscribe":["own.{user}","own.a"]}"#)).unwrap();
    for nobody in [&nobody, &auth.identify(&with_claims(r#"{"sub":"","subscribe":["own.{user}","own.a"]}"#)).unwrap()] {
        assert!(may(nobody, &["own.a", "quotes.a"]) && lacks(nobody, &["own.{user}", "own.b", "news.a", "#", "hello.a"]));
    }
    assert!(lacks(&auth.anonymous().unwrap(), &["hello.{user}", "hello.a", "news.a"]));
    let dotted = auth.identify(&with_claims(r#"{"sub":"a.>","subscribe":["own.{user}"]}"#)).unwrap();
    assert!(may(&dotted, &["news.a"]) && lacks(&dotted, &["own.a", "own.a.b", "hello.a", "#a"]));

    granted.authenticated = lists(&["late.{user}"], &[]);
    granted.anonymous = Some(lists(&["hello.{user}"], &[]));
    auth.reload(&granted).unwrap();
    let ann = auth.renew(&ann).unwrap();
    assert!(may(&ann, &["late.ann", "hello.ann", "personal:#ann"]) && lacks(&ann, &["#ann", "news.a", "late.bob"]));
    assert!(auth.anonymous().is_none(), "the remaining grants all need a user");
}

/// PROTOCOL 2: a grant that has the `$` covers publishing to `$` names, except the gateway's own.
#[test]
fn names_with_a_dollar_need_a_grant_that_has_it() {
    let auth = auth(vec![secret_key(SECRET)]);
    let granted = |claims: &str| Arc::clone(&auth.identify(&with_claims(claims)).unwrap().grants);
    let all = granted(r#"{"sub":"$own","exp":9999999999,"subscribe":[">","*.a","{user}.>"],"publish":[">","{user}.>"]}"#);
    assert!(!all.may_publish(&topic("$own.a")) && !all.may_subscribe(&pattern("$own.a")));
    let own = granted(r#"{"sub":"ann","exp":9999999999,"subscribe":["$own.>"],"publish":["$own.>","$belfry.>"]}"#);
    assert!(own.may_publish(&topic("$own.a")) && own.may_subscribe(&pattern("$own.*")));
    assert!(!own.may_publish(&topic("$belfry.stats")) && !own.may_publish(&topic("$belfry")));
}

/// A renewal after a reload is refused too.
#[test]
fn a_token_expires_at_its_exp() {
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

    /// This holds for the grants of the token and for those of everybody.
    #[test]
    fn grants_cover_exactly_their_patterns(
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

    /// No credential makes the gateway panic.
    #[test]
    fn no_text_panics(text in "\\PC{0,200}", parts in "[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}\\.[A-Za-z0-9_-]{0,40}") {
        let auth = auth(vec![secret_key(SECRET)]);
        prop_assert!(auth.identify(&text).is_err() && auth.identify(&parts).is_err());
    }
}
