//! What a virtual router has counted since it was made.

use super::checksum::ChecksumForm;
use super::types::State;
use super::wire::Discard;
use serde::ser::SerializeMap;
use serde::{Serialize, Serializer};
use std::collections::BTreeMap;
use std::net::IpAddr;

/// The counters of one virtual router; each only grows.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Stats {
    /// Adverts sent, farewells included.
    pub adverts_sent: u64,
    /// Adverts received that passed every check, farewells included.
    pub adverts_received: u64,
    /// Farewells (priority 0) sent.
    pub priority_zero_sent: u64,
    /// Farewells received.
    pub priority_zero_received: u64,
    /// Times the router became Active.
    pub became_active: u64,
    /// Times the router became Backup.
    pub became_backup: u64,
    /// Times the router went back to Initialize.
    pub became_initialize: u64,
    /// Adverts received while Active.
    pub rival_adverts: u64,
    /// Adverts sent at once to tell a losing rival, or to answer a farewell.
    pub asserted: u64,
    /// Times the Active router was suspected to be gone.
    pub suspected: u64,
    /// Times permission to become Active was asked for.
    pub asked: u64,
    /// Times the process slept longer than the others wait.
    pub overslept: u64,
    /// Times a Backup woke too late to tell silence from its own deafness.
    pub late_wakeups: u64,
    /// Times another interval than before was adopted from the Active router.
    pub interval_adopted: u64,
    /// Adverts whose list of addresses isn't ours (version 3 takes them).
    pub address_list_differs: u64,
    /// Adverts whose interval isn't ours (version 3 takes them).
    pub interval_differs: u64,
    /// Adverts with a checksum over pseudo-header and message.
    pub checksum_pseudo_header: u64,
    /// Adverts with a checksum over the message alone.
    pub checksum_message_only: u64,
    discarded: [u64; Discard::ALL.len()],
    probes: BTreeMap<IpAddr, u64>,
}

/// The most senders of probes that are remembered each for itself: more than a cluster has nodes.
const MOST_PROBERS: usize = 32;

impl Stats {
    /// Counts a packet that was dropped.
    pub fn discard(&mut self, reason: Discard) {
        let slot = Discard::ALL.iter().zip(&mut self.discarded).find(|(each, _)| **each == reason);
        if let Some((_, count)) = slot {
            *count += 1;
        }
    }

    /// Counts a packet that was dropped, and for a probe, whose it was.
    pub fn discard_from(&mut self, reason: Discard, from: IpAddr) {
        self.discard(reason);
        if reason == Discard::Probe && (self.probes.len() < MOST_PROBERS || self.probes.contains_key(&from)) {
            *self.probes.entry(from).or_default() += 1;
        }
    }

    /// Iterates over those who have sent probes, and how many came in.
    pub fn probes(&self) -> impl Iterator<Item = (IpAddr, u64)> + '_ {
        self.probes.iter().map(|(from, count)| (*from, *count))
    }

    /// Returns how many packets were dropped for this reason.
    pub fn discarded(&self, reason: Discard) -> u64 {
        Discard::ALL
            .iter()
            .zip(&self.discarded)
            .find(|(each, _)| **each == reason)
            .map_or(0, |(_, count)| *count)
    }

    /// Returns how many packets were dropped for any reason.
    pub fn discarded_in_all(&self) -> u64 {
        self.discarded.iter().sum()
    }

    /// Counts the checksum form of a packet that passed.
    pub fn checksum(&mut self, form: ChecksumForm) {
        match form {
            ChecksumForm::PseudoHeader => self.checksum_pseudo_header += 1,
            ChecksumForm::MessageOnly => self.checksum_message_only += 1,
        }
    }

    /// Counts a change of state.
    pub fn entered(&mut self, state: State) {
        match state {
            State::Active => self.became_active += 1,
            State::Backup => self.became_backup += 1,
            State::Initialize => self.became_initialize += 1,
        }
    }

    /// Iterates over every counter with its stable name.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        [
            ("adverts_sent", self.adverts_sent),
            ("adverts_received", self.adverts_received),
            ("priority_zero_sent", self.priority_zero_sent),
            ("priority_zero_received", self.priority_zero_received),
            ("became_active", self.became_active),
            ("became_backup", self.became_backup),
            ("became_initialize", self.became_initialize),
            ("rival_adverts", self.rival_adverts),
            ("asserted", self.asserted),
            ("suspected", self.suspected),
            ("asked", self.asked),
            ("overslept", self.overslept),
            ("late_wakeups", self.late_wakeups),
            ("interval_adopted", self.interval_adopted),
            ("address_list_differs", self.address_list_differs),
            ("interval_differs", self.interval_differs),
            ("checksum_pseudo_header", self.checksum_pseudo_header),
            ("checksum_message_only", self.checksum_message_only),
        ]
        .into_iter()
        .chain(Discard::ALL.iter().zip(&self.discarded).map(|(reason, count)| (reason.counter(), *count)))
    }
}

impl Serialize for Stats {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(None)?;
        for (name, value) in self.iter() {
            map.serialize_entry(name, &value)?;
        }
        map.end()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_counter_has_a_name_of_its_own() {
        let names: Vec<_> = Stats::default().iter().map(|(name, _)| name).collect();
        let unique: std::collections::BTreeSet<_> = names.iter().collect();
        assert_eq!(names.len(), unique.len());
    }

    #[test]
    fn each_reason_counts_in_its_own_slot() {
        for reason in Discard::ALL {
            let mut stats = Stats::default();
            stats.discard(reason);
            assert_eq!(stats.discarded(reason), 1);
            assert_eq!(stats.discarded_in_all(), 1);
            assert!(stats.iter().any(|counter| counter == (reason.counter(), 1)));
        }
    }

    #[test]
    fn probes_are_counted_by_sender_and_a_crowd_of_senders_has_an_end() {
        let mut stats = Stats::default();
        for sender in 0..100 {
            stats.discard_from(Discard::Probe, IpAddr::from([10, 0, 0, sender]));
        }
        stats.discard_from(Discard::Probe, IpAddr::from([10, 0, 0, 0]));
        stats.discard_from(Discard::Type, IpAddr::from([10, 0, 0, 1]));
        assert_eq!(stats.discarded(Discard::Probe), 101);
        assert_eq!(stats.probes().count(), MOST_PROBERS);
        assert_eq!(stats.probes().next(), Some((IpAddr::from([10, 0, 0, 0]), 2)));
        assert_eq!(stats.probes().nth(1), Some((IpAddr::from([10, 0, 0, 1]), 1)));
    }

    #[test]
    fn counters_are_written_as_one_flat_object() {
        let json = serde_json::to_value(Stats { adverts_sent: 3, ..Stats::default() }).unwrap();
        assert_eq!(json["adverts_sent"], 3);
        assert_eq!(json["discarded_ttl"], 0);
    }
}
