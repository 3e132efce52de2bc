//! The price list: what AWS asks for, with the source and date of every line.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::PlanError;

/// A line of the price list.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Price {
    /// What the plan asks for it by, such as `lambda.request`.
    pub id: String,
    /// AWS's service.
    pub service: String,
    /// What is sold.
    pub item: String,
    /// By what it is sold.
    pub unit: String,
    /// US dollars per unit.
    pub usd: f64,
    /// The date that the source states, where it states one.
    pub as_of: Option<String>,
    /// The day on which it was read.
    pub read: String,
    /// Where it was read.
    pub source: String,
    /// Whether AWS says so, or two sources agree.
    pub confirmed: bool,
    /// What else is to be known about it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

#[derive(Deserialize)]
struct File {
    region: String,
    prices: Vec<Price>,
}

/// List prices of one region, without free tiers, discounts or commitments.
#[derive(Debug, Clone, PartialEq)]
pub struct Prices {
    /// AWS's name of the region.
    pub region: String,
    prices: BTreeMap<String, Price>,
}

impl Prices {
    /// Reads the list.
    ///
    /// # Errors
    /// It is not JSON of this form, a price has no source, date or amount, or one is there twice.
    pub fn from_json(text: &str) -> Result<Self, PlanError> {
        let file: File = serde_json::from_str(text).map_err(|error| PlanError::Prices(error.to_string()))?;
        let mut prices = BTreeMap::new();
        for price in file.prices {
            check(&price)?;
            let id = price.id.clone();
            if prices.insert(id.clone(), price).is_some() {
                return Err(PlanError::Price { id, problem: "is there twice" });
            }
        }
        Ok(Self { region: file.region, prices })
    }

    /// Dollars per unit.
    ///
    /// # Errors
    /// The list does not have it.
    pub fn usd(&self, id: &str) -> Result<f64, PlanError> {
        self.price(id).map(|price| price.usd)
    }

    /// The whole line.
    ///
    /// # Errors
    /// The list does not have it.
    pub fn price(&self, id: &str) -> Result<&Price, PlanError> {
        self.prices.get(id).ok_or_else(|| PlanError::NoPrice(id.to_owned()))
    }

    /// Every line, by id.
    pub fn all(&self) -> impl Iterator<Item = &Price> {
        self.prices.values()
    }
}

fn check(price: &Price) -> Result<(), PlanError> {
    let problem = if !price.source.starts_with("https://") {
        "has no source"
    } else if !is_date(&price.read) {
        "was read on no date such as 2026-11-22"
    } else if !(price.usd.is_finite() && 0.0 <= price.usd) {
        "has no amount"
    } else {
        return Ok(());
    };
    Err(PlanError::Price { id: price.id.clone(), problem })
}

fn is_date(text: &str) -> bool {
    let digits: Vec<&str> = text.split('-').collect();
    matches!(digits[..], [year, month, day] if year.len() == 4 && month.len() == 2 && day.len() == 2)
        && digits.iter().all(|part| part.bytes().all(|byte| byte.is_ascii_digit()))
}
