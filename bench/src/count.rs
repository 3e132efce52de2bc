//! The program that `bench/instructions` runs under callgrind: one kernel, a fixed number of times.

use std::hint::black_box;

use crate::compute::{NAMES, kernel};

/// Nobody knows that name.
#[derive(Debug, thiserror::Error)]
#[error("there is no kernel `{name}`; the kernels are {}", NAMES.join(", "))]
pub struct UnknownKernel {
    name: String,
}

/// Runs a kernel once, for what is made on first use, and then `times` in `counted_region`; returns for how many transactions that was.
///
/// # Errors
/// [`UnknownKernel`].
pub fn count(name: &str, times: u64) -> Result<u64, UnknownKernel> {
    let mut kernel = kernel(name).ok_or_else(|| UnknownKernel { name: name.to_owned() })?;
    kernel.run();
    counted_region(&mut || kernel.run(), times);
    Ok(kernel.transactions * times)
}

/// Callgrind counts between entering this function and leaving it, and finds it by its name.
#[inline(never)]
fn counted_region(work: &mut dyn FnMut(), times: u64) {
    for _ in 0..black_box(times) {
        work();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_kernel_is_refused_with_the_names_of_the_known() {
        let problem = count("parse-7", 1).expect_err("there is none").to_string();
        assert!(problem.contains("`parse-7`") && problem.contains("parse-100"), "{problem}");
    }

    #[test]
    fn a_count_says_for_how_many_transactions_it_was() {
        assert_eq!(count("parse-100", 3).expect("it is one"), 300);
    }
}
