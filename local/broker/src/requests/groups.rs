//! Groups: membership, and what tools ask of them.

use std::time::Duration;

use bytes::Bytes;
use kafka_protocol::ResponseError;
use kafka_protocol::messages::delete_groups_response::DeletableGroupResult;
use kafka_protocol::messages::describe_groups_response::{DescribedGroup, DescribedGroupMember};
use kafka_protocol::messages::find_coordinator_response::Coordinator;
use kafka_protocol::messages::join_group_response::JoinGroupResponseMember;
use kafka_protocol::messages::leave_group_request::MemberIdentity;
use kafka_protocol::messages::leave_group_response::MemberResponse;
use kafka_protocol::messages::list_groups_response::ListedGroup;
use kafka_protocol::messages::{
    BrokerId, DeleteGroupsRequest, DeleteGroupsResponse, DescribeGroupsRequest, DescribeGroupsResponse,
    FindCoordinatorRequest, FindCoordinatorResponse, GroupId, HeartbeatRequest, HeartbeatResponse, JoinGroupRequest,
    JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse, ListGroupsRequest, ListGroupsResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use kafka_protocol::protocol::StrBytes;

use super::{HOST, NODE, code, text};
use crate::groups::Entry;
use crate::groups::member::{Client, Joined, Joining, Member, Peer, Syncing};
use crate::router::Router;

const OF_GROUP: i8 = 0;
const NO_NODE: BrokerId = BrokerId(-1);
const NO_OPERATIONS: i32 = i32::MIN;
/// Kafka's `group.min.session.timeout.ms` and `group.max.session.timeout.ms`.
const SESSION_MS: std::ops::RangeInclusive<i32> = 6_000..=1_800_000;
/// The only kind of group that there is.
const CLASSIC: &str = "classic";
/// From here on a member that joins without an id is given one first.
const KNOWN_ID_FROM: i16 = 4;

pub(crate) fn find_coordinator(
    router: &Router,
    version: i16,
    request: FindCoordinatorRequest,
) -> FindCoordinatorResponse {
    // There are no transactions; this is the answer on which clients do not try again.
    let is_here = request.key_type == OF_GROUP;
    let error = if is_here { 0 } else { ResponseError::TransactionalIdAuthorizationFailed.code() };
    let (node, host, port) =
        if is_here { (NODE, text(HOST), router.port()) } else { (NO_NODE, StrBytes::default(), -1) };
    if version < 4 {
        let response = FindCoordinatorResponse::default().with_error_code(error);
        return response.with_node_id(node).with_host(host).with_port(port);
    }
    let coordinators = request.coordinator_keys.into_iter().map(|key| {
        let coordinator = Coordinator::default().with_key(key).with_error_code(error);
        coordinator.with_node_id(node).with_host(host.clone()).with_port(port)
    });
    FindCoordinatorResponse::default().with_coordinators(coordinators.collect())
}

/// None when another request of the same member took this one's place.
pub(crate) async fn join(
    router: &Router,
    version: i16,
    client_id: &str,
    request: JoinGroupRequest,
) -> Option<JoinGroupResponse> {
    let refused = |error: ResponseError, member_id: StrBytes| {
        JoinGroupResponse::default()
            .with_error_code(error.code())
            .with_generation_id(-1)
            .with_member_id(member_id)
            .with_protocol_name(Some(StrBytes::default()))
    };
    if request.group_id.is_empty() {
        return Some(refused(ResponseError::InvalidGroupId, request.member_id));
    }
    if !SESSION_MS.contains(&request.session_timeout_ms) {
        return Some(refused(ResponseError::InvalidSessionTimeout, request.member_id));
    }
    let group = request.group_id.clone();
    let needs_known_id = version >= KNOWN_ID_FROM;
    match router.groups().join(&group, joining(client_id, needs_known_id, request)).await? {
        Ok(joined) => Some(joined_response(version, joined)),
        Err((error, member_id)) => Some(refused(error, text(&member_id))),
    }
}

fn joining(client_id: &str, needs_known_id: bool, request: JoinGroupRequest) -> Joining {
    let milliseconds = |ms: i32| Duration::from_millis(u64::try_from(ms).unwrap_or(0));
    let session_timeout = milliseconds(request.session_timeout_ms);
    // The first version has one time for both.
    let rebalance_timeout =
        if request.rebalance_timeout_ms < 0 { session_timeout } else { milliseconds(request.rebalance_timeout_ms) };
    Joining {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        client: Client { client_id: client_id.to_owned(), host: format!("/{HOST}") },
        session_timeout,
        rebalance_timeout,
        protocol_type: request.protocol_type.to_string(),
        protocols: request
            .protocols
            .into_iter()
            .map(|protocol| (protocol.name.to_string(), owned(&protocol.metadata)))
            .collect(),
        needs_known_id,
    }
}

/// Bytes that are kept must not keep a whole request in memory.
fn owned(bytes: &Bytes) -> Bytes {
    Bytes::copy_from_slice(bytes)
}

fn joined_response(version: i16, joined: Joined) -> JoinGroupResponse {
    let members = joined.members.into_iter().map(|(id, instance, metadata)| {
        let member = JoinGroupResponseMember::default().with_member_id(text(&id)).with_metadata(metadata);
        member.with_group_instance_id(instance.as_deref().filter(|_| version >= 5).map(text))
    });
    let response = JoinGroupResponse::default()
        .with_generation_id(joined.generation)
        .with_protocol_name(Some(text(&joined.protocol)))
        .with_leader(text(&joined.leader))
        .with_member_id(text(&joined.member_id))
        .with_members(members.collect());
    let response =
        if version >= 7 { response.with_protocol_type(joined.protocol_type.as_deref().map(text)) } else { response };
    if version >= 9 { response.with_skip_assignment(joined.skips_assignment) } else { response }
}

/// None when another request of the same member took this one's place.
pub(crate) async fn sync(router: &Router, version: i16, request: SyncGroupRequest) -> Option<SyncGroupResponse> {
    let syncing = Syncing {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.map(|id| id.to_string()),
        generation: request.generation_id,
        protocol_type: request.protocol_type.map(|kind| kind.to_string()),
        protocol: request.protocol_name.map(|name| name.to_string()),
        assignments: request
            .assignments
            .into_iter()
            .map(|one| (one.member_id.to_string(), owned(&one.assignment)))
            .collect(),
    };
    let response = SyncGroupResponse::default();
    match router.groups().sync(&request.group_id, syncing).await? {
        Err(error) => Some(response.with_error_code(error.code())),
        Ok(synced) => {
            let response = response.with_assignment(synced.assignment);
            if version < 5 {
                return Some(response);
            }
            let protocol_name = synced.protocol.as_deref().map(text);
            Some(
                response
                    .with_protocol_type(synced.protocol_type.as_deref().map(text))
                    .with_protocol_name(protocol_name),
            )
        }
    }
}

pub(crate) fn heartbeat(router: &Router, request: &HeartbeatRequest) -> HeartbeatResponse {
    let peer = Peer {
        member_id: request.member_id.to_string(),
        instance_id: request.group_instance_id.as_ref().map(ToString::to_string),
        generation: request.generation_id,
    };
    HeartbeatResponse::default().with_error_code(code(&router.groups().heartbeat(&request.group_id, &peer)))
}

pub(crate) fn leave(router: &Router, version: i16, request: LeaveGroupRequest) -> LeaveGroupResponse {
    let leave = |member: &MemberIdentity| {
        router.groups().leave(&request.group_id, &member.member_id, member.group_instance_id.as_deref())
    };
    if version < 3 {
        let left = leave(&MemberIdentity::default().with_member_id(request.member_id.clone()));
        return LeaveGroupResponse::default().with_error_code(code(&left));
    }
    let members = request.members.iter().map(|member| {
        let response = MemberResponse::default().with_member_id(member.member_id.clone());
        response.with_group_instance_id(member.group_instance_id.clone()).with_error_code(code(&leave(member)))
    });
    LeaveGroupResponse::default().with_members(members.collect())
}

pub(crate) fn describe(router: &Router, version: i16, request: DescribeGroupsRequest) -> DescribeGroupsResponse {
    let groups = request.groups.into_iter().map(|id| {
        let group = router.groups().look(|groups| groups.get(&id).map(described));
        let missing = || {
            // Older clients do not know the error and take a group that is not there for dead.
            let error = if version >= 6 { ResponseError::GroupIdNotFound.code() } else { 0 };
            DescribedGroup::default().with_error_code(error).with_group_state(text("Dead"))
        };
        group.unwrap_or_else(missing).with_group_id(id).with_authorized_operations(NO_OPERATIONS)
    });
    DescribeGroupsResponse::default().with_groups(groups.collect())
}

fn described(entry: &Entry) -> DescribedGroup {
    let group = &entry.group;
    let protocol = group.protocol.as_deref().unwrap_or_default();
    let member = |(id, member): (&String, &Member)| {
        let described = DescribedGroupMember::default().with_member_id(text(id));
        let described =
            described.with_client_id(text(&member.client.client_id)).with_client_host(text(&member.client.host));
        let described =
            described.with_member_metadata(member.metadata(protocol)).with_member_assignment(member.assignment.clone());
        described.with_group_instance_id(member.instance_id.as_deref().map(text))
    };
    DescribedGroup::default()
        .with_group_state(text(group.state.name()))
        .with_protocol_type(text(group.protocol_type.as_deref().unwrap_or_default()))
        .with_protocol_data(text(protocol))
        .with_members(group.members.iter().map(member).collect())
}

pub(crate) fn list(router: &Router, request: &ListGroupsRequest) -> ListGroupsResponse {
    let is_asked = |filter: &[StrBytes], value: &str| {
        filter.is_empty() || filter.iter().any(|one| one.eq_ignore_ascii_case(value))
    };
    let groups = router.groups().look(|groups| {
        let listed = groups.iter().filter(|(_, entry)| {
            is_asked(&request.states_filter, entry.group.state.name()) && is_asked(&request.types_filter, CLASSIC)
        });
        let listed = listed.map(|(id, entry)| {
            let group = ListedGroup::default().with_group_id(GroupId(text(id)));
            let group = group.with_protocol_type(text(entry.group.protocol_type.as_deref().unwrap_or_default()));
            group.with_group_state(text(entry.group.state.name())).with_group_type(text(CLASSIC))
        });
        listed.collect()
    });
    ListGroupsResponse::default().with_groups(groups)
}

pub(crate) fn delete(router: &Router, request: DeleteGroupsRequest) -> DeleteGroupsResponse {
    let results = request.groups_names.into_iter().map(|id| {
        let deleted = router.groups().delete(&id);
        DeletableGroupResult::default().with_group_id(id).with_error_code(code(&deleted))
    });
    DeleteGroupsResponse::default().with_results(results.collect())
}
