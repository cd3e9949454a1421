//! A session that leaves a topic and comes back to it, from its command to what its client reads.

use super::bench::{Bench, events};

/// PROTOCOL 3 and 7: a session leaves a topic in the tick that has a message of it, becomes slow with that tick, and comes back to the
/// topic. What waits of the ended subscription is nobody's place to take, and what is dropped of it is no gap of the new one. (The
/// newest took that place, before the answer to the unsubscribe; and a `gap` told of what lay before the new subscription.)
#[tokio::test]
async fn what_this_tick_had_of_a_left_topic_ends_with_its_subscription() {
    for (topic, first) in [("c.a", ["message 1", "unsubscribed"]), ("d.a", ["unsubscribed", "message 2"])] {
        let mut bench = Bench::new();
        bench.subscribe(topic);
        bench.publish(topic);
        bench.unsubscribe(topic);
        bench.flush();
        bench.subscribe(topic);
        bench.publish(topic);
        bench.publish(topic);
        bench.flush();
        let mut client = bench.arrive(b"");
        assert_eq!(events(&bench.read(&mut client).await), [first[0], first[1], "message 3"], "{topic}");
    }
}
