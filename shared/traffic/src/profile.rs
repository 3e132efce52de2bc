//! Where a producer stands: what a web shop, an app or a payment gateway sees of the same world.
//!
//! A profile changes what is sent of a device, its agent and its network, never who buys what, or what is fraud. It goes by the names of the
//! world alone, so a device looks the same each time and a thief's other device looks like another one.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use centinela_domain::DeviceType;
use centinela_domain::identity::hash32;

use crate::transaction::{Event, TransactionFields};

/// What a device is called in the world's own agents, before its version.
const WORLDS_CLIENT: &str = "ShopClient/";
/// Machines of a payment gateway, in a network that is reserved for examples.
const NODES: u32 = 6;

/// Which producer sends.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Profile {
    /// Everything, as it is in the world.
    #[default]
    Mixed,
    /// A shop on the web: browsers, mostly on desks, at home.
    Web,
    /// A shop's app: telephones and tablets, many in carriers' networks.
    Mobile,
    /// A payment gateway: its own machines and its own agent stand before every device. It sees payments and what becomes of them, and
    /// no log-ins.
    Gateway,
}

impl Profile {
    /// Whether this producer sees what users do besides buying.
    #[must_use]
    pub fn sees_actions(self) -> bool {
        self != Self::Gateway
    }

    /// Makes of an event what this producer sends of it.
    pub fn dress(self, event: &mut Event) {
        match event {
            Event::Transaction(sent) => self.dress_transaction(&mut sent.fields),
            Event::Action(sent) => {
                let fields = &mut sent.fields;
                if let (Some(device), Some(ip)) = (&fields.device_id, &mut fields.ip) {
                    *ip = self.network(hash32(device.as_bytes()), *ip);
                }
            }
            Event::Label(_) => {}
        }
    }

    fn dress_transaction(self, fields: &mut TransactionFields) {
        let device = hash32(fields.device_id.as_bytes());
        let version = fields.user_agent.split_once(WORLDS_CLIENT).map_or("1.0", |(_, version)| version);
        let (release, _) = version.split_once('.').unwrap_or((version, ""));
        match self {
            Self::Mixed => return,
            Self::Web => {
                fields.device_type = match device % 100 {
                    0..82 => DeviceType::Desktop,
                    82..90 => DeviceType::Tablet,
                    _ => DeviceType::Mobile,
                };
                fields.user_agent = browser(fields.device_type, device / 100, release);
            }
            Self::Mobile => {
                let (kind, system) = match device % 100 {
                    0..47 => (DeviceType::Mobile, "iPhone; iOS 18.1"),
                    47..93 => (DeviceType::Mobile, "Android 15; Mobile"),
                    93..97 => (DeviceType::Tablet, "iPad; iPadOS 18.1"),
                    _ => (DeviceType::Tablet, "Android 15; Tablet"),
                };
                fields.device_type = kind;
                fields.user_agent = Arc::from(format!("ShopApp/{version} ({system})"));
            }
            Self::Gateway => {
                let node = hash32(fields.merchant_id.as_bytes()) % NODES;
                fields.user_agent = Arc::from(format!("PayGateway/4.2 (node {node})"));
                let host = u8::try_from(10 + node).unwrap_or(10);
                fields.ip = IpAddr::V4(Ipv4Addr::new(198, 51, 100, host));
                return;
            }
        }
        fields.ip = self.network(device, fields.ip);
    }

    /// The network in which a device is seen. One that nobody lives in stays what it is: that is what gives a thief away.
    fn network(self, device: u32, ip: IpAddr) -> IpAddr {
        let is_at_home = match ip {
            IpAddr::V4(address) => address.octets()[0] == 10,
            IpAddr::V6(_) => true,
        };
        // Two of three telephones are on the road.
        if self != Self::Mobile || !is_at_home || device.is_multiple_of(3) {
            return ip;
        }
        let (home, host) = match ip {
            IpAddr::V4(address) => (hash32(&address.octets()[..3]), address.octets()[3]),
            IpAddr::V6(address) => (hash32(&address.octets()[..6]), address.octets()[15]),
        };
        let [network, subnet, ..] = home.to_be_bytes();
        IpAddr::V4(Ipv4Addr::new(100, 64 + network % 64, subnet, host))
    }
}

/// A browser's agent; the same device keeps its browser, and its release goes up as the world's does.
fn browser(kind: DeviceType, choice: u32, release: &str) -> Arc<str> {
    let system = match (kind, choice % 3) {
        (DeviceType::Desktop, 0 | 1) => "Windows NT 10.0; Win64; x64",
        (DeviceType::Desktop, _) => "Macintosh; Intel Mac OS X 10_15_7",
        (DeviceType::Tablet, _) => "iPad; CPU OS 18_1 like Mac OS X",
        (_, 0) => "iPhone; CPU iPhone OS 18_1 like Mac OS X",
        _ => "Linux; Android 15",
    };
    let name = ["Chrome", "Chrome", "Chrome", "Firefox", "Edg"][(choice / 3 % 5) as usize];
    format!("Mozilla/5.0 ({system}) {name}/{release}.0").into()
}
