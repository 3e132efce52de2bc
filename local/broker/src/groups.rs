//! The groups that have members, for those who list and describe groups.
//!
//! The broker's own list leaves out a group whose members have committed nothing, and its description keeps a member that was never
//! heard of again until another one asks something of the group.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tansu_sans_io::list_groups_response::ListedGroup;
use tansu_storage::{GroupDetail, NamedGroupDetail};

#[derive(Clone, Debug, Default)]
pub(super) struct Groups(Arc<Mutex<BTreeMap<String, GroupDetail>>>);

impl Groups {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, GroupDetail>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn changed(&self, group: &str, detail: GroupDetail) {
        self.lock().insert(group.to_owned(), detail);
    }

    pub(super) fn deleted(&self, group: &str) {
        self.lock().remove(group);
    }

    /// What is to be listed beside the groups that are listed already.
    pub(super) fn beside(&self, listed: &[ListedGroup]) -> Vec<ListedGroup> {
        let groups = self.lock();
        let others = groups.iter().filter(|(name, detail)| {
            !listed.iter().any(|group| group.group_id == **name) && !heard_of((*detail).clone()).members.is_empty()
        });
        let shown = |(name, _): (&String, &GroupDetail)| {
            let group = ListedGroup::default().group_id(name.clone()).protocol_type("consumer".to_owned());
            group.group_state(Some("Unknown".to_owned())).group_type(Some("classic".to_owned()))
        };
        others.map(shown).collect()
    }

    /// The group and the members that are there now; none when it never had any.
    pub(super) fn described(&self, group: &str) -> Option<NamedGroupDetail> {
        let detail = self.lock().get(group).cloned()?;
        Some(NamedGroupDetail::found(group.to_owned(), heard_of(detail)))
    }
}

/// Without the members whose session is over.
fn heard_of(mut detail: GroupDetail) -> GroupDetail {
    let session = Duration::from_millis(u64::try_from(detail.session_timeout_ms).unwrap_or(0));
    detail.members.retain(|_, member| {
        let silent = member.last_contact.and_then(|at| at.elapsed().ok());
        silent.is_none_or(|silent| silent < session)
    });
    detail
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use tansu_storage::GroupMember;

    use super::*;

    fn group(silent: Duration) -> GroupDetail {
        let member = GroupMember { last_contact: Some(SystemTime::now() - silent), ..GroupMember::default() };
        let members = BTreeMap::from([("a member".to_owned(), member)]);
        GroupDetail { session_timeout_ms: 6_000, members, ..GroupDetail::default() }
    }

    #[test]
    fn a_group_is_listed_as_long_as_a_member_is_heard_of() {
        let groups = Groups::default();
        groups.changed("here", group(Duration::from_secs(2)));
        groups.changed("gone", group(Duration::from_secs(7)));
        let listed = groups.beside(&[]);
        assert_eq!(listed.iter().map(|group| group.group_id.as_str()).collect::<Vec<_>>(), ["here"]);
        assert!(groups.beside(&listed).is_empty());
        groups.deleted("here");
        assert!(groups.beside(&[]).is_empty());
    }
}
