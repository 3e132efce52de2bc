//! A case: one question to a service, and what each part answers.

use std::any::Any;
use std::sync::Arc;

use tokio::sync::Semaphore;

/// Cases that run at the same time on one part.
const AT_ONCE: usize = 4;

/// What the answers should be.
#[derive(Clone, Copy, Debug)]
pub enum Expected {
    /// The real server and the embedded part answer alike.
    Same(&'static str),
    /// They do not, and we know it.
    Differs {
        /// The real server's answer.
        real: &'static str,
        /// The embedded part's.
        embedded: &'static str,
        /// What the difference means for whoever uses the embedded part.
        meaning: &'static str,
    },
}

/// One question. It is asked in the same way everywhere; the answer is a short text without times, ports or addresses.
#[derive(Debug)]
pub struct Case<P: 'static> {
    /// A sentence.
    pub name: &'static str,
    /// Asks, and blocks until the answer is there.
    pub ask: fn(&P) -> String,
    /// The answers.
    pub expected: Expected,
    /// Whether it disturbs others and must run by itself.
    pub alone: bool,
}

impl<P> Case<P> {
    pub const fn same(name: &'static str, ask: fn(&P) -> String, answer: &'static str) -> Self {
        Self { name, ask, expected: Expected::Same(answer), alone: false }
    }

    pub const fn differs(
        name: &'static str,
        ask: fn(&P) -> String,
        [real, embedded]: [&'static str; 2],
        meaning: &'static str,
    ) -> Self {
        Self { name, ask, expected: Expected::Differs { real, embedded, meaning }, alone: false }
    }

    pub const fn alone(self) -> Self {
        Self { alone: true, ..self }
    }

    fn answer_of(&self, side: Side) -> &'static str {
        match (self.expected, side) {
            (Expected::Same(answer), _) => answer,
            (Expected::Differs { real, .. }, Side::Real) => real,
            (Expected::Differs { embedded, .. }, Side::Embedded) => embedded,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Embedded,
    Real,
}

/// Asks every case and fails with all answers that are not the expected ones. `CENTINELA_CASE` limits the cases to those whose
/// name contains it.
pub async fn ask_all<P: Send + Sync + 'static>(cases: &'static [Case<P>], part: Arc<P>, side: Side) {
    let wanted = std::env::var("CENTINELA_CASE").unwrap_or_default();
    let cases: Vec<&Case<P>> = cases.iter().filter(|case| case.name.contains(&wanted)).collect();
    let places = Arc::new(Semaphore::new(AT_ONCE));
    let together = cases.iter().filter(|case| !case.alone).map(|case| {
        let (part, places, ask) = (Arc::clone(&part), Arc::clone(&places), case.ask);
        let running = tokio::spawn(async move {
            let _place = places.acquire_owned().await.expect("the semaphore is never closed");
            answer(ask, part).await
        });
        (*case, running)
    });
    let mut wrong = Vec::new();
    for (case, running) in together.collect::<Vec<_>>() {
        judge(case, side, &running.await.expect("a panic of the case is an answer"), &mut wrong);
    }
    for case in cases.iter().filter(|case| case.alone) {
        judge(case, side, &answer(case.ask, Arc::clone(&part)).await, &mut wrong);
    }
    assert!(wrong.is_empty(), "{} of {} cases on the {side:?} side:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

async fn answer<P: Send + Sync + 'static>(ask: fn(&P) -> String, part: Arc<P>) -> String {
    match tokio::task::spawn_blocking(move || ask(&part)).await {
        Ok(answer) => answer,
        Err(error) => format!("panicked: {}", panic_text(&*error.into_panic())),
    }
}

fn panic_text(panic: &(dyn Any + Send)) -> &str {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without words")
}

fn judge<P>(case: &Case<P>, side: Side, answer: &str, wrong: &mut Vec<String>) {
    let expected = case.answer_of(side);
    if answer != expected {
        wrong.push(format!("- {}\n    expected: {expected}\n    answered: {answer}", case.name));
    }
}
