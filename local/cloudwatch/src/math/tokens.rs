//! An expression's words and signs.

use super::{MathError, Operator};

/// Longest expression, by `PutMetricAlarm`.
const LETTERS_MAX: usize = 2_048;

#[derive(Clone, Debug, PartialEq)]
pub(super) enum Token {
    Number(f64),
    /// An id, the name of a function, or a word such as `REPEAT`.
    Name(String),
    Text(String),
    Operator(Operator),
    /// One of `( ) [ ] ,`.
    Sign(char),
}

impl Token {
    pub(super) fn shown(&self) -> String {
        match self {
            Self::Number(number) => number.to_string(),
            Self::Name(name) | Self::Text(name) => name.clone(),
            Self::Operator(operator) => format!("{operator:?}").to_lowercase(),
            Self::Sign(sign) => sign.to_string(),
        }
    }
}

/// Takes an expression apart.
pub(super) fn tokens(text: &str) -> Result<Vec<Token>, MathError> {
    if text.len() > LETTERS_MAX {
        return Err(MathError::Expected {
            expected: "an expression of at most 2,048 letters",
            found: text.chars().take(40).collect(),
        });
    }
    let mut tokens = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, length) = next(rest, first)?;
        tokens.push(token);
        rest = rest[length..].trim_start();
    }
    Ok(tokens)
}

fn next(rest: &str, first: char) -> Result<(Token, usize), MathError> {
    let length_of = |fits: fn(char) -> bool| rest.find(|letter| !fits(letter)).unwrap_or(rest.len());
    if first.is_ascii_digit() || first == '.' {
        let length = length_of(|letter| letter.is_ascii_digit() || letter == '.');
        let number = rest[..length].parse();
        let number =
            number.map_err(|_| MathError::Expected { expected: "a number", found: rest[..length].to_owned() })?;
        return Ok((Token::Number(number), length));
    }
    if first.is_ascii_alphabetic() {
        let length = length_of(|letter| letter.is_ascii_alphanumeric() || letter == '_');
        let token = match &rest[..length] {
            "AND" => Token::Operator(Operator::And),
            "OR" => Token::Operator(Operator::Or),
            name => Token::Name(name.to_owned()),
        };
        return Ok((token, length));
    }
    if first == '"' || first == '\'' {
        let inner = &rest[1..];
        let end = inner.find(first).ok_or(MathError::Sign(first))?;
        return Ok((Token::Text(inner[..end].to_owned()), end + 2));
    }
    for (sign, operator) in [
        ("==", Operator::Equal),
        ("!=", Operator::NotEqual),
        ("<=", Operator::LessOrEqual),
        (">=", Operator::GreaterOrEqual),
        ("&&", Operator::And),
        ("||", Operator::Or),
        ("<", Operator::Less),
        (">", Operator::Greater),
        ("+", Operator::Add),
        ("-", Operator::Subtract),
        ("*", Operator::Multiply),
        ("/", Operator::Divide),
        ("^", Operator::Power),
    ] {
        if rest.starts_with(sign) {
            return Ok((Token::Operator(operator), sign.len()));
        }
    }
    match first {
        '(' | ')' | '[' | ']' | ',' => Ok((Token::Sign(first), 1)),
        other => Err(MathError::Sign(other)),
    }
}
