//! The clock of the simulated world: purchases and frauds in order of event time, handed on in order of arrival.

mod arrivals;
mod config;

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};
use std::sync::Arc;

use centinela_domain::{Currency, Millis};

pub use config::{DEFAULT_START, TrafficConfig};

use crate::actions::{Deed, Doings};
use crate::chance::Chance;
use crate::fraud::{self, Account, Strike};
use crate::labels::Outcomes;
use crate::resends::{Arrival, Resends};
use crate::shape::Turns;
use crate::transaction::{Event, Kind, LabelledTransaction, TransactionFields};
use crate::world::{DAY_MS, HOUR_MS, MINUTE_MS, Origin, RHYTHM_MAX, World};

/// Smallest purchase, in minor units.
const AMOUNT_MIN: f64 = 49.0;
/// What follow-up purchases add to the visits.
pub(crate) const PURCHASES_PER_VISIT: f64 = 1.38;
/// Users for each transaction that goes out between two of one of them.
const USERS_PER_PLACE: usize = 15;

/// A stream of arrivals until the year 2100, in order of simulated arrival (but for [`TrafficConfig::spacing`]).
///
/// Time is simulated: 4,000 users buy about 9,000 times a day, so at 200 transactions a second a simulated day passes in 45
/// seconds. A caller that wants a rate paces the items; each keeps its own event time, so that every user's rhythm stays natural
/// whatever the rate: there is no need for more users at a higher one. A world of 4,000 at 1,667/s reaches 2100 after 40 hours.
#[derive(Clone, Debug)]
pub struct Generator {
    pub(crate) config: TrafficConfig,
    pub(crate) world: World,
    /// Actions and labels draw from streams of their own, so that the transactions are the same without them.
    pub(crate) doings: Doings,
    outcomes: Outcomes,
    /// Draws of the world; those of delivery are apart, so that delivery can change without changing the world.
    chance: Chance,
    delivery: Chance,
    queue: BinaryHeap<Due<Action>>,
    /// Boxed, because a heap moves what it holds.
    arriving: BinaryHeap<Due<Box<Arrival>>>,
    resends: Resends,
    /// Transactions whose duplicates are not sent.
    forgotten: HashSet<Arc<str>>,
    spaced: BinaryHeap<Due<Event>>,
    /// Transactions on their way out: actions and labels overtake so many of them.
    led: VecDeque<Event>,
    lead: usize,
    /// The first place in the output that a user's next transaction may take.
    free_from: HashMap<Arc<str>, u64>,
    place: u64,
    campaigns_per_ms: [f64; fraud::MIX.len()],
    /// Whose turn it is, where users do not come by themselves, and the time between two turns.
    turns: Option<Turns>,
    turn_gap: f64,
    sequence: u64,
    produced: u64,
}

#[derive(Clone, Debug)]
pub(crate) enum Action {
    Visit(usize),
    Turn,
    Purchase {
        user: usize,
        origin: Origin,
        trifle: bool,
    },
    Campaign(usize),
    Strike(Box<Strike>),
    /// Somebody looks around without buying.
    Browse {
        user: usize,
        id: Arc<str>,
    },
    Deed(Box<Deed>),
}

/// Something due at a time; the earliest is the greatest, ties go by sequence.
#[derive(Clone, Debug)]
struct Due<T> {
    at: f64,
    sequence: u64,
    what: T,
}

impl<T> Ord for Due<T> {
    fn cmp(&self, other: &Self) -> Ordering {
        other.at.total_cmp(&self.at).then_with(|| other.sequence.cmp(&self.sequence))
    }
}

impl<T> PartialOrd for Due<T> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<T> PartialEq for Due<T> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<T> Eq for Due<T> {}

/// What a purchase costs and where.
struct Purchase {
    user_id: Arc<str>,
    registered_at: Millis,
    currency: Currency,
    amount: f64,
    merchant: usize,
    kind: Kind,
}

impl Generator {
    /// Builds the world; its first event comes with the first call of `next`.
    pub fn new(config: TrafficConfig) -> Self {
        let config = TrafficConfig { spacing: config.spacing.min(config.users / USERS_PER_PLACE), ..config };
        let mut chance = Chance::new(config.seed, 0);
        let start = config.start.0 as f64;
        let world = World::new(&mut chance, config.users.max(1), config.start);
        let visits: f64 = world.users.iter().map(|user| user.visits_per_day).sum();
        let frauds_per_ms = visits * PURCHASES_PER_VISIT * config.fraud_share / DAY_MS;
        let mut generator = Self {
            campaigns_per_ms: fraud::MIX.map(|(_, share, frauds)| frauds_per_ms * share / frauds),
            delivery: Chance::new(config.seed, 1),
            doings: Doings::new(&config, world.users.len()),
            outcomes: Outcomes::new(config.seed),
            led: VecDeque::new(),
            lead: if config.actions > 0.0 { config.spacing } else { 0 },
            turns: Turns::new(config.shape, world.users.len(), Chance::new(config.seed, 2)),
            turn_gap: DAY_MS / (visits * PURCHASES_PER_VISIT),
            config,
            world,
            chance,
            queue: BinaryHeap::new(),
            arriving: BinaryHeap::new(),
            resends: Resends::default(),
            forgotten: HashSet::new(),
            spaced: BinaryHeap::new(),
            free_from: HashMap::new(),
            place: 0,
            sequence: 0,
            produced: 0,
        };
        if generator.turns.is_some() {
            // A rank stays one and the same user.
            generator.world.settle();
            generator.schedule_turn(start);
        } else {
            for user in 0..generator.world.users.len() {
                generator.schedule_visit(user, start);
            }
        }
        for campaign in 0..fraud::MIX.len() {
            generator.schedule_campaign(campaign, start);
        }
        generator
    }

    /// The next transaction to arrive; actions and labels are passed over. None once all of the year 2099 have arrived.
    pub fn next_transaction(&mut self) -> Option<LabelledTransaction> {
        self.find_map(|event| match event {
            Event::Transaction(transaction) => Some(transaction),
            Event::Action(_) | Event::Label(_) => None,
        })
    }

    /// When the world began, in simulated time.
    pub(crate) fn start(&self) -> Millis {
        self.config.start
    }

    /// Lets actions and labels overtake so many transactions from now on; returns how many they overtook before.
    pub(crate) fn lead(&mut self, transactions: usize) -> usize {
        std::mem::replace(&mut self.lead, transactions)
    }

    /// Nothing that was sent so far is sent again. Everything else comes as it would have come.
    pub(crate) fn forget_resends(&mut self) {
        let spaced = self.spaced.iter().filter_map(|due| due.what.duplicate());
        let outstanding = self.resends.outstanding().chain(spaced);
        self.forgotten = outstanding.map(|transaction| transaction.fields.transaction_id.clone()).collect();
    }

    fn is_forgotten(&mut self, event: &Event) -> bool {
        event.duplicate().is_some_and(|transaction| self.forgotten.remove(&transaction.fields.transaction_id))
    }

    pub(crate) fn push(&mut self, at: f64, what: Action) {
        self.sequence += 1;
        self.queue.push(Due { at, sequence: self.sequence, what });
    }

    pub(crate) fn deliver(&mut self, at: f64, what: Arrival) {
        self.sequence += 1;
        self.arriving.push(Due { at, sequence: self.sequence, what: Box::new(what) });
    }

    /// The next visit, by thinning: candidates at the highest rate, kept with the probability of the moment.
    fn schedule_visit(&mut self, user: usize, after: f64) {
        let mut at = after;
        let gap = DAY_MS / (self.world.users[user].visits_per_day * RHYTHM_MAX);
        loop {
            at += self.chance.exponential(gap);
            if self.chance.unit() * RHYTHM_MAX < self.world.rhythm(user, at) {
                break;
            }
        }
        self.push(at, Action::Visit(user));
    }

    fn schedule_turn(&mut self, after: f64) {
        if let Some(turns) = &mut self.turns {
            let at = after + turns.gap(self.turn_gap);
            self.push(at, Action::Turn);
        }
    }

    /// One purchase of whoever is drawn, at the rate at which all users together buy.
    fn turn(&mut self, at: f64) {
        let Some(user) = self.turns.as_mut().map(Turns::next_user) else { return };
        self.age(user, at);
        let origin = self.world.origin(user, &mut self.chance, at);
        self.come_in(user, &origin, at);
        self.purchase(user, origin, false, at);
        self.schedule_turn(at);
    }

    fn schedule_campaign(&mut self, campaign: usize, after: f64) {
        let rate = self.campaigns_per_ms[campaign];
        if rate > 0.0 {
            let at = after + self.chance.exponential(1.0 / rate);
            self.push(at, Action::Campaign(campaign));
        }
    }

    fn act(&mut self, at: f64, action: Action) {
        match action {
            Action::Visit(user) => {
                self.age(user, at);
                self.visit(user, at);
                self.schedule_visit(user, at);
            }
            Action::Turn => self.turn(at),
            Action::Purchase { user, origin, trifle } => self.purchase(user, origin, trifle, at),
            Action::Campaign(campaign) => {
                let strikes = fraud::plan(fraud::MIX[campaign].0, &mut self.world, &mut self.chance, at);
                self.prepare(&strikes, at);
                for strike in strikes {
                    self.push(strike.at, Action::Strike(Box::new(strike)));
                }
                self.schedule_campaign(campaign, at);
            }
            Action::Strike(strike) => self.strike(*strike),
            Action::Browse { user, id } => self.browse(user, &id, at),
            Action::Deed(deed) => self.do_deed(*deed, at),
        }
    }

    /// Lets time pass for a user, and tells of what changes then.
    fn age(&mut self, user: usize, at: f64) {
        let before = self.appearance(user);
        self.world.age(user, &mut self.chance, at);
        if let Some(before) = before {
            self.tell_of_changes(user, &before, at);
        }
    }

    /// A purchase and, now and then, more of them within minutes.
    fn visit(&mut self, user: usize, at: f64) {
        let origin = self.world.origin(user, &mut self.chance, at);
        self.come_in(user, &origin, at);
        let trifle = self.chance.happens(if self.world.users[user].gamer { 0.25 } else { 0.012 });
        let more = match () {
            () if trifle && self.world.users[user].gamer => self.chance.whole(1, 6),
            () if self.chance.happens(0.12) => self.chance.whole(1, 3),
            () => 0,
        };
        let mut follow_at = at;
        for _ in 0..more {
            follow_at += self.chance.exponential(if trifle { 1.5 } else { 6.0 } * MINUTE_MS) + 5_000.0;
            self.push(follow_at, Action::Purchase { user, origin: origin.clone(), trifle });
        }
        self.purchase(user, origin, trifle, at);
    }

    fn purchase(&mut self, index: usize, origin: Origin, trifle: bool, at: f64) {
        let mood = self.world.mood(index, at);
        let user = &self.world.users[index];
        let chance = &mut self.chance;
        let favourite = chance.happens(0.85);
        let merchant = if favourite {
            user.merchants[chance.below(user.merchants.len())]
        } else {
            chance.below(self.world.merchants.len())
        };
        let amount = if trifle {
            chance.between(0.49, 4.99)
        } else {
            let large = if chance.happens(0.012) { chance.log_normal(5.0, 0.5) } else { 1.0 };
            user.typical * self.world.merchants[merchant].level * chance.log_normal(mood * large, user.spread)
        };
        let amount = if chance.happens(0.3) { amount.floor() + 0.99 } else { amount };
        let purchase = Purchase {
            user_id: user.id.clone(),
            registered_at: user.registered_at,
            currency: user.currency,
            amount,
            merchant,
            kind: Kind::Genuine,
        };
        self.produce(purchase, origin, at);
    }

    fn strike(&mut self, strike: Strike) {
        let Strike { at, kind, account, origin, amount, merchant } = strike;
        let (user_id, registered_at, currency, own) = match account {
            Account::Recruit { id, registered_at, currency } => (id, registered_at, currency, None),
            Account::Victim(index) => {
                let user = &self.world.users[index];
                (user.id.clone(), user.registered_at, user.currency, Some(index))
            }
        };
        let origin = match (origin, own) {
            (Some(origin), _) => origin,
            (None, Some(index)) => {
                let origin = self.world.origin(index, &mut self.chance, at);
                self.come_in_by_theft(index, &origin, at);
                origin
            }
            (None, None) => return,
        };
        self.produce(Purchase { user_id, registered_at, currency, amount, merchant, kind }, origin, at);
    }

    fn produce(&mut self, purchase: Purchase, origin: Origin, at: f64) {
        self.produced += 1;
        let minor = (purchase.amount * 100.0).round().clamp(AMOUNT_MIN, purchase.currency.amount_minor_max() as f64);
        let fields = TransactionFields {
            transaction_id: format!("t-{:x}-{:09}", self.config.seed, self.produced).into(),
            timestamp: Millis(at as i64),
            user_id: purchase.user_id,
            amount: purchase.currency.amount(minor as u64).expect("clamped to what an amount can be"),
            currency: purchase.currency,
            device_type: origin.device_type,
            device_id: origin.device_id,
            ip: origin.ip,
            user_agent: origin.agent,
            merchant_id: self.world.merchants[purchase.merchant].id.clone(),
        };
        for label in self.outcomes.labels(&fields, purchase.kind, at, self.config.labels, &mut self.delivery) {
            self.deliver(label.arrived_at.0 as f64, Arrival::Only(Event::Label(label)));
        }
        self.send(fields, purchase.kind, purchase.registered_at, at);
    }

    fn send(&mut self, fields: TransactionFields, kind: Kind, registered_at: Millis, at: f64) {
        let TrafficConfig { late_minutes_share, late_hours_share, late_days_share, duplicate_share, .. } = self.config;
        let draw = self.delivery.unit();
        let delay = match () {
            () if draw < late_days_share => self.delivery.between(25.0, 96.0) * HOUR_MS,
            () if draw < late_days_share + late_hours_share => self.delivery.between(1.0, 20.0) * HOUR_MS,
            () if draw < late_days_share + late_hours_share + late_minutes_share => {
                self.delivery.exponential(5.0 * MINUTE_MS)
            }
            () => 0.0,
        };
        let arrives_at = at + delay;
        let mut sent = LabelledTransaction {
            fields,
            kind,
            arrived_at: Millis(arrives_at as i64),
            registered_at,
            duplicate: false,
        };
        if self.delivery.happens(duplicate_share) {
            let again_at = arrives_at + self.delivery.exponential(2.0 * MINUTE_MS);
            self.deliver(arrives_at, Arrival::First(sent.clone()));
            sent.duplicate = true;
            sent.arrived_at = Millis(again_at as i64);
            self.deliver(again_at, Arrival::Again(sent));
        } else {
            self.deliver(arrives_at, Arrival::Only(Event::Transaction(sent)));
        }
    }
}
