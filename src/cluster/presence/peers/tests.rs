//! `Peers` against a model: gateways with members of their own, and a network that keeps the order of each gateway's
//! messages and loses some.

use proptest::prelude::*;

use super::super::own::{OwnMembers, write_page};
use super::super::wire::{self, PageRequest};
use super::*;
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Pages have room for a few members only.
const PAGE_BYTES: usize = 400;

/// A gateway, and its messages that were not delivered yet.
struct Gateway {
    id: GatewayId,
    own: OwnMembers,
    announcements: VecDeque<Vec<u8>>,
    pages: VecDeque<Vec<u8>>,
}

impl Gateway {
    fn new() -> Self {
        let mut own = OwnMembers::default();
        own.set_connected(true);
        Self { id: GatewayId::random(), own, announcements: VecDeque::new(), pages: VecDeque::new() }
    }

    fn change(&mut self, member: u8, user: u8, joined: bool) {
        let topic = TopicName::parse(["chat.a", "chat.b", "chat.c"][usize::from(member % 3)]).unwrap();
        let user = Some(format!("user {user}").into());
        // As in the hub, a member does not join twice without leaving.
        let before = MemberKey::of(&PresenceChange { topic: topic.clone(), member: self.member(member, None), joined });
        if let Some(known) = self.known().remove(&before) {
            self.own.change(&Arc::new(PresenceChange { topic: topic.clone(), member: known, joined: false }));
        }
        if joined {
            self.own.change(&Arc::new(PresenceChange { topic, member: self.member(member, user), joined }));
        }
    }

    fn member(&self, member: u8, user: Option<Arc<str>>) -> Member {
        let number = u64::from_str_radix(&self.id.to_string(), 16).unwrap();
        Member { session: SessionId::from_number(number.wrapping_add(member.into())), user, info: None }
    }

    /// Its members, as in its pages.
    fn known(&self) -> BTreeMap<MemberKey, Member> {
        let (_, members, more) = self.own.page(None);
        assert!(!more);
        members.iter().map(|joined| (MemberKey::of(joined), joined.member.clone())).collect()
    }

    fn announce(&mut self) {
        let (after, changes) = self.own.take_changes(3);
        if !changes.is_empty() {
            self.announcements.push_back(wire::changes(after, &changes, 1 << 20).0);
        }
    }

    fn send_heartbeat(&mut self) {
        let (newest, members) = self.own.announced();
        self.announcements.push_back(wire::to_json(&Announcement::Heartbeat { newest, members, name: "a".into() }));
    }
}

/// A gateway that follows the others, the members that its watchers see, and the time.
struct Simulation {
    others: Vec<Gateway>,
    peers: Peers,
    seen: BTreeMap<MemberKey, Member>,
    now: Instant,
    fetches_at_once: usize,
}

impl Simulation {
    fn new(others: usize, bytes_max: usize) -> Self {
        let others = (0..others).map(|_| Gateway::new()).collect();
        Self { others, peers: Peers::new(TIMEOUT, bytes_max), seen: BTreeMap::new(), now: Instant::now(), fetches_at_once: 0 }
    }

    /// Performs the actions. No member joins twice, and no absent member leaves.
    fn perform_actions(&mut self) {
        let fetch = self.peers.peers.values().filter(|peer| matches!(peer.sync, SyncState::Fetching(_))).count();
        self.fetches_at_once = self.fetches_at_once.max(fetch);
        for action in self.peers.take_actions() {
            match action {
                Action::Change(change) if change.joined => {
                    assert!(self.seen.insert(MemberKey::of(&change), change.member.clone()).is_none(), "{change:?} joined twice");
                }
                Action::Change(change) => {
                    assert_eq!(self.seen.remove(&MemberKey::of(&change)).as_ref(), Some(&change.member), "another member left");
                }
                Action::RequestPage(id, after) => {
                    let PageRequest { after } = serde_json::from_slice(&wire::to_json(&PageRequest { after })).unwrap();
                    let Some(gateway) = self.others.iter_mut().find(|gateway| gateway.id == id) else { continue };
                    gateway.pages.push_back(write_page(after.as_ref(), gateway.own.page(after.as_ref()), PAGE_BYTES));
                }
            }
        }
        let (totals, _) = self.peers.totals();
        assert_eq!(totals.members, self.seen.len());
        assert!(totals.bytes <= self.peers.shared.bytes_max && (totals.members > 0) == (totals.bytes > 0));
    }

    fn deliver(&mut self, of: usize) {
        let gateway = &mut self.others[of];
        if let Some(text) = gateway.announcements.pop_front() {
            self.peers.receive(gateway.id, serde_json::from_slice(&text).unwrap(), self.now);
        }
        self.perform_actions();
    }

    fn deliver_page(&mut self, of: usize) {
        let gateway = &mut self.others[of];
        if let Some(text) = gateway.pages.pop_front() {
            self.peers.receive_page(gateway.id, serde_json::from_slice(&text).unwrap(), self.now);
        }
        self.perform_actions();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.peers.check_timeouts(self.now);
        self.perform_actions();
    }

    /// Lets time pass while no message is lost and every gateway sends heartbeats.
    fn settle(&mut self) {
        for _ in 0..100 {
            self.pass(Duration::from_secs(1));
            for of in 0..self.others.len() {
                (0..50).for_each(|_| self.others[of].announce());
                self.others[of].send_heartbeat();
                while !self.others[of].announcements.is_empty() || !self.others[of].pages.is_empty() {
                    self.deliver(of);
                    self.deliver_page(of);
                }
            }
        }
    }

    fn expect_agreement(&self) {
        let members: BTreeMap<_, _> = self.others.iter().flat_map(Gateway::known).collect();
        assert_eq!(self.seen, members);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Change { member: u8, user: u8, joined: bool },
    Announce,
    Heartbeat,
    Deliver,
    DeliverPage,
    Lose,
    LosePage,
    Pass(u64),
    Cut,
    Restart,
    Leave,
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let event = prop_oneof![
        8 => (0..40_u8, 0..2_u8, any::<bool>()).prop_map(|(member, user, joined)| Event::Change { member, user, joined }),
        4 => Just(Event::Announce),
        2 => Just(Event::Heartbeat),
        8 => Just(Event::Deliver),
        6 => Just(Event::DeliverPage),
        1 => Just(Event::Lose),
        1 => Just(Event::LosePage),
        2 => (1..3_000_u64).prop_map(Event::Pass),
        1 => Just(Event::Cut),
        1 => Just(Event::Restart),
        1 => Just(Event::Leave),
    ];
    prop::collection::vec((0..3_usize, event), 0..300)
}

fn run(world: &mut Simulation, events: Vec<(usize, Event)>) {
    for (of, event) in events {
        let gateway = &mut world.others[of];
        match event {
            Event::Change { member, user, joined } => gateway.change(member, user, joined),
            Event::Announce => gateway.announce(),
            Event::Heartbeat => gateway.send_heartbeat(),
            Event::Deliver => world.deliver(of),
            Event::DeliverPage => world.deliver_page(of),
            Event::Lose => _ = gateway.announcements.pop_front(),
            Event::LosePage => _ = gateway.pages.pop_front(),
            Event::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
            Event::Cut => {
                gateway.own.set_connected(false);
                gateway.announcements.clear();
                gateway.own.set_connected(true);
            }
            Event::Restart => *gateway = Gateway::new(),
            Event::Leave => {
                gateway.announcements.push_back(wire::to_json(&Announcement::Leaving {}));
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// PROTOCOL 13: presence spans the cluster. Some time after the last loss, all gateways have the same members.
    #[test]
    fn all_gateways_agree_after_the_last_loss(events in events()) {
        let mut world = Simulation::new(3, 1 << 30);
        run(&mut world, events);
        world.settle();
        world.expect_agreement();
        prop_assert!(world.fetches_at_once <= FETCHES_MAX);
    }

    /// Members without room are counted and not shown, memory stays within the limit, and the members are shown once
    /// there is room.
    #[test]
    fn memory_of_members_is_bounded(events in events()) {
        let mut world = Simulation::new(3, 4_000);
        run(&mut world, events);
        world.settle();
        world.peers.set_limits(TIMEOUT, 1 << 30);
        world.settle();
        world.expect_agreement();
    }
}

/// PROTOCOL 13: members of a dead gateway leave within the timeout.
#[test]
fn members_of_a_silent_gateway_leave() {
    let mut world = Simulation::new(2, 1 << 30);
    (0..20).for_each(|member| world.others[0].change(member, 0, true));
    world.others[1].change(1, 0, true);
    world.settle();
    assert_eq!(world.seen.len(), 21);
    world.others.remove(0);
    for _ in 0..5 {
        world.pass(Duration::from_secs(1));
        world.others[0].send_heartbeat();
        world.deliver(0);
    }
    assert_eq!((world.seen.len(), world.peers.peers.len()), (1, 1));
}

/// Members of a gateway that loses messages again and again are fetched at longer intervals.
#[test]
fn repeated_fetches_are_backed_off() {
    let mut world = Simulation::new(1, 1 << 30);
    let mut asked = 0;
    for second in 0..60 {
        world.others[0].change(1, second, true);
        world.others[0].announcements.clear();
        world.others[0].send_heartbeat();
        (0..4).for_each(|_| world.deliver(0));
        let before = world.others[0].pages.len();
        world.pass(Duration::from_secs(1));
        asked += world.others[0].pages.len().saturating_sub(before) + before;
        world.others[0].own.set_connected(false);
        world.others[0].own.set_connected(true);
        (0..4).for_each(|_| world.deliver_page(0));
    }
    assert!((10..30).contains(&asked), "{asked} times in a minute");
}
