//! From an expression's text to its tree.

use super::tokens::{Token, tokens};
use super::{DEPTH_MAX, Expression, MathError, Operator};

/// Binary operators by how tightly they bind, the loosest first. The documentation does not give an order, so ours is that of arithmetic;
/// an expression that means to be read by people has parentheses.
const LEVELS: [&[Operator]; 6] = [
    &[Operator::Or],
    &[Operator::And],
    &[
        Operator::Equal,
        Operator::NotEqual,
        Operator::LessOrEqual,
        Operator::GreaterOrEqual,
        Operator::Less,
        Operator::Greater,
    ],
    &[Operator::Add, Operator::Subtract],
    &[Operator::Multiply, Operator::Divide],
    &[Operator::Power],
];

/// The functions that are evaluated here.
const FUNCTIONS: [&str; 20] = [
    "ABS",
    "AVG",
    "CEIL",
    "DIFF",
    "FILL",
    "FIRST",
    "FLOOR",
    "IF",
    "LAST",
    "LOG",
    "LOG10",
    "MAX",
    "METRICS",
    "METRIC_COUNT",
    "MIN",
    "PERIOD",
    "RATE",
    "RUNNING_SUM",
    "STDDEV",
    "SUM",
];

/// Reads an expression.
pub(crate) fn parse(text: &str) -> Result<Expression, MathError> {
    let mut parser = Parser { tokens: tokens(text)?, place: 0 };
    let expression = parser.binary(0, 0)?;
    match parser.peek() {
        None => Ok(expression),
        Some(token) => Err(MathError::Expected { expected: "the end of the expression", found: token.shown() }),
    }
}

struct Parser {
    tokens: Vec<Token>,
    place: usize,
}

impl Parser {
    fn peek(&self) -> Option<&Token> {
        self.tokens.get(self.place)
    }

    fn take(&mut self) -> Option<Token> {
        let token = self.tokens.get(self.place).cloned();
        self.place += 1;
        token
    }

    fn takes(&mut self, sign: char) -> bool {
        let is_there = self.peek() == Some(&Token::Sign(sign));
        self.place += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, sign: char, expected: &'static str) -> Result<(), MathError> {
        if self.takes(sign) {
            return Ok(());
        }
        Err(MathError::Expected { expected, found: self.peek().map_or_else(|| "the end".to_owned(), Token::shown) })
    }

    fn binary(&mut self, level: usize, depth: u16) -> Result<Expression, MathError> {
        if depth > DEPTH_MAX {
            return Err(MathError::TooDeep);
        }
        let Some(operators) = LEVELS.get(level) else { return self.operand(depth) };
        let mut left = self.binary(level + 1, depth)?;
        while let Some(Token::Operator(operator)) = self.peek() {
            let operator = *operator;
            if !operators.contains(&operator) {
                break;
            }
            self.place += 1;
            let right = self.binary(level + 1, depth)?;
            left = Expression::Binary(operator, Box::new((left, right)));
        }
        Ok(left)
    }

    fn operand(&mut self, depth: u16) -> Result<Expression, MathError> {
        match self.take() {
            Some(Token::Number(number)) => Ok(Expression::Number(number)),
            Some(Token::Text(text)) => Ok(Expression::Word(text)),
            Some(Token::Operator(Operator::Subtract)) => {
                if depth >= DEPTH_MAX {
                    return Err(MathError::TooDeep);
                }
                Ok(Expression::Negative(Box::new(self.operand(depth + 1)?)))
            }
            Some(Token::Sign('(')) => {
                let inner = self.binary(0, depth + 1)?;
                self.expect(')', "a closing parenthesis")?;
                Ok(inner)
            }
            Some(Token::Sign('[')) => Ok(Expression::List(self.items(']', depth)?)),
            Some(Token::Name(name)) => self.named(name, depth),
            other => {
                let found = other.as_ref().map_or_else(|| "the end".to_owned(), Token::shown);
                Err(MathError::Expected { expected: "a number, an id or a function", found })
            }
        }
    }

    /// An id begins with a small letter, a function with a capital one.
    fn named(&mut self, name: String, depth: u16) -> Result<Expression, MathError> {
        if name.starts_with(|first: char| first.is_ascii_lowercase()) {
            return Ok(Expression::Id(name));
        }
        if !self.takes('(') {
            return Ok(Expression::Word(name));
        }
        let known = FUNCTIONS.into_iter().find(|known| *known == name);
        let function = known.ok_or(MathError::UnknownFunction(name))?;
        Ok(Expression::Call(function, self.items(')', depth)?))
    }

    fn items(&mut self, end: char, depth: u16) -> Result<Vec<Expression>, MathError> {
        let mut items = Vec::new();
        if self.takes(end) {
            return Ok(items);
        }
        loop {
            items.push(self.binary(0, depth + 1)?);
            if self.takes(end) {
                return Ok(items);
            }
            self.expect(',', "a comma or the end of the list")?;
        }
    }
}
