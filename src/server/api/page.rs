//! The built-in page and `belfry.js`, which are part of the binary.

use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::LazyLock;

use bytes::Bytes;
use hyper::header::{self, HeaderValue};
use hyper::{HeaderMap, StatusCode};

use crate::config::Config;
use crate::server::response::{Answer, empty, of_type};

const HTML: &str = "text/html; charset=utf-8";
const SCRIPT: &str = "text/javascript; charset=utf-8";
const STYLE: &str = "text/css; charset=utf-8";
/// The type of Markdown, which browsers would save as a file under its own type.
const PLAIN: &str = "text/plain; charset=utf-8";

const PAGE: &str = include_str!("../page/index.html");
/// The link that the page has only where the main listener serves `/metrics`.
const METRICS_LINK: &str = "<span><a href=\"/metrics\">Metrics</a></span>";
static PAGE_WITHOUT_METRICS: LazyLock<String> = LazyLock::new(|| PAGE.replace(METRICS_LINK, ""));

/// Every file, by its path. Each module of the page is a file, and so is each document that the page links to.
const ASSETS: [Asset; 17] = [
    Asset { path: "/", content_type: HTML, text: PAGE },
    Asset { path: "/belfry.js", content_type: SCRIPT, text: include_str!("../page/belfry.js") },
    Asset { path: "/page/page.css", content_type: STYLE, text: include_str!("../page/page.css") },
    Asset { path: "/page/page.js", content_type: SCRIPT, text: include_str!("../page/page.js") },
    Asset { path: "/page/dom.js", content_type: SCRIPT, text: include_str!("../page/dom.js") },
    Asset { path: "/page/session.js", content_type: SCRIPT, text: include_str!("../page/session.js") },
    Asset { path: "/page/figures.js", content_type: SCRIPT, text: include_str!("../page/figures.js") },
    Asset { path: "/page/quotes.js", content_type: SCRIPT, text: include_str!("../page/quotes.js") },
    Asset { path: "/page/chat.js", content_type: SCRIPT, text: include_str!("../page/chat.js") },
    Asset { path: "/page/watch.js", content_type: SCRIPT, text: include_str!("../page/watch.js") },
    Asset { path: "/page/operator.js", content_type: SCRIPT, text: include_str!("../page/operator.js") },
    Asset { path: "/page/programs.js", content_type: SCRIPT, text: include_str!("../page/programs.js") },
    Asset { path: "/page/docs/protocol.md", content_type: PLAIN, text: include_str!("../../../docs/protocol.md") },
    Asset { path: "/page/docs/configuration.md", content_type: PLAIN, text: include_str!("../../../docs/configuration.md") },
    Asset { path: "/page/docs/cli.md", content_type: PLAIN, text: include_str!("../../../docs/cli.md") },
    Asset { path: "/page/docs/publishing.md", content_type: PLAIN, text: include_str!("../../../docs/publishing.md") },
    Asset { path: "/page/docs/belfry-js.md", content_type: PLAIN, text: include_str!("../../../docs/belfry-js.md") },
];

/// The page loads nothing from other origins, and has no inline styles or scripts.
const CONTENT_SECURITY_POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; \
     img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// A file of the page.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Asset {
    path: &'static str,
    content_type: &'static str,
    text: &'static str,
}

impl Asset {
    /// The file at `path`.
    pub fn at(path: &str, config: &Config) -> Option<Self> {
        let asset = ASSETS.into_iter().find(|asset| asset.path == path)?;
        let has_metrics = asset.path != "/" || config.admin.listen.is_empty();
        Some(if has_metrics { asset } else { Self { text: &PAGE_WITHOUT_METRICS, ..asset } })
    }

    /// The answer to a GET: the file, or 304 if `If-None-Match` names it.
    pub fn answer(self, request: &HeaderMap) -> Answer {
        let tag = entity_tag(self.text);
        let has_it = request.get_all(header::IF_NONE_MATCH).iter().any(|tags| names(tags, &tag));
        let mut answer = match has_it {
            true => empty(StatusCode::NOT_MODIFIED),
            false => of_type(self.content_type, Bytes::from_static(self.text.as_bytes())),
        };
        let headers = answer.headers_mut();
        headers.insert(header::ETAG, HeaderValue::from_str(&tag).expect("an entity tag is hexadecimal digits in quotes"));
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
        if self.content_type == HTML {
            headers.insert(header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(CONTENT_SECURITY_POLICY));
        }
        answer
    }
}

fn entity_tag(text: &str) -> String {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    format!("\"{:016x}\"", hasher.finish())
}

/// Whether `If-None-Match` names `tag`, by weak comparison (RFC 9110 §13.1.2).
fn names(tags: &HeaderValue, tag: &str) -> bool {
    tags.to_str().is_ok_and(|tags| tags.split(',').map(str::trim).any(|given| given == "*" || given.trim_start_matches("W/") == tag))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asset(path: &str) -> Asset {
        Asset::at(path, &Config::default()).unwrap()
    }

    #[test]
    fn a_matching_etag_gets_304() {
        let first = asset("/").answer(&HeaderMap::new());
        assert_eq!((first.status().as_u16(), &first.headers()["content-type"]), (200, &"text/html; charset=utf-8".parse().unwrap()));
        let mut again = HeaderMap::new();
        again.insert(header::IF_NONE_MATCH, first.headers()["etag"].clone());
        assert_eq!(asset("/").answer(&again).status(), 304);
        assert_eq!(asset("/belfry.js").answer(&again).status(), 200);
    }

    /// The policy allows no other origin and nothing inline.
    #[test]
    fn the_policy_names_no_other_origin_and_nothing_inline() {
        assert!(!["http", "*", "unsafe"].iter().any(|word| CONTENT_SECURITY_POLICY.contains(word)));
        assert_eq!(asset("/").answer(&HeaderMap::new()).headers()["content-security-policy"], CONTENT_SECURITY_POLICY);
        let page = asset("/").text;
        assert!(!["<style", "<script>", " style=", " onclick="].iter().any(|inline| page.contains(inline)));
    }

    /// The bug: with an administrators' listener the page had a link that answers 404.
    #[test]
    fn the_page_links_to_metrics_only_where_they_are_served() {
        let mut config = Config::default();
        assert!(Asset::at("/", &config).unwrap().text.contains("\"/metrics\""));
        config.admin.listen = vec![crate::config::ListenAddress::Unix("/run/admin".into())];
        let page = Asset::at("/", &config).unwrap().text;
        assert!(!page.contains("/metrics") && page.contains("/page/docs/protocol.md"));
    }

    /// Every file that the page and its modules import or link to is served.
    #[test]
    fn every_file_that_the_page_names_is_served() {
        for file in ASSETS.into_iter().filter(|file| file.content_type != PLAIN) {
            let folder = file.path.rsplit_once('/').map_or("", |(folder, _)| folder);
            let quoted = file.text.split(['"', '\'']).filter(|word| [".js", ".css", ".md"].iter().any(|end| word.ends_with(end)));
            for word in quoted.filter(|word| word.starts_with('/') || word.starts_with("./")) {
                let path = word.strip_prefix("./").map_or(word.to_owned(), |name| format!("{folder}/{name}"));
                let is_example = file.path == "/page/programs.js" && word.ends_with("belfry.js");
                assert!(is_example || Asset::at(&path, &Config::default()).is_some(), "{}: {word}", file.path);
            }
        }
    }
}
