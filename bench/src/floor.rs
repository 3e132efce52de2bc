//! The floor: the least that any program must do with an event, written by hand for one event and nothing else.
//!
//! It moves the bytes in, finds and decodes every value, passes once over every letter of it, does the arithmetic of the features, visits
//! as many nodes of as many trees as the model has, and moves the bytes of the decision and of the user's item out. It checks nothing,
//! looks nobody up, remembers nothing and explains nothing: it is no decision. The distance to it is what checking, remembering and
//! explaining cost.

/// Trees of the bundled model, and splits on the way down each: `model/README.md`.
const TREES: usize = 100;
const DEPTH: usize = 3;
/// Columns of the bundled model.
const FEATURES: usize = 56;
/// Aggregates that fade, which takes an exponential each: four counts, four sums, two of spikes, one of small amounts.
const FADING: usize = 11;
/// What goes out for a transaction: a decision with its evidence, and an ordinary user's item of less than a write unit.
pub(crate) const DECISION_BYTES: usize = 850;
pub(crate) const ITEM_BYTES: usize = 360;

/// A node of a complete tree, laid out in the order of levels.
#[derive(Clone, Copy)]
struct Node {
    threshold: f32,
    feature: u32,
}

/// What the floor works with.
pub struct Floor {
    nodes: Vec<Node>,
    leaves: Vec<f32>,
    value: Vec<u8>,
    row: [f32; FEATURES],
    out: Vec<u8>,
    template: Vec<u8>,
    sum: f32,
}

impl Default for Floor {
    fn default() -> Self {
        Self::new()
    }
}

impl Floor {
    /// Makes trees of the model's size.
    #[must_use]
    pub fn new() -> Self {
        let mut state = 15u64;
        let mut draw = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 40) as u32
        };
        let splits = TREES * ((1 << DEPTH) - 1);
        let nodes =
            (0..splits).map(|_| Node { threshold: (draw() % 100) as f32, feature: draw() % FEATURES as u32 }).collect();
        let leaves = (0..TREES << DEPTH).map(|_| (draw() % 100) as f32 / 1_000.0).collect();
        Self {
            nodes,
            leaves,
            value: Vec::with_capacity(1 << 10),
            row: [0.0; FEATURES],
            out: Vec::with_capacity(1 << 22),
            template: vec![b'7'; DECISION_BYTES + ITEM_BYTES],
            sum: 0.0,
        }
    }

    /// Goes through an event; says how many records it had.
    pub fn run(&mut self, event: &[u8]) -> usize {
        const VALUE: &[u8] = b"\"value\":\"";
        self.out.clear();
        let (mut records, mut at) = (0, 0);
        while let Some(place) = find(&event[at..], VALUE) {
            let begin = at + place + VALUE.len();
            let Some(length) = event[begin..].iter().position(|letter| *letter == b'"') else { break };
            self.value.clear();
            if base64_simd::STANDARD.decode_append(&event[begin..begin + length], &mut self.value).is_err() {
                break;
            }
            self.scan();
            self.fade();
            self.sum += self.visit();
            self.out.extend_from_slice(&self.template);
            records += 1;
            at = begin + length;
        }
        records
    }

    /// One pass over the value: numbers become numbers, texts become hashes.
    fn scan(&mut self) {
        let (mut column, mut number, mut hash, mut in_text) = (0, 0u64, 0u32, false);
        for letter in &self.value {
            match letter {
                b'"' => in_text = !in_text,
                b',' if !in_text => {
                    self.row[column % FEATURES] = (number % 100) as f32 + (hash & 1) as f32;
                    (column, number, hash) = (column + 1, 0, 0);
                }
                digit @ b'0'..=b'9' if !in_text => number = number.wrapping_mul(10) + u64::from(digit - b'0'),
                other => hash = hash.wrapping_mul(16_777_619) ^ u32::from(*other),
            }
        }
    }

    fn fade(&mut self) {
        for column in 0..FADING {
            let faded = libm::exp2(-f64::from(self.row[column]) / 30.0);
            self.row[FADING + column] = faded as f32 * self.row[column];
        }
    }

    fn visit(&self) -> f32 {
        let splits = (1 << DEPTH) - 1;
        let mut sum = 0.0;
        for tree in 0..TREES {
            let mut place = 0;
            for _ in 0..DEPTH {
                let node = self.nodes[tree * splits + place];
                place = 2 * place + 1 + usize::from(self.row[node.feature as usize] > node.threshold);
            }
            sum += self.leaves[(tree << DEPTH) + place - splits];
        }
        sum
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use centinela_domain::FeatureVector;

    #[test]
    fn the_floor_is_as_wide_as_the_model() {
        assert_eq!(FEATURES, FeatureVector::NAMES.len());
        let faded = |name: &&str| name.starts_with("user_count_") || name.starts_with("user_sum_");
        let spikes = ["user_spikes_3d", "user_spikes_14d", "user_small_1h"];
        let columns = FeatureVector::NAMES.iter().filter(|name| faded(name) || spikes.contains(name));
        assert_eq!(columns.count(), FADING);
    }

    #[test]
    fn what_it_finds_of_an_event_is_every_record() {
        let event = br#"{"records":{"t-0":[{"value":"eyJhIjoxLCJiIjoyfQ=="},{"value":"eyJhIjozfQ=="}]}}"#;
        let mut floor = Floor::new();
        assert_eq!(floor.run(event), 2);
        assert_eq!(floor.out.len(), 2 * (DECISION_BYTES + ITEM_BYTES));
        assert!(floor.sum > 0.0);
        assert_eq!(floor.run(b"{}"), 0);
    }
}
