//! Whose page it is. A page may have its reader's browser ask any server that the browser can reach, and the browser asks neither of them
//! first. It only says where the page is from: in `Origin` (RFC 6454, section 7), and in `Sec-Fetch-Site` (W3C, Fetch Metadata) where
//! it leaves that out, as for pictures and links.

use hyper::{
    HeaderMap,
    header::{HOST, HeaderName, ORIGIN},
};

const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");

/// Whether whoever asks may change something here: no page at all, a page from this very host and port, or one of those that are listed.
///
/// Not every request of a browser can be told: over HTTP without TLS, to another machine, a picture comes with neither header.
pub(super) fn is_allowed(headers: &HeaderMap, allowed_origins: &[String]) -> bool {
    // Programs send neither, and few headers at all, so that to walk over them takes less than to look these two up.
    if !headers.keys().any(|name| name == ORIGIN || name == SEC_FETCH_SITE) {
        return true;
    }
    let mut origins = headers.get_all(ORIGIN).iter();
    let Some(origin) = origins.next() else { return is_from_here(headers) };
    let Ok(origin) = origin.to_str() else { return false };
    if origins.next().is_some() {
        return false;
    }
    let is_own = match (origin.split_once("://"), headers.get(HOST)) {
        (Some((_, place)), Some(host)) => host.as_bytes().eq_ignore_ascii_case(place.as_bytes()),
        _ => false,
    };
    is_own || allowed_origins.iter().any(|allowed| allowed.eq_ignore_ascii_case(origin))
}

/// What the browser says about the site of the page: the same, or `none` for an address that somebody typed.
fn is_from_here(headers: &HeaderMap) -> bool {
    headers.get(SEC_FETCH_SITE).is_none_or(|site| site == "same-origin" || site == "none")
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;

    use super::*;

    #[test]
    fn an_origin_is_allowed_when_it_is_ours_or_listed() {
        let listed = ["https://example.org".to_owned(), "null".to_owned()];
        for (origins, host, expected) in [
            (&[][..], "a:8200", true),
            (&["http://a:8200"], "a:8200", true),
            (&["https://A:8200"], "a:8200", true),
            (&["http://a"], "a:8200", false),
            (&["http://a:82000"], "a:8200", false),
            (&["http://b:8200"], "a:8200", false),
            (&["http://[::1]:8200"], "[::1]:8200", true),
            (&["a:8200"], "a:8200", false),
            (&[""], "", false),
            (&["null"], "a", true),
            (&["https://Example.org"], "a", true),
            (&["http://example.org"], "a", false),
            (&["https://example.org.evil.net"], "a", false),
            (&["https://example.org", "https://example.org"], "a", false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, HeaderValue::from_static(host));
            for origin in origins {
                headers.append(ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_allowed(&headers, &listed), expected, "{origins:?} {host}");
        }
        let mut headers = HeaderMap::new();
        headers.insert(ORIGIN, HeaderValue::from_static("http://a"));
        assert!(!is_allowed(&headers, &[]), "without Host");
    }

    #[test]
    fn without_an_origin_the_site_decides() {
        for (site, expected) in
            [("none", true), ("same-origin", true), ("same-site", false), ("cross-site", false), ("x", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(SEC_FETCH_SITE, HeaderValue::from_static(site));
            assert_eq!(is_allowed(&headers, &[]), expected, "{site}");
        }
    }
}
