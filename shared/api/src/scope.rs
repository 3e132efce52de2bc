//! What a caller may do.

/// A right that a caller may have.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Scope {
    /// Ask for a decision and wait for it.
    Decide,
    /// Hand in transactions and user actions.
    Ingest,
    /// Look up decisions and metrics.
    Read,
    /// Say what a transaction turned out to be.
    Label,
    /// See scores, contributions and features, which tell how to stay below the threshold.
    ReadScore,
    /// See who a decision is about, and what is known about a user.
    ReadUser,
}

impl Scope {
    /// All of them.
    pub const ALL: [Self; 6] = [Self::Decide, Self::Ingest, Self::Read, Self::Label, Self::ReadScore, Self::ReadUser];

    /// The name in a token.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Decide => "decide",
            Self::Ingest => "ingest",
            Self::Read => "read",
            Self::Label => "label",
            Self::ReadScore => "read:score",
            Self::ReadUser => "read:user",
        }
    }
}

/// The rights of one caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scopes(u8);

impl Scopes {
    /// What a token says; words that are none of ours are somebody else's.
    pub fn of_words<'a>(words: impl IntoIterator<Item = &'a str>) -> Self {
        let known = words.into_iter().filter_map(|word| Scope::ALL.into_iter().find(|scope| scope.as_str() == word));
        known.collect()
    }

    /// The same and one more.
    #[must_use]
    pub fn with(self, scope: Scope) -> Self {
        Self(self.0 | 1 << scope as u8)
    }

    /// Whether the caller may.
    pub fn has(self, scope: Scope) -> bool {
        self.0 & 1 << scope as u8 != 0
    }
}

impl FromIterator<Scope> for Scopes {
    fn from_iter<T: IntoIterator<Item = Scope>>(scopes: T) -> Self {
        scopes.into_iter().fold(Self::default(), Self::with)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_s_words_become_rights_and_foreign_words_none() {
        let scopes = Scopes::of_words("openid read read:score".split(' '));
        let has: Vec<_> = Scope::ALL.into_iter().filter(|scope| scopes.has(*scope)).collect();
        assert_eq!(has, [Scope::Read, Scope::ReadScore]);
    }
}
