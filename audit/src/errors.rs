//! Errors as people read them.

use std::error::Error;
use std::fmt::Write as _;

/// An error and its sources, joined by colons; a source that its parent already quotes is not repeated.
pub fn one_line(error: &dyn Error) -> String {
    let mut line = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let text = cause.to_string();
        if !line.contains(&text) {
            // Writing to a string cannot fail.
            let _infallible = write!(line, ": {text}");
        }
        source = cause.source();
    }
    line.replace(['\n', '\r'], " ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::io::Error);

    #[test]
    fn every_cause_stands_in_the_one_line() {
        let error = Outer(std::io::Error::other("inner\nmore"));
        assert_eq!(one_line(&error), "outer: inner more");
    }
}
