//! The trees as the processor likes them, and the walk that scores.
//!
//! Small nodes, siblings side by side, leaves that lead to themselves: every row takes the same number of branch-free steps, and
//! eight rows go down a tree together, so that their memory accesses overlap. Weights are summed in the order of the trees, in
//! `f32`, like tract's own evaluator does: the sums are equal bit for bit, and a row's sum does not depend on its batch.

use crate::forest::{Forest, Node, Tree};

/// Rows that go down a tree together.
const LANES: usize = 8;

#[derive(Clone, Copy, Debug, PartialEq)]
struct CompactNode {
    threshold: f32,
    /// The place of the "true" child; "false" is the next one. A leaf's own place.
    first_child: u32,
    feature: u16,
    missing_is_true: bool,
}

impl CompactNode {
    /// 0 for "true", 1 for "false". A leaf always answers 0.
    #[inline]
    fn direction(&self, row: &[f32]) -> u32 {
        let value = row[usize::from(self.feature)];
        let is_true = (value <= self.threshold) | (value.is_nan() & self.missing_is_true);
        u32::from(!is_true)
    }

    #[inline]
    fn next(&self, row: &[f32]) -> u32 {
        self.first_child + self.direction(row)
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
struct CompactTree {
    root: u32,
    depth: u32,
}

/// A forest ready for scoring and for explaining.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct CompactForest {
    trees: Vec<CompactTree>,
    nodes: Vec<CompactNode>,
    /// Per node: a leaf's weight, 0 for a split.
    weights: Vec<f32>,
    /// Per node: how much each direction moves the expected log-odds. 0 for a leaf.
    shifts: Vec<[f32; 2]>,
    /// The expected log-odds before any feature is known.
    bias: f32,
}

// No float in a checked forest is NaN.
impl Eq for CompactForest {}

impl CompactForest {
    /// Lays out a checked forest.
    pub(crate) fn new(forest: &Forest) -> Self {
        let mut compact = Self { trees: vec![], nodes: vec![], weights: vec![], shifts: vec![], bias: 0.0 };
        let mut bias = 0f64;
        for tree in &forest.trees {
            let means = expected_weights(tree);
            bias += means[0];
            compact.push(tree, &means);
        }
        compact.bias = bias as f32;
        compact
    }

    fn push(&mut self, tree: &Tree, means: &[f64]) {
        let root = self.nodes.len();
        self.trees.push(CompactTree { root: root as u32, depth: tree.depth });
        // Breadth first, places in the tree.
        let mut order = vec![0];
        let mut next = 0;
        while next < order.len() {
            let index = order[next];
            let (node, weight, shifts) = match tree.nodes[index] {
                Node::Split { feature, threshold, missing_is_true, children } => {
                    let first_child = (root + order.len()) as u32;
                    order.extend(children);
                    let shifts = children.map(|child| (means[child] - means[index]) as f32);
                    (CompactNode { threshold, first_child, feature, missing_is_true }, 0.0, shifts)
                }
                Node::Leaf { weight } => {
                    let here = (root + next) as u32;
                    let to_itself =
                        CompactNode { threshold: f32::INFINITY, first_child: here, feature: 0, missing_is_true: true };
                    (to_itself, weight, [0.0; 2])
                }
            };
            self.nodes.push(node);
            self.weights.push(weight);
            self.shifts.push(shifts);
            next += 1;
        }
    }

    /// Writes the log-odds of each row. `rows` holds `logits.len()` rows of `n_features`, one after the other.
    pub(crate) fn score(&self, rows: &[f32], n_features: usize, logits: &mut [f32]) {
        logits.fill(0.0);
        let mut row_blocks = rows.chunks_exact(n_features * LANES);
        let mut logit_blocks = logits.chunks_exact_mut(LANES);
        for (block, sums) in row_blocks.by_ref().zip(logit_blocks.by_ref()) {
            self.score_together::<LANES>(block, n_features, sums);
        }
        let rest = row_blocks.remainder().chunks_exact(n_features);
        for (row, sum) in rest.zip(logit_blocks.into_remainder()) {
            self.score_together::<1>(row, n_features, std::slice::from_mut(sum));
        }
    }

    #[inline]
    fn score_together<const N: usize>(&self, block: &[f32], n_features: usize, sums: &mut [f32]) {
        let rows: [&[f32]; N] = std::array::from_fn(|lane| &block[lane * n_features..][..n_features]);
        for tree in &self.trees {
            let mut places = [tree.root; N];
            for _ in 0..tree.depth {
                for (place, row) in places.iter_mut().zip(rows) {
                    *place = self.nodes[*place as usize].next(row);
                }
            }
            for (sum, place) in sums.iter_mut().zip(places) {
                *sum += self.weights[place as usize];
            }
        }
    }

    /// Walks every tree and calls `visit` with each feature that decided a branch and the shift of the log-odds that followed;
    /// on paths shorter than the tree is deep also with shifts of 0. Returns the row's log-odds, equal to [`Self::score`]'s.
    pub(crate) fn attribute(&self, row: &[f32], mut visit: impl FnMut(usize, f32)) -> f32 {
        let mut logit = 0f32;
        for tree in &self.trees {
            let mut place = tree.root;
            for _ in 0..tree.depth {
                let node = &self.nodes[place as usize];
                let direction = node.direction(row);
                visit(usize::from(node.feature), self.shifts[place as usize][direction as usize]);
                place = node.first_child + direction;
            }
            logit += self.weights[place as usize];
        }
        logit
    }

    /// The expected log-odds before any feature is known.
    pub(crate) fn bias(&self) -> f32 {
        self.bias
    }

    /// Trees and nodes, for comparison with what tract has parsed.
    pub(crate) fn size(&self) -> (usize, usize) {
        (self.trees.len(), self.nodes.len())
    }
}

/// The mean weight of the leaves below each node, each leaf counting as often as training rows fell into it.
fn expected_weights(tree: &Tree) -> Vec<f64> {
    let mut below = vec![0];
    let mut next = 0;
    while next < below.len() {
        if let Node::Split { children, .. } = tree.nodes[below[next]] {
            below.extend(children);
        }
        next += 1;
    }
    let mut means = vec![0f64; tree.nodes.len()];
    for &index in below.iter().rev() {
        means[index] = match tree.nodes[index] {
            Node::Leaf { weight } => f64::from(weight),
            Node::Split { children: [left, right], .. } => {
                let (left_hits, right_hits) = (f64::from(tree.hits[left]), f64::from(tree.hits[right]));
                (means[left] * left_hits + means[right] * right_hits) / (left_hits + right_hits)
            }
        };
    }
    means
}
