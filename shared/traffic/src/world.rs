//! The people of the simulated world: who they are, what they own, when and how they buy.
//!
//! Addresses are private ones (RFC 1918, 6598, 4193), so that no real person's address is ever generated.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use centinela_domain::{Currency, DeviceType, Millis};

use crate::chance::Chance;

pub(crate) const MINUTE_MS: f64 = 60_000.0;
pub(crate) const HOUR_MS: f64 = 60.0 * MINUTE_MS;
pub(crate) const DAY_MS: f64 = 24.0 * HOUR_MS;

/// Share of a day's purchases by hour, with mean 1.
const DAY_RHYTHM: [f64; 24] = [
    0.35, 0.22, 0.15, 0.12, 0.14, 0.25, 0.50, 0.80, 1.00, 1.10, 1.20, 1.25, 1.35, 1.25, 1.15, 1.15, 1.25, 1.40, 1.60,
    1.80, 1.85, 1.65, 1.25, 0.72,
];
/// Monday to Sunday.
const WEEK_RHYTHM: [f64; 7] = [0.92, 0.90, 0.93, 0.97, 1.10, 1.17, 1.01];
/// Every so many days there are three days of sales.
const SALE_EVERY_DAYS: i64 = 42;
const SALE_RHYTHM: f64 = 1.6;
/// No product of the rhythms is larger.
pub(crate) const RHYTHM_MAX: f64 = 1.85 * 1.17 * SALE_RHYTHM;
/// Purchases per user and day, on average, before follow-ups.
const VISITS_PER_DAY: f64 = 1.75;
const MERCHANTS: usize = 400;
const CARRIERS: usize = 5;
const CARRIER_NETWORKS: usize = 48;
const USERS_PER_KIOSK: usize = 400;

/// A /24 of IPv4 or a /48 of IPv6.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Network {
    V4([u8; 3]),
    V6([u16; 3]),
}

impl Network {
    fn home(chance: &mut Chance) -> Self {
        if chance.happens(0.2) {
            let prefix = 0xfd00 | chance.below(256) as u16;
            Self::V6([prefix, chance.below(65_536) as u16, chance.below(65_536) as u16])
        } else {
            Self::V4([10, chance.below(256) as u8, chance.below(256) as u8])
        }
    }

    fn carrier(carrier: usize, network: usize) -> Self {
        Self::V4([100, 64 + carrier as u8, network as u8])
    }

    /// Data centres and exits of VPNs: few networks with many users.
    pub(crate) fn exit(chance: &mut Chance) -> Self {
        Self::V4([172, 16 + chance.below(2) as u8, chance.below(40) as u8])
    }

    /// Somebody's home that nobody of this world lives in.
    pub(crate) fn elsewhere(chance: &mut Chance) -> Self {
        Self::home(chance)
    }

    pub(crate) fn address(self, host: u16) -> IpAddr {
        match self {
            Self::V4([a, b, c]) => IpAddr::V4(Ipv4Addr::new(a, b, c, 1 + (host % 253) as u8)),
            Self::V6([a, b, c]) => IpAddr::V6(Ipv6Addr::new(a, b, c, 0, 0, 0, 0, host.max(1))),
        }
    }
}

/// A device and the browser on it.
#[derive(Clone, Debug)]
pub(crate) struct Device {
    pub(crate) id: Arc<str>,
    pub(crate) kind: DeviceType,
    model: u8,
    browser: u32,
    agent: Arc<str>,
    updates_at: f64,
}

impl Device {
    pub(crate) fn new(chance: &mut Chance, kind: DeviceType, at: f64) -> Self {
        let id = format!("d-{:016x}", chance.hex()).into();
        let (model, browser) = (chance.below(6) as u8, 118 + chance.below(12) as u32);
        let updates_at = at + chance.exponential(50.0 * DAY_MS);
        Self { id, kind, model, browser, agent: agent(kind, model, browser), updates_at }
    }

    pub(crate) fn any(chance: &mut Chance, at: f64) -> Self {
        let kind = any_kind(chance);
        Self::new(chance, kind, at)
    }

    /// The user agent at `at`, browser updates since the last use included.
    pub(crate) fn agent_at(&mut self, chance: &mut Chance, at: f64) -> Arc<str> {
        let before = self.browser;
        while self.updates_at <= at {
            self.browser += 1;
            self.updates_at += chance.exponential(50.0 * DAY_MS);
        }
        if self.browser != before {
            self.agent = agent(self.kind, self.model, self.browser);
        }
        self.agent.clone()
    }
}

fn any_kind(chance: &mut Chance) -> DeviceType {
    match chance.unit() {
        draw if draw < 0.60 => DeviceType::Mobile,
        draw if draw < 0.90 => DeviceType::Desktop,
        draw if draw < 0.98 => DeviceType::Tablet,
        _ => DeviceType::Other,
    }
}

fn agent(kind: DeviceType, model: u8, browser: u32) -> Arc<str> {
    let system = match kind {
        DeviceType::Mobile if model < 3 => "iPhone; CPU iPhone OS 18_1 like Mac OS X",
        DeviceType::Mobile => "Linux; Android 15",
        DeviceType::Tablet => "iPad; CPU OS 18_1 like Mac OS X",
        DeviceType::Desktop if model < 4 => "Windows NT 10.0; Win64; x64",
        DeviceType::Desktop => "Macintosh; Intel Mac OS X 10_15_7",
        DeviceType::Pos => "Kiosk; Linux x86_64",
        DeviceType::Other => "SMART-TV; Linux",
    };
    format!("Mozilla/5.0 ({system}) ShopClient/{browser}.{model}").into()
}

/// Where and how a shop sells.
#[derive(Clone, Debug)]
pub(crate) struct Merchant {
    pub(crate) id: Arc<str>,
    /// What an amount there is, as a multiple of what the user usually spends.
    pub(crate) level: f64,
}

/// A journey: other networks and larger amounts for some days.
#[derive(Clone, Debug)]
struct Trip {
    starts_at: f64,
    ends_at: f64,
    network: Network,
}

/// A customer.
#[derive(Clone, Debug)]
pub(crate) struct User {
    pub(crate) id: Arc<str>,
    pub(crate) registered_at: Millis,
    pub(crate) visits_per_day: f64,
    /// Median amount, in major units.
    pub(crate) typical: f64,
    pub(crate) spread: f64,
    pub(crate) currency: Currency,
    pub(crate) devices: Vec<Device>,
    pub(crate) merchants: [usize; 6],
    home: Network,
    second: Option<Network>,
    carrier: usize,
    host: u16,
    kiosk: Option<usize>,
    hidden: bool,
    /// Buys trifles, several in a row.
    pub(crate) gamer: bool,
    shift_hours: f64,
    trip: Trip,
    new_device_at: f64,
    leaves_at: f64,
}

/// Where a purchase came from.
#[derive(Clone, Debug)]
pub(crate) struct Origin {
    pub(crate) device_id: Arc<str>,
    pub(crate) device_type: DeviceType,
    pub(crate) agent: Arc<str>,
    pub(crate) ip: IpAddr,
}

impl Origin {
    pub(crate) fn of(device: &mut Device, network: Network, host: u16, chance: &mut Chance, at: f64) -> Self {
        Self {
            device_id: device.id.clone(),
            device_type: device.kind,
            agent: device.agent_at(chance, at),
            ip: network.address(host),
        }
    }
}

/// Everybody and everything.
#[derive(Clone, Debug)]
pub(crate) struct World {
    pub(crate) users: Vec<User>,
    pub(crate) merchants: Vec<Merchant>,
    kiosks: Vec<(Device, Network)>,
    registered: u64,
    start: f64,
}

impl World {
    pub(crate) fn new(chance: &mut Chance, users: usize, start: Millis) -> Self {
        let start = start.0 as f64;
        let merchants = (0..MERCHANTS)
            .map(|index| Merchant { id: format!("m-{index:04}").into(), level: chance.log_normal(1.0, 0.45) })
            .collect();
        let kiosks = (0..users.div_ceil(USERS_PER_KIOSK))
            .map(|_| (Device::new(chance, DeviceType::Pos, start), Network::home(chance)))
            .collect();
        let mut world = Self { users: Vec::with_capacity(users), merchants, kiosks, registered: 0, start };
        for index in 0..users {
            let registered_at = start - chance.between(1.0, 1100.0) * DAY_MS;
            let mut user = world.newcomer(chance, registered_at, start);
            // A family shares a computer.
            if index > 0 && chance.happens(0.04) {
                let shared = world.users[index - 1].devices[0].clone();
                user.home = world.users[index - 1].home;
                user.devices.push(shared);
            }
            world.users.push(user);
        }
        world
    }

    /// Somebody who registered at `registered_at` and is met at `at`.
    pub(crate) fn newcomer(&mut self, chance: &mut Chance, registered_at: f64, at: f64) -> User {
        self.registered += 1;
        let mut devices = vec![Device::any(chance, at)];
        if chance.happens(0.09) {
            devices.push(Device::any(chance, at));
        }
        let kiosk = chance.happens(0.035).then(|| chance.below(self.kiosks.len()));
        User {
            id: format!("u-{:07}", self.registered).into(),
            registered_at: Millis(registered_at as i64),
            visits_per_day: chance.log_normal(VISITS_PER_DAY * 0.75, 0.75).min(14.0),
            typical: chance.log_normal(32.0, 0.7),
            spread: chance.between(0.3, 0.85),
            currency: currency(chance),
            devices,
            merchants: [(); 6].map(|()| chance.below(MERCHANTS)),
            home: Network::home(chance),
            second: chance.happens(0.5).then(|| Network::home(chance)),
            carrier: chance.below(CARRIERS),
            host: chance.below(250) as u16,
            kiosk,
            hidden: chance.happens(0.04),
            gamer: chance.happens(0.06),
            shift_hours: chance.normal() * 1.5,
            trip: Trip {
                starts_at: at + chance.exponential(90.0 * DAY_MS),
                ends_at: 0.0,
                network: Network::elsewhere(chance),
            },
            new_device_at: at + chance.exponential(500.0 * DAY_MS),
            leaves_at: at + chance.exponential(365.0 * DAY_MS),
        }
    }

    /// From now on nobody leaves.
    pub(crate) fn settle(&mut self) {
        for user in &mut self.users {
            user.leaves_at = f64::INFINITY;
        }
    }

    /// Lets time pass for a user: departure (somebody else registers in the place), a new device, a journey.
    pub(crate) fn age(&mut self, index: usize, chance: &mut Chance, at: f64) {
        if self.users[index].leaves_at <= at {
            self.users[index] = self.newcomer(chance, at, at);
        }
        let user = &mut self.users[index];
        if user.new_device_at <= at {
            let kind = user.devices[0].kind;
            let device = Device::new(chance, kind, at);
            if chance.happens(0.75) {
                user.devices[0] = device;
            } else {
                user.devices.insert(0, device);
                user.devices.truncate(3);
            }
            user.new_device_at = at + chance.exponential(500.0 * DAY_MS);
        }
        if user.trip.starts_at <= at {
            user.trip.ends_at = at + chance.between(2.0, 12.0) * DAY_MS;
            user.trip.network = Network::elsewhere(chance);
            user.trip.starts_at = user.trip.ends_at + chance.exponential(90.0 * DAY_MS);
        }
    }

    /// How busy shops are for this user at `at`, as a multiple of the mean.
    pub(crate) fn rhythm(&self, index: usize, at: f64) -> f64 {
        let local = at + self.users[index].shift_hours * HOUR_MS;
        let hour = ((local / HOUR_MS) as i64).rem_euclid(24) as usize;
        let weekday = ((at / DAY_MS) as i64 + 3).rem_euclid(7) as usize;
        let sale = if self.sale(at) { SALE_RHYTHM } else { 1.0 };
        DAY_RHYTHM[hour] * WEEK_RHYTHM[weekday] * sale
    }

    pub(crate) fn sale(&self, at: f64) -> bool {
        (((at - self.start) / DAY_MS) as i64).rem_euclid(SALE_EVERY_DAYS) >= SALE_EVERY_DAYS - 3
    }

    /// What the user's amounts are multiplied by at `at`: journeys and sales cost more.
    pub(crate) fn mood(&self, index: usize, at: f64) -> f64 {
        let trip = if self.users[index].trip.ends_at > at { 1.5 } else { 1.0 };
        trip * if self.sale(at) { 1.25 } else { 1.0 }
    }

    /// A device and an address of the user's own. Unlike [`World::origin`] it leaves everything as it is.
    pub(crate) fn whereabouts(&self, index: usize, chance: &mut Chance, at: f64) -> (Arc<str>, IpAddr) {
        let user = &self.users[index];
        let several = user.devices.len() > 1 && chance.happens(0.25);
        let device = &user.devices[if several { chance.whole(1, user.devices.len() - 1) } else { 0 }];
        let network = match chance.unit() {
            _ if user.trip.ends_at > at => user.trip.network,
            draw if user.hidden && draw < 0.6 => Network::exit(chance),
            draw if device.kind == DeviceType::Mobile && draw < 0.25 => {
                Network::carrier(user.carrier, user.host as usize % 3)
            }
            draw if draw > 0.8 => user.second.unwrap_or(user.home),
            _ => user.home,
        };
        (device.id.clone(), network.address(user.host))
    }

    /// The device and network that the user would use now.
    pub(crate) fn origin(&mut self, index: usize, chance: &mut Chance, at: f64) -> Origin {
        let user = &mut self.users[index];
        if let Some(kiosk) = user.kiosk.filter(|_| chance.happens(0.2)) {
            let (device, network) = &mut self.kiosks[kiosk];
            return Origin::of(device, *network, 7, chance, at);
        }
        if chance.happens(0.0006) {
            let mut borrowed = Device::any(chance, at);
            let network = Network::elsewhere(chance);
            return Origin::of(&mut borrowed, network, 20, chance, at);
        }
        let place =
            if user.devices.len() > 1 && chance.happens(0.25) { chance.whole(1, user.devices.len() - 1) } else { 0 };
        let mobile = user.devices[place].kind == DeviceType::Mobile;
        let network = match chance.unit() {
            _ if user.trip.ends_at > at && chance.happens(0.85) => user.trip.network,
            draw if user.hidden && draw < 0.6 => Network::exit(chance),
            draw if mobile && draw < 0.25 => {
                // The carrier hands out addresses from a few of its networks, mostly the same.
                let near = if chance.happens(0.8) { user.host as usize % 3 } else { chance.below(CARRIER_NETWORKS) };
                Network::carrier(user.carrier, near)
            }
            draw if draw > 0.8 => user.second.unwrap_or(user.home),
            _ => user.home,
        };
        let host = user.host;
        Origin::of(&mut user.devices[place], network, host, chance, at)
    }
}

fn currency(chance: &mut Chance) -> Currency {
    let code = match chance.unit() {
        draw if draw < 0.80 => "EUR",
        draw if draw < 0.92 => "USD",
        _ => "GBP",
    };
    Currency::new(code).unwrap_or(Currency::DEFAULT)
}
