//! What goes out next: by simulated arrival, each user's transactions apart where that is asked for.

use centinela_domain::transaction::TIME_MAX_MS;

use super::{Due, Generator};
use crate::transaction::Event;

impl Generator {
    fn next_arrival(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.resends.next() {
                return Some(event);
            }
            let next_at = self.queue.peek().map_or(f64::INFINITY, |due| due.at);
            if self.arriving.peek().is_some_and(|due| due.at <= next_at) {
                self.resends.arrive(*self.arriving.pop()?.what);
                continue;
            }
            if next_at > TIME_MAX_MS as f64 {
                // Nothing more happens; what did still arrives.
                self.resends.arrive(*self.arriving.pop()?.what);
                continue;
            }
            let due = self.queue.pop()?;
            self.act(due.at, due.what);
        }
    }

    fn next_spaced(&mut self) -> Option<Event> {
        loop {
            if self.spaced.peek().is_some_and(|due| due.at <= self.place as f64) {
                self.place += 1;
                return self.spaced.pop().map(|due| due.what);
            }
            let Some(event) = self.next_arrival() else {
                // Nobody is left to keep them apart.
                return self.spaced.pop().map(|due| due.what);
            };
            let Event::Transaction(transaction) = &event else { return Some(event) };
            let free_from = self.free_from.entry(transaction.fields.user_id.clone()).or_default();
            let at = self.place.max(*free_from);
            *free_from = at + 1 + self.config.spacing as u64;
            self.sequence += 1;
            self.spaced.push(Due { at: at as f64, sequence: self.sequence, what: event });
            self.forget_free_users();
        }
    }

    /// Transactions go out in their order; whatever else comes overtakes some of them.
    fn next_led(&mut self) -> Option<Event> {
        self.next_ahead().or_else(|| self.led.pop_front())
    }

    /// The next of what overtakes the first transaction; none when that is next.
    pub(crate) fn next_ahead(&mut self) -> Option<Event> {
        while self.led.len() <= self.lead {
            match self.next_unled()? {
                event @ Event::Transaction(_) => self.led.push_back(event),
                event => return Some(event),
            }
        }
        None
    }

    fn next_unled(&mut self) -> Option<Event> {
        if self.config.spacing == 0 { self.next_arrival() } else { self.next_spaced() }
    }

    /// Users come and go; those who are free anyway need no entry.
    fn forget_free_users(&mut self) {
        if self.free_from.len() > 4 * self.config.spacing + 1024 {
            let place = self.place;
            self.free_from.retain(|_, free_from| *free_from > place);
        }
    }
}

impl Iterator for Generator {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            let event = self.next_led()?;
            if !self.is_forgotten(&event) {
                return Some(event);
            }
        }
    }
}
