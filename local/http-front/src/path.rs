//! Paths: which route they take, and what stands in its `{…}`.

use std::collections::BTreeMap;

/// Percent-decoded; none when it is not text.
pub(crate) fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let digit = |digit: u8| char::from(digit).to_digit(16);
                bytes.push(u8::try_from(digit(*high)? << 4 | digit(*low)?).ok()?);
                after
            }
            (b'%', _) => return None,
            (other, after) => {
                bytes.push(*other);
                after
            }
        };
    }
    String::from_utf8(bytes).ok()
}

/// The name of `{name+}`, which takes all that is left of a path.
fn greedy(piece: &str) -> Option<&str> {
    piece.strip_prefix('{')?.strip_suffix("+}")
}

/// How well a route fits: the route's parameters, and whether it names the path itself. A path that has no text fits only `$default`.
pub(crate) fn fit(key: &str, method: &str, path: &str) -> Option<(u8, BTreeMap<String, String>)> {
    if key == "$default" {
        return Some((0, BTreeMap::new()));
    }
    let (wanted, template) = key.split_once(' ')?;
    if wanted != method && wanted != "ANY" {
        return None;
    }
    let (mut names, mut found) = (template.split('/'), path.split('/'));
    let mut parameters = BTreeMap::new();
    loop {
        let (name, piece) = (names.next(), found.next());
        if let (Some(name), Some(piece)) = (name.and_then(greedy), piece) {
            let rest: Vec<&str> = std::iter::once(piece).chain(found).collect();
            parameters.insert(name.to_owned(), decoded(&rest.join("/"))?);
            return Some((1, parameters));
        }
        match (name, piece) {
            (None, None) => break,
            (Some(name), Some(piece)) => match name.strip_prefix('{').and_then(|name| name.strip_suffix('}')) {
                Some(_) if piece.is_empty() => return None,
                Some(name) => {
                    parameters.insert(name.to_owned(), decoded(piece)?);
                }
                None if decoded(piece)? != name => return None,
                None => {}
            },
            _ => return None,
        }
    }
    let (by_path, by_method) = (if parameters.is_empty() { 4 } else { 2 }, u8::from(wanted == method));
    Some((by_path + by_method, parameters))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_route_with_a_parameter_takes_one_decoded_piece() {
        let (rank, found) = fit("GET /v1/users/{user_id}", "GET", "/v1/users/a%2Fb%20c").unwrap();
        assert_eq!((rank, found["user_id"].as_str()), (3, "a/b c"));
        for path in ["/v1/users/", "/v1/users", "/v1/users/a/b", "/v1/users/%zz", "/v1/users/%ff", "/v2/users/a"] {
            assert_eq!(fit("GET /v1/users/{user_id}", "GET", path), None, "{path}");
        }
        assert_eq!(fit("GET /v1/users/{user_id}", "POST", "/v1/users/a"), None);
        let rank = |key: &str| fit(key, "GET", "/v1/users/ana").map(|(rank, _)| rank);
        assert!(rank("GET /v1/users/ana") > rank("ANY /v1/users/ana"));
        assert!(rank("ANY /v1/users/ana") > rank("GET /v1/users/{user_id}"));
        assert!(fit("$default", "BREW", "/anything").is_some());
        let (rest, found) = fit("GET /{proxy+}", "GET", "/v1/users/a%20b").unwrap();
        assert_eq!(found["proxy"], "v1/users/a b");
        assert!(Some(rest) < rank("GET /v1/users/{user_id}") && rank("$default") < Some(rest));
        assert_eq!(fit("GET /{proxy+}", "POST", "/v1"), None);
    }
}
