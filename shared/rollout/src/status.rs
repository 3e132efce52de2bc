//! What a stack's status means for who wants to bring it up to date.

/// How a stack stands, by what can be done with it.
/// <https://docs.aws.amazon.com/AWSCloudFormation/latest/UserGuide/view-stack-events.html>
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Status {
    /// A change set was made for it and never executed: there is nothing in it.
    Review,
    /// Something is at work on it.
    Moving,
    /// It stands; whether after a success or after a rollback to the last one.
    Standing,
    /// Its creation or deletion failed. It takes no update; what is left of it can only be deleted.
    Failed,
    /// An update failed, and so did its rollback.
    Stuck,
    /// It was deleted.
    Gone,
    /// Nothing that is done here leads there, and nothing safe leads out.
    Other,
}

impl Status {
    /// From CloudFormation's word.
    #[must_use]
    pub fn of(word: &str) -> Self {
        match word {
            "REVIEW_IN_PROGRESS" => Self::Review,
            "CREATE_COMPLETE"
            | "UPDATE_COMPLETE"
            | "UPDATE_ROLLBACK_COMPLETE"
            | "IMPORT_COMPLETE"
            | "IMPORT_ROLLBACK_COMPLETE" => Self::Standing,
            "ROLLBACK_COMPLETE" | "ROLLBACK_FAILED" | "CREATE_FAILED" | "DELETE_FAILED" => Self::Failed,
            "UPDATE_ROLLBACK_FAILED" => Self::Stuck,
            "DELETE_COMPLETE" => Self::Gone,
            word if word.ends_with("_IN_PROGRESS") => Self::Moving,
            _ => Self::Other,
        }
    }
}

/// The next thing to do with a stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Move {
    /// Make it, by a change set.
    Create,
    /// Change it, by a change set.
    Update,
    /// Delete what a failed creation or deletion left, because nothing else is possible with it.
    Clear,
    /// Let the failed rollback go on.
    Unstick,
    /// Let whatever is at work end, and look again.
    Wait,
    /// A person has to decide.
    ByHand,
}

/// What brings a stack nearer to being up to date; `None` where there is no such stack.
#[must_use]
pub fn next(status: Option<&Status>) -> Move {
    match status {
        None | Some(Status::Gone | Status::Review) => Move::Create,
        Some(Status::Standing) => Move::Update,
        Some(Status::Failed) => Move::Clear,
        Some(Status::Stuck) => Move::Unstick,
        Some(Status::Moving) => Move::Wait,
        Some(Status::Other) => Move::ByHand,
    }
}

/// Whether an operation that ended with this word did what it was asked to do.
pub(crate) fn is_success(word: &str) -> bool {
    matches!(word, "CREATE_COMPLETE" | "UPDATE_COMPLETE" | "IMPORT_COMPLETE")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every status that CloudFormation documents.
    const WORDS: [(&str, Move); 23] = [
        ("CREATE_IN_PROGRESS", Move::Wait),
        ("CREATE_FAILED", Move::Clear),
        ("CREATE_COMPLETE", Move::Update),
        ("ROLLBACK_IN_PROGRESS", Move::Wait),
        ("ROLLBACK_FAILED", Move::Clear),
        ("ROLLBACK_COMPLETE", Move::Clear),
        ("DELETE_IN_PROGRESS", Move::Wait),
        ("DELETE_FAILED", Move::Clear),
        ("DELETE_COMPLETE", Move::Create),
        ("UPDATE_IN_PROGRESS", Move::Wait),
        ("UPDATE_COMPLETE_CLEANUP_IN_PROGRESS", Move::Wait),
        ("UPDATE_COMPLETE", Move::Update),
        ("UPDATE_FAILED", Move::ByHand),
        ("UPDATE_ROLLBACK_IN_PROGRESS", Move::Wait),
        ("UPDATE_ROLLBACK_FAILED", Move::Unstick),
        ("UPDATE_ROLLBACK_COMPLETE_CLEANUP_IN_PROGRESS", Move::Wait),
        ("UPDATE_ROLLBACK_COMPLETE", Move::Update),
        ("REVIEW_IN_PROGRESS", Move::Create),
        ("IMPORT_IN_PROGRESS", Move::Wait),
        ("IMPORT_COMPLETE", Move::Update),
        ("IMPORT_ROLLBACK_IN_PROGRESS", Move::Wait),
        ("IMPORT_ROLLBACK_FAILED", Move::ByHand),
        ("IMPORT_ROLLBACK_COMPLETE", Move::Update),
    ];

    #[test]
    fn every_status_has_a_next_step_and_none_is_taken_for_another() {
        for (word, expected) in WORDS {
            assert_eq!(next(Some(&Status::of(word))), expected, "{word}");
        }
        assert_eq!(next(None), Move::Create);
        assert_eq!(next(Some(&Status::of("SOMETHING_NEW"))), Move::ByHand);
    }

    #[test]
    fn a_rollback_is_no_success_though_the_stack_stands() {
        let successes: Vec<_> = WORDS.iter().filter(|(word, _)| is_success(word)).map(|(word, _)| *word).collect();
        assert_eq!(successes, ["CREATE_COMPLETE", "UPDATE_COMPLETE", "IMPORT_COMPLETE"]);
    }
}
