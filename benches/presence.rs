//! Presence: joining, leaving and listing a member cost the same in a room of 10,000 as in a room of 10.

#[path = "stage/hub.rs"]
#[allow(dead_code, reason = "this bench needs a part of it")]
mod hub;

use std::net::{Ipv4Addr, SocketAddr};

use belfry::dialect::{Dialect, Encoding};
use belfry::frame::Inflater;
use belfry::hub::ReplayRequest;
use belfry::session_id::{Member, SessionId};
use belfry::shard::{Expected, NewSession, Reader, SessionContext, Shards};
use belfry::topic_name::{Pattern, TopicName};
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use hub::{Stage, name};

const MEMBERS: [usize; 3] = [10, 1_000, 10_000];
const RULES: &str = "[{ match = \"chat.>\", presence = true }]";

/// The hub's part alone, under the lock of the topic.
fn joining_and_leaving_cost_the_same_in_any_room(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("joining_and_leaving_cost_the_same_in_any_room/hub");
    for members in MEMBERS {
        let (stage, room) = (Stage::new(RULES), name("chat.lobby"));
        let join = |member: &Member| stage.hub.subscribe(&room, stage.outlet, member, None, ReplayRequest::default()).is_ok();
        (0..members).for_each(|_| assert!(join(&Member { session: SessionId::random(), user: None, info: None })));
        let member = Member { session: SessionId::random(), user: Some("ann".into()), info: None };
        assert!(stage.hub.presence(&room).is_ok_and(|listed| listed.len() == members));
        group.bench_function(members.to_string(), |bencher| {
            bencher.iter(|| {
                assert!(join(&member));
                stage.hub.unsubscribe(&room, stage.outlet, member.session);
            });
        });
    }
    group.finish();
}

/// The time for each member of the list.
fn a_list_costs_its_members(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("a_list_costs_its_members");
    for members in MEMBERS {
        let (stage, room) = (Stage::new(RULES), name("chat.lobby"));
        for _ in 0..members {
            let member = Member { session: SessionId::random(), user: Some("ann".into()), info: None };
            assert!(stage.hub.subscribe(&room, stage.outlet, &member, None, ReplayRequest::default()).is_ok());
        }
        group.throughput(Throughput::Elements(members as u64));
        group.bench_function(members.to_string(), |bencher| bencher.iter(|| stage.hub.presence(&room).map(|listed| listed.len())));
    }
    group.finish();
}

/// With the shard's part: its subscribers, its slots, and the way to its thread and back, which costs most.
fn sessions_come_and_go_alike_in_any_room(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("joining_and_leaving_cost_the_same_in_any_room/shard");
    for members in MEMBERS {
        let stage = Stage::new(RULES);
        let shards = Shards::start(1, &stage.hub, &stage.live, &stage.metrics, &stage.clock).expect("a thread can be had");
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime can be had");
        let come = || -> Expected { runtime.block_on(shards.expect(new_session(&name("chat.lobby")))) };
        let _room: Vec<Expected> = (0..members).map(|_| come()).collect();
        group.bench_function(members.to_string(), |bencher| bencher.iter(|| drop(come())));
        shards.stop();
    }
    group.finish();
}

/// A session that is a member of a room and sends nothing.
fn new_session(room: &TopicName) -> NewSession {
    let id = SessionId::random();
    let encoding = Encoding::websocket(Dialect::Raw, None);
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, 1));
    NewSession { id, address, encoding, reader: Box::new(Quiet { id, room: room.clone() }), permit: Box::new(()), subscribes_at_once: true }
}

struct Quiet {
    id: SessionId,
    room: TopicName,
}

impl Reader for Quiet {
    fn on_open(&mut self, context: &mut SessionContext<'_>) {
        let member = Member { session: self.id, user: None, info: None };
        assert!(context.reserve_subscription(&Pattern::from(self.room.clone())).is_ok());
        if let Ok(start) = context.subscribe(&self.room, &member, ReplayRequest::default(), None) {
            context.begin(start);
        }
    }
    fn read(&mut self, input: &mut [u8], _: &mut Inflater, _: &mut SessionContext<'_>) -> usize {
        input.len()
    }
}

criterion_group!(benches, joining_and_leaving_cost_the_same_in_any_room, a_list_costs_its_members, sessions_come_and_go_alike_in_any_room);
criterion_main!(benches);
