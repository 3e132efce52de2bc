//! Whose transactions they are: how the load is spread over the users.
//!
//! The natural shape is the simulated world as it is. The others are load shapes for measurements: the purchases keep the world's
//! users, devices, merchants, amounts and frauds, but whose turn it is follows a plain distribution. A model's scores on them say
//! nothing, for nobody buys like that.

use crate::chance::Chance;

/// How purchases are spread over the users.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub enum Shape {
    /// Every user visits at an own rate, log-normal with a deviation of 0.75 around 1.3 visits a day, with rhythms of day and
    /// week and follow-up purchases.
    #[default]
    Natural,
    /// Every purchase is made by any user with the same probability.
    Uniform,
    /// The user of rank k makes a purchase with probability k^-s / (1^-s + 2^-s + … + n^-s), where s is the exponent and n the
    /// number of users. <https://en.wikipedia.org/wiki/Zipf%27s_law#Formal_definition>
    Zipf {
        /// The exponent, above 0.
        exponent: f64,
    },
    /// One user makes this share of the purchases; the others are spread uniformly over the other users. Frauds keep their own
    /// victims, so even a share of 1 leaves the share of fraud to others.
    Hot {
        /// From 0 to 1.
        share: f64,
    },
}

impl Shape {
    /// The exponent that is customary for skewed load.
    pub const ZIPF: Self = Self::Zipf { exponent: 1.2 };
    /// A tenth of everything comes from one user.
    pub const HOT: Self = Self::Hot { share: 0.1 };
}

/// Draws places among the users.
#[derive(Clone, Debug)]
pub(crate) struct Turns {
    chance: Chance,
    spread: Spread,
    users: usize,
}

#[derive(Clone, Debug)]
enum Spread {
    Uniform,
    /// Weights of the ranks, added up.
    Ranked(Vec<f64>),
    Hot(f64),
}

impl Turns {
    /// None for the natural shape, where users come by themselves. `users` is at least 1.
    pub(crate) fn new(shape: Shape, users: usize, chance: Chance) -> Option<Self> {
        let spread = match shape {
            Shape::Natural => return None,
            Shape::Uniform => Spread::Uniform,
            Shape::Zipf { exponent } => Spread::Ranked(added_up_weights(users, exponent)),
            Shape::Hot { share } => Spread::Hot(share),
        };
        Some(Self { chance, spread, users })
    }

    /// The place of the next user; the first place is the busiest one.
    pub(crate) fn next_user(&mut self) -> usize {
        match &self.spread {
            Spread::Uniform => self.chance.below(self.users),
            Spread::Ranked(weights) => {
                let all = weights.last().copied().unwrap_or_default();
                let draw = self.chance.unit() * all;
                weights.partition_point(|weight| *weight <= draw).min(self.users - 1)
            }
            Spread::Hot(share) if self.users == 1 || self.chance.happens(*share) => 0,
            Spread::Hot(_) => 1 + self.chance.below(self.users - 1),
        }
    }

    /// Time to the next purchase of anybody, exponential.
    pub(crate) fn gap(&mut self, mean: f64) -> f64 {
        self.chance.exponential(mean)
    }
}

fn added_up_weights(users: usize, exponent: f64) -> Vec<f64> {
    let mut sum = 0.0;
    let weights = (1..=users).map(|rank| {
        sum += libm::pow(rank as f64, -exponent);
        sum
    });
    weights.collect()
}
