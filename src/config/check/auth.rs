//! `[auth]`, raw to typed.

use std::collections::BTreeSet;

use crate::config::auth::{ApiKey, Auth, GrantLists, KeyMaterial, TokenKey};
use crate::config::tree::{Entry, Raw, Section, listed, pem_file, text_file};

const SECRET_ALGORITHMS: [&str; 3] = ["HS256", "HS384", "HS512"];
const PUBLIC_ALGORITHMS: [&str; 3] = ["RS256", "ES256", "EdDSA"];

/// Reads `[auth]` and the text of its key files. The content of the files is checked when the keys are built.
pub(super) fn auth(section: &Section<'_>, raw: &Raw) -> Auth {
    let default = Auth::default();
    Auth {
        anonymous: Some(section.table("anonymous", grants)).filter(|grants| *grants != GrantLists::default()),
        authenticated: section.table("authenticated", grants),
        audience: section.entry("audience").map_or(default.audience, |entry| audience(&entry.open())),
        issuer: issuer(section),
        require_exp: section.boolean("require_exp", default.require_exp),
        keys: section.tables("keys", |key| token_key(key, raw)).into_iter().flatten().collect(),
        api_keys: api_keys(section),
    }
}

fn grants(section: &Section<'_>) -> GrantLists {
    GrantLists { subscribe: section.scopes("subscribe"), publish: section.scopes("publish") }
}

/// Reads one name, or a list of names.
fn audience(entry: &Entry<'_>) -> Vec<String> {
    let names = if entry.text_or_none().is_some() { vec![name(entry)] } else { entry.items().iter().map(name).collect() };
    if entry.is_empty_list() {
        entry.refuse("names nobody, so that no token with an `aud` would be taken; write at least one name, as in [\"belfry\"]");
    }
    names.into_iter().flatten().collect()
}

fn name(entry: &Entry<'_>) -> Option<String> {
    let name = entry.text()?;
    if name.is_empty() {
        entry.refuse("is empty; write the name that tokens call the gateway by, as in \"belfry\"");
    }
    Some(name.to_owned())
}

fn issuer(section: &Section<'_>) -> Option<String> {
    let issuer = section.entry("issuer")?.open().text()?;
    (!issuer.is_empty()).then(|| issuer.to_owned())
}

fn token_key(section: &Section<'_>, raw: &Raw) -> Option<TokenKey> {
    let is_given = |entry: &Entry<'_>| entry.text_or_none() != Some("");
    let secret = section.secret("secret").filter(is_given);
    let (public_key, jwks) = (section.path("public_key").filter(is_given), section.path("jwks").filter(is_given));
    let algorithm = section.entry("algorithm").map(Entry::open);
    let key = match (secret, public_key, jwks) {
        (Some(secret), None, None) => secret_key(&secret, algorithm),
        (None, Some(file), None) => public_key_of(&file, algorithm, raw),
        (None, None, Some(file)) => {
            if let Some(algorithm) = algorithm {
                algorithm.refuse("is not allowed with jwks, whose keys name their own algorithm; remove it");
            }
            jwks_of(&file, raw)
        }
        _ => {
            section.add_problem("secret, public_key and jwks: one of the three must be set and not empty; write one key an entry");
            None
        }
    };
    let audience = section.entry("audience").map(|entry| audience(&entry.open()));
    let issuer = issuer(section);
    Some(TokenKey { material: key?, audience, issuer })
}

fn secret_key(secret: &Entry<'_>, algorithm: Option<Entry<'_>>) -> Option<KeyMaterial> {
    let algorithm = match algorithm {
        Some(algorithm) => one_of(&algorithm, &SECRET_ALGORITHMS, "secret")?,
        None => SECRET_ALGORITHMS[0].to_owned(),
    };
    Some(KeyMaterial::Secret { algorithm, secret: secret.text()?.to_owned() })
}

fn public_key_of(file: &Entry<'_>, algorithm: Option<Entry<'_>>, raw: &Raw) -> Option<KeyMaterial> {
    let algorithm = algorithm.and_then(|algorithm| one_of(&algorithm, &PUBLIC_ALGORITHMS, "public_key"));
    let (_, pem) = pem_file(file, raw)?;
    if pem.contains("PRIVATE KEY-----") {
        file.refuse("holds a private key; give the public one, which is enough to verify tokens");
        return None;
    }
    Some(KeyMaterial::PublicKey { algorithm, pem })
}

fn jwks_of(file: &Entry<'_>, raw: &Raw) -> Option<KeyMaterial> {
    let (_, json) = text_file(file, raw)?;
    let has_keys =
        serde_json::from_str::<serde_json::Value>(&json).is_ok_and(|set| set.get("keys").is_some_and(serde_json::Value::is_array));
    if !has_keys {
        file.refuse("is not a JSON Web Key Set; give a file of the form {\"keys\": […]} (RFC 7517 §5)");
        return None;
    }
    Some(KeyMaterial::Jwks { json })
}

fn one_of(entry: &Entry<'_>, known: &[&str], beside: &str) -> Option<String> {
    entry.parsed(|text| match known.contains(&text) {
        true => Ok(text.to_owned()),
        false => Err(format!("does not go with {beside}; write {}", listed(known.iter().copied()))),
    })
}

fn api_keys(auth: &Section<'_>) -> Vec<ApiKey> {
    let (mut names, mut credentials) = (BTreeSet::new(), BTreeSet::new());
    auth.tables("api_keys", |section| {
        let name =
            section.required("name", section.entry("name").map(Entry::open), "write what the log and presence call it, as in \"feed\"");
        if let Some((text, entry)) = &name
            && !names.insert(*text)
        {
            entry.refuse("is the name of an earlier key too; write another, because limits and messages name the key by it");
        }
        let key = section.required("key", section.secret("key"), "write the credential, at best 32 random characters or more");
        if let Some((text, entry)) = &key {
            if !text.bytes().all(|byte| byte.is_ascii_graphic()) {
                entry.refuse("holds what no Authorization header can; write ASCII without white space");
            } else if !credentials.insert(*text) {
                entry.refuse("is an earlier entry's key too; write another, or put the two entries together");
            }
        }
        ApiKey {
            name: name.map(|(text, _)| text.to_owned()).unwrap_or_default(),
            key: key.map(|(text, _)| text.to_owned()).unwrap_or_default(),
            grants: grants(section),
            admin: section.boolean("admin", false),
            commands_per_second: section.entry("commands_per_second").and_then(|entry| entry.open().integer(1..=1_000_000_000)),
        }
    })
}
