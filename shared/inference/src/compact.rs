//! The trees as the processor likes them, and the walk that scores.
//!
//! Small nodes, siblings side by side, leaves that lead to themselves: every row takes the same number of branch-free steps, and
//! eight rows go down a tree together, so that their memory accesses overlap. What explains a score is found on the same way. Weights are
//! summed in the order of the trees, in `f32`, like tract's own evaluator does: the sums are equal bit for bit, and a row's sum does not
//! depend on its batch.

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
    /// How much each direction moves the expected log-odds. 0 for a leaf.
    shifts: [f32; 2],
}

impl CompactNode {
    /// 0 for "true", 1 for "false". A leaf always answers 0.
    #[inline]
    fn direction(&self, value: f32) -> u32 {
        let is_true = (value <= self.threshold) | (value.is_nan() & self.missing_is_true);
        u32::from(!is_true)
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
    /// The expected log-odds before any feature is known.
    bias: f32,
}

// No float in a checked forest is NaN.
impl Eq for CompactForest {}

impl CompactForest {
    /// Lays out a checked forest.
    pub(crate) fn new(forest: &Forest) -> Self {
        let mut compact = Self { trees: vec![], nodes: vec![], weights: vec![], bias: 0.0 };
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
            let (node, weight) = match tree.nodes[index] {
                Node::Split { feature, threshold, missing_is_true, children } => {
                    let first_child = (root + order.len()) as u32;
                    order.extend(children);
                    let shifts = children.map(|child| (means[child] - means[index]) as f32);
                    (CompactNode { threshold, first_child, feature, missing_is_true, shifts }, 0.0)
                }
                Node::Leaf { weight } => {
                    let here = (root + next) as u32;
                    let to_itself = CompactNode {
                        threshold: f32::INFINITY,
                        first_child: here,
                        feature: 0,
                        missing_is_true: true,
                        shifts: [0.0; 2],
                    };
                    (to_itself, weight)
                }
            };
            self.nodes.push(node);
            self.weights.push(weight);
            next += 1;
        }
    }

    /// Writes the log-odds of each row, and adds to `shifts` how each feature moved them. `rows` and `shifts` hold `logits.len()` rows of
    /// `n_features`, one after the other.
    pub(crate) fn score(&self, rows: &[f32], n_features: usize, logits: &mut [f32], shifts: &mut [f32]) {
        let block = n_features * LANES;
        for ((rows, shifts), logits) in rows.chunks(block).zip(shifts.chunks_mut(block)).zip(logits.chunks_mut(LANES)) {
            if logits.len() == LANES {
                self.score_together(rows, n_features, logits, shifts);
                continue;
            }
            let rows = rows.chunks_exact(n_features).zip(shifts.chunks_exact_mut(n_features));
            for ((row, shifts), logit) in rows.zip(logits) {
                *logit = self.attribute(row, |feature, shift| shifts[feature] += shift);
            }
        }
    }

    /// The same for [`LANES`] rows, which go down each tree together: no step of one waits for a step of another.
    fn score_together(&self, rows: &[f32], n_features: usize, logits: &mut [f32], shifts: &mut [f32]) {
        let mut sums = [0f32; LANES];
        for tree in &self.trees {
            let mut places = [tree.root; LANES];
            for _ in 0..tree.depth {
                for (lane, place) in places.iter_mut().enumerate() {
                    let node = &self.nodes[*place as usize];
                    let column = lane * n_features + usize::from(node.feature);
                    let direction = node.direction(rows[column]);
                    shifts[column] += node.shifts[direction as usize];
                    *place = node.first_child + direction;
                }
            }
            for (sum, place) in sums.iter_mut().zip(places) {
                *sum += self.weights[place as usize];
            }
        }
        logits.copy_from_slice(&sums);
    }

    /// Walks every tree and calls `visit` with each feature that decided a branch and the shift of the log-odds that followed;
    /// on paths shorter than the tree is deep also with shifts of 0. Returns the row's log-odds.
    #[inline]
    pub(crate) fn attribute(&self, row: &[f32], mut visit: impl FnMut(usize, f32)) -> f32 {
        let mut logit = 0f32;
        for tree in &self.trees {
            let mut place = tree.root;
            for _ in 0..tree.depth {
                let node = &self.nodes[place as usize];
                let direction = node.direction(row[usize::from(node.feature)]);
                visit(usize::from(node.feature), node.shifts[direction as usize]);
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
