//! Two hosts, two networks, one group of two routers on each host: together or not at all, whatever is cut.

use pgbaton::units::Moment;
use pgbaton::vrrp::config::Config;
use pgbaton::vrrp::event::Output;
use pgbaton::vrrp::group::{Member, Step, steps};
use pgbaton::vrrp::router::Router;
use pgbaton::vrrp::types::{Priority, State, Vrid};
use proptest::prelude::*;
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

/// The routers by host and network, and which of their links are up.
struct World {
    now: Moment,
    routers: [[Router; 2]; 2],
    link: [[bool; 2]; 2],
    kept_out: [[bool; 2]; 2],
}

fn address(host: usize, network: usize) -> IpAddr {
    Ipv4Addr::new(10, 0, u8::try_from(network).unwrap(), u8::try_from(host + 1).unwrap()).into()
}

fn router(host: usize, network: usize, preempt: bool) -> Router {
    let vip = Ipv4Addr::new(10, 0, u8::try_from(network).unwrap(), 100).into();
    let vrid = Vrid::try_from(u8::try_from(51 + network).unwrap()).unwrap();
    let config = Config {
        priority: Priority(if host == 0 { 200 } else { 100 }),
        grouped: true,
        preempt,
        ..Config::new(vrid, address(host, network), vec![vip])
    };
    let mut router = Router::new(config).unwrap();
    router.startup(Moment::from_nanos(1));
    router
}

impl World {
    fn new(preempt: bool) -> Self {
        let mut world = Self {
            now: Moment::from_nanos(1),
            routers: [0, 1].map(|host| [0, 1].map(|network| router(host, network, preempt))),
            link: [[true; 2]; 2],
            kept_out: [[false; 2]; 2],
        };
        world.settle();
        world
    }

    fn state(&self, host: usize) -> [State; 2] {
        [0, 1].map(|network| self.routers[host][network].state())
    }

    /// Delivers what the routers send, and lets the groups follow, until nothing more happens.
    fn settle(&mut self) {
        loop {
            let mut quiet = true;
            for host in 0..2 {
                for network in 0..2 {
                    while let Some(advert) = self.next_advert(host, network) {
                        quiet = false;
                        let other = 1 - host;
                        if self.link[host][network] && self.link[other][network] {
                            let from = address(host, network);
                            self.routers[other][network].handle_advert(self.now, from, &advert);
                        }
                    }
                }
                quiet &= !self.follow(host);
            }
            if quiet {
                return;
            }
        }
    }

    fn next_advert(&mut self, host: usize, network: usize) -> Option<pgbaton::vrrp::wire::Advert> {
        loop {
            match self.routers[host][network].poll_output() {
                Output::Send(advert) => return Some(advert),
                Output::Event(_) => {}
                Output::Timeout(_) => return None,
            }
        }
    }

    fn follow(&mut self, host: usize) -> bool {
        let members: Vec<Option<Member>> = [0, 1]
            .map(|network| {
                let router = &self.routers[host][network];
                Some(Member {
                    state: router.state(),
                    wants: router.wants_active(),
                    fault: !self.link[host][network],
                    kept_out: self.kept_out[host][network],
                })
            })
            .to_vec();
        let steps = steps(&members);
        for (network, step) in steps.iter().enumerate() {
            let router = &mut self.routers[host][network];
            match step {
                Step::Stay => continue,
                Step::KeepOut => self.kept_out[host][network] = true,
                Step::LetIn => self.kept_out[host][network] = false,
                Step::Rise => router.rise(self.now),
                Step::Fall => router.fall(self.now),
            }
            router.set_fault(self.now, self.kept_out[host][network] || !self.link[host][network]);
        }
        steps.iter().any(|step| *step != Step::Stay)
    }

    fn set_link(&mut self, host: usize, network: usize, up: bool) {
        self.link[host][network] = up;
        let out = !up || self.kept_out[host][network];
        self.routers[host][network].set_fault(self.now, out);
        self.settle();
    }

    fn run(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let next = self.routers.iter_mut().flatten().filter_map(|router| match router.poll_output() {
                Output::Timeout(at) => at,
                _ => None,
            });
            match next.min().filter(|at| *at <= end) {
                Some(at) => self.now = self.now.max(at),
                None => break,
            }
            for host in 0..2 {
                for network in 0..2 {
                    self.routers[host][network].handle_timeout(self.now);
                }
            }
            self.settle();
            for host in 0..2 {
                let [one, two] = self.state(host);
                assert_eq!(one == State::Active, two == State::Active, "host {host}: {one} and {two}");
            }
        }
        self.now = end;
    }
}

const ACTIVE: [State; 2] = [State::Active; 2];

#[test]
fn a_link_that_goes_takes_the_other_network_along_and_both_come_back() {
    let mut world = World::new(true);
    world.run(Duration::from_secs(10));
    assert_eq!((world.state(0), world.state(1)), (ACTIVE, [State::Backup; 2]));
    world.set_link(0, 1, false);
    assert_eq!(world.state(0), [State::Initialize; 2]);
    // One farewell comes, the other can't: the silence there decides.
    world.run(Duration::from_secs(4));
    assert_eq!(world.state(1), ACTIVE);
    world.set_link(0, 1, true);
    world.run(Duration::from_secs(10));
    assert_eq!((world.state(0), world.state(1)), (ACTIVE, [State::Backup; 2]));
}

#[test]
fn one_that_is_mended_waits_for_the_others_without_a_word() {
    let mut world = World::new(true);
    world.run(Duration::from_secs(10));
    for network in [0, 1] {
        world.set_link(0, network, false);
    }
    let begun = |world: &World| [0, 1].map(|network| world.routers[0][network].stats().became_backup);
    let before = begun(&world);
    world.set_link(0, 0, true);
    assert_eq!((world.state(0), begun(&world)), ([State::Initialize; 2], before));
    world.set_link(0, 1, true);
    assert_eq!((world.state(0), begun(&world)), ([State::Backup; 2], before.map(|count| count + 1)));
}

#[test]
fn without_preemption_a_group_that_comes_back_stays_backup() {
    let mut world = World::new(false);
    world.run(Duration::from_secs(10));
    world.set_link(0, 0, false);
    world.run(Duration::from_secs(2));
    world.set_link(0, 0, true);
    world.run(Duration::from_secs(10));
    assert_eq!((world.state(0), world.state(1)), ([State::Backup; 2], ACTIVE));
}

proptest! {
    #[test]
    fn whatever_is_cut_a_group_is_whole_and_one_is_active_wherever_one_can_be(
        preempt: bool,
        changes in proptest::collection::vec((0_usize..2, 0_usize..2, any::<bool>(), 0_u64..8_000), 0..20),
    ) {
        let mut world = World::new(preempt);
        for (host, network, up, pause) in changes {
            if world.link[host][network] != up {
                world.set_link(host, network, up);
            }
            world.run(Duration::from_millis(pause));
        }
        world.run(Duration::from_secs(20));
        let able = |host: usize| world.link[host] == [true; 2];
        let active = [0, 1].map(|host| world.state(host) == ACTIVE);
        prop_assert_eq!(active.iter().filter(|active| **active).count(), usize::from(able(0) || able(1)));
        prop_assert!((0..2).all(|host| !active[host] || able(host)));
    }
}
