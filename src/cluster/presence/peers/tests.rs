//! The others' members against a model: gateways with members of their own, over a network that keeps the order of each and loses the rest.

use proptest::prelude::*;

use super::super::own::{Own, written_page};
use super::super::wire::{self, Asked};
use super::*;
use crate::session_id::{Member, SessionId};
use crate::topic_name::TopicName;

const TIMEOUT: Duration = Duration::from_secs(5);
/// Pages have room for a few members only.
const PAGE_BYTES: usize = 400;

/// A gateway, and what is on its way from it.
struct Gateway {
    id: GatewayId,
    own: Own,
    said: VecDeque<Vec<u8>>,
    pages: VecDeque<Vec<u8>>,
}

impl Gateway {
    fn new() -> Self {
        let mut own = Own::default();
        own.set_connected(true);
        Self { id: GatewayId::random(), own, said: VecDeque::new(), pages: VecDeque::new() }
    }

    fn change(&mut self, member: u8, user: u8, joined: bool) {
        let topic = TopicName::parse(["chat.a", "chat.b", "chat.c"][usize::from(member % 3)]).unwrap();
        let user = Some(format!("user {user}").into());
        // As the hub does: nobody joins twice without a leave.
        let before = Seat::of(&PresenceChange { topic: topic.clone(), member: self.member(member, None), joined });
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

    /// Its members, as pages show them.
    fn known(&self) -> BTreeMap<Seat, Member> {
        let (_, members, more) = self.own.page(None);
        assert!(!more);
        members.iter().map(|joined| (Seat::of(joined), joined.member.clone())).collect()
    }

    fn tell(&mut self) {
        let (after, changes) = self.own.tell(3);
        if !changes.is_empty() {
            self.said.push_back(wire::changes(after, &changes, 1 << 20).0);
        }
    }

    fn beat(&mut self) {
        let (n, members) = self.own.told();
        self.said.push_back(wire::beat(n, members, "a"));
    }
}

/// One gateway that hears the others, what its watchers were told, and the time.
struct World {
    others: Vec<Gateway>,
    peers: Peers,
    told: BTreeMap<Seat, Member>,
    now: Instant,
    asked_at_once: usize,
}

impl World {
    fn new(others: usize, bytes_max: usize) -> Self {
        let others = (0..others).map(|_| Gateway::new()).collect();
        Self { others, peers: Peers::new(TIMEOUT, bytes_max), told: BTreeMap::new(), now: Instant::now(), asked_at_once: 0 }
    }

    /// Does what is to be done. No join of who is there is told, and no leave of who is not.
    fn act(&mut self) {
        let asking = self.peers.peers.values().filter(|peer| matches!(peer.step, Step::Asking(_))).count();
        self.asked_at_once = self.asked_at_once.max(asking);
        for action in self.peers.take_actions() {
            match action {
                Action::Change(change) if change.joined => {
                    assert!(self.told.insert(Seat::of(&change), change.member.clone()).is_none(), "{change:?} joined twice");
                }
                Action::Change(change) => {
                    assert_eq!(self.told.remove(&Seat::of(&change)).as_ref(), Some(&change.member), "who left was another");
                }
                Action::Ask(id, after) => {
                    let Asked { after } = Asked::read(&wire::ask(after.as_ref())).unwrap();
                    let Some(gateway) = self.others.iter_mut().find(|gateway| gateway.id == id) else { continue };
                    gateway.pages.push_back(written_page(after.as_ref(), gateway.own.page(after.as_ref()), PAGE_BYTES));
                }
            }
        }
        let (kept, _) = self.peers.account();
        assert_eq!(kept.members, self.told.len());
        assert!(kept.bytes <= self.peers.seats.bytes_max && (kept.members > 0) == (kept.bytes > 0));
    }

    fn deliver(&mut self, of: usize) {
        let gateway = &mut self.others[of];
        if let Some(text) = gateway.said.pop_front() {
            self.peers.hear(gateway.id, Said::read(&text).unwrap(), self.now);
        }
        self.act();
    }

    fn deliver_page(&mut self, of: usize) {
        let gateway = &mut self.others[of];
        if let Some(text) = gateway.pages.pop_front() {
            self.peers.answer(gateway.id, Page::read(&text).unwrap(), self.now);
        }
        self.act();
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.peers.look(self.now);
        self.act();
    }

    /// Nothing is lost any more, and every gateway beats.
    fn calm_down(&mut self) {
        for _ in 0..100 {
            self.pass(Duration::from_secs(1));
            for of in 0..self.others.len() {
                (0..50).for_each(|_| self.others[of].tell());
                self.others[of].beat();
                while !self.others[of].said.is_empty() || !self.others[of].pages.is_empty() {
                    self.deliver(of);
                    self.deliver_page(of);
                }
            }
        }
    }

    fn expect_agreement(&self) {
        let members: BTreeMap<_, _> = self.others.iter().flat_map(Gateway::known).collect();
        assert_eq!(self.told, members);
    }
}

#[derive(Debug, Clone)]
enum Event {
    Change { member: u8, user: u8, joined: bool },
    Tell,
    Beat,
    Deliver,
    DeliverPage,
    Lose,
    LosePage,
    Pass(u64),
    Cut,
    Restart,
    Bye,
}

fn events() -> impl Strategy<Value = Vec<(usize, Event)>> {
    let event = prop_oneof![
        8 => (0..40_u8, 0..2_u8, any::<bool>()).prop_map(|(member, user, joined)| Event::Change { member, user, joined }),
        4 => Just(Event::Tell),
        2 => Just(Event::Beat),
        8 => Just(Event::Deliver),
        6 => Just(Event::DeliverPage),
        1 => Just(Event::Lose),
        1 => Just(Event::LosePage),
        2 => (1..3_000_u64).prop_map(Event::Pass),
        1 => Just(Event::Cut),
        1 => Just(Event::Restart),
        1 => Just(Event::Bye),
    ];
    prop::collection::vec((0..3_usize, event), 0..300)
}

fn run(world: &mut World, events: Vec<(usize, Event)>) {
    for (of, event) in events {
        let gateway = &mut world.others[of];
        match event {
            Event::Change { member, user, joined } => gateway.change(member, user, joined),
            Event::Tell => gateway.tell(),
            Event::Beat => gateway.beat(),
            Event::Deliver => world.deliver(of),
            Event::DeliverPage => world.deliver_page(of),
            Event::Lose => _ = gateway.said.pop_front(),
            Event::LosePage => _ = gateway.pages.pop_front(),
            Event::Pass(milliseconds) => world.pass(Duration::from_millis(milliseconds)),
            Event::Cut => {
                gateway.own.set_connected(false);
                gateway.said.clear();
                gateway.own.set_connected(true);
            }
            Event::Restart => *gateway = Gateway::new(),
            Event::Bye => {
                gateway.said.push_back(wire::bye());
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// PROTOCOL 13: presence is the cluster's. Whatever was lost, once nothing is lost any more everybody has the same members.
    #[test]
    fn the_sets_agree_in_the_end(events in events()) {
        let mut world = World::new(3, 1 << 30);
        run(&mut world, events);
        world.calm_down();
        world.expect_agreement();
        prop_assert!(world.asked_at_once <= ASKED_MAX);
    }

    /// Members without room are counted and not shown, the account holds, and they come once there is room.
    #[test]
    fn what_is_kept_is_bounded(events in events()) {
        let mut world = World::new(3, 4_000);
        run(&mut world, events);
        world.calm_down();
        world.peers.set_limits(TIMEOUT, 1 << 30);
        world.calm_down();
        world.expect_agreement();
    }
}

/// PROTOCOL 13: members of a gateway that dies leave within the timeout.
#[test]
fn who_is_silent_is_dead() {
    let mut world = World::new(2, 1 << 30);
    (0..20).for_each(|member| world.others[0].change(member, 0, true));
    world.others[1].change(1, 0, true);
    world.calm_down();
    assert_eq!(world.told.len(), 21);
    world.others.remove(0);
    for _ in 0..5 {
        world.pass(Duration::from_secs(1));
        world.others[0].beat();
        world.deliver(0);
    }
    assert_eq!((world.told.len(), world.peers.peers.len()), (1, 1));
}

/// A gateway that was heard out of step again and again is asked at longer intervals.
#[test]
fn asking_is_bounded() {
    let mut world = World::new(1, 1 << 30);
    let mut asked = 0;
    for second in 0..60 {
        world.others[0].change(1, second, true);
        world.others[0].said.clear();
        world.others[0].beat();
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
