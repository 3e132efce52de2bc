//! Twenty of the model's features, which every contender computes alike; what is not computed is missing to the model.

use serde::{Deserialize, Serialize};

use crate::Transaction;
use crate::model::Model;

const HOUR_MS: f64 = 3_600_000.0;
const DAY_MS: i64 = 24 * 3_600_000;
/// Half-lives of the counts and sums: an hour, a day, a week, thirty days.
const HALF_LIVES_MS: [f64; 4] = [HOUR_MS, 24.0 * HOUR_MS, 168.0 * HOUR_MS, 720.0 * HOUR_MS];
const COUNTS: [&str; 4] = ["user_count_1h", "user_count_1d", "user_count_7d", "user_count_30d"];
const SUMS: [&str; 4] = ["user_sum_1h", "user_sum_1d", "user_sum_7d", "user_sum_30d"];
/// Devices that are remembered of a user.
const DEVICES_MAX: usize = 16;

/// What is kept of a user.
#[derive(Clone, Debug, Default, Deserialize, Serialize)]
pub struct State {
    newest_at: i64,
    transactions: u64,
    mean: f64,
    squares: f64,
    largest: f64,
    counts: [f64; 4],
    sums: [f64; 4],
    devices: Vec<String>,
}

impl State {
    fn faded(&self, at: i64, place: usize) -> f64 {
        let elapsed_ms = (at - self.newest_at).max(0) as f64;
        (-elapsed_ms / HALF_LIVES_MS[place]).exp2()
    }

    /// The model's row, before the transaction changes anything.
    pub fn row(&self, transaction: &Transaction, model: &Model) -> Vec<f32> {
        let mut row = vec![f32::NAN; model.width()];
        let mut set = |name: &str, value: f64| row[model.place(name)] = value as f32;
        let (at, amount) = (transaction.timestamp, transaction.amount);
        let hour = at.rem_euclid(DAY_MS) / 3_600_000;
        set("amount", amount);
        set("hour", hour as f64);
        set("weekday", (at.div_euclid(DAY_MS) + 3).rem_euclid(7) as f64);
        set("night", f64::from(u8::from(hour < 6)));
        let device_type =
            ["mobile", "desktop", "tablet", "pos"].iter().position(|known| *known == transaction.device_type);
        set("device_type", device_type.unwrap_or(4) as f64);
        set("user_transactions", self.transactions as f64);
        for place in 0..HALF_LIVES_MS.len() {
            set(COUNTS[place], self.counts[place] * self.faded(at, place));
            set(SUMS[place], self.sums[place] * self.faded(at, place));
        }
        if self.transactions > 0 {
            let half_mean = 0.5 * self.mean;
            let variance = (self.squares + 3.0 * half_mean * half_mean) / (self.transactions as f64 + 3.0);
            set("user_seconds_since_last", (at - self.newest_at).max(0) as f64 / 1_000.0);
            set("user_mean", self.mean);
            set("user_z", (amount - self.mean) / variance.sqrt().max(0.01));
            set("user_ratio_mean", amount / self.mean.max(0.01));
            set("user_ratio_largest", amount / self.largest.max(0.01));
            set("user_new_device", f64::from(u8::from(!self.devices.contains(&transaction.device_id))));
        }
        row
    }

    /// Lets the transaction change the state.
    pub fn apply(&mut self, transaction: &Transaction) {
        let (at, amount) = (transaction.timestamp, transaction.amount);
        for place in 0..HALF_LIVES_MS.len() {
            let faded = self.faded(at, place);
            self.counts[place] = self.counts[place] * faded + 1.0;
            self.sums[place] = self.sums[place] * faded + amount;
        }
        self.newest_at = self.newest_at.max(at);
        self.transactions += 1;
        let distance = amount - self.mean;
        self.mean += distance / self.transactions as f64;
        self.squares += distance * (amount - self.mean);
        self.largest = self.largest.max(amount);
        if !self.devices.contains(&transaction.device_id) {
            if self.devices.len() == DEVICES_MAX {
                self.devices.remove(0);
            }
            self.devices.push(transaction.device_id.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_twenty_features_and_is_computed_before_the_transaction_counts() {
        let model = Model::bundled().unwrap();
        let transaction = Transaction {
            transaction_id: "t".to_owned(),
            user_id: "u".to_owned(),
            timestamp: 1_767_571_200_000,
            amount: 12.5,
            device_id: "d".to_owned(),
            device_type: "mobile".to_owned(),
        };
        let mut state = State::default();
        assert!(state.row(&transaction, &model)[model.place("user_transactions")].abs() < f32::EPSILON);
        state.apply(&transaction);
        let row = state.row(&transaction, &model);
        assert_eq!(row.iter().filter(|value| !value.is_nan()).count(), 20);
        assert!((row[model.place("user_count_1h")] - 1.0).abs() < 1e-6 && row[model.place("user_new_device")] < 0.5);
    }
}
