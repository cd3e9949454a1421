//! Test of a session that leaves a topic and subscribes to it again, from its command to the bytes that its client
//! reads.

use super::bench::{Bench, events};

/// PROTOCOL 3 and 7: a session leaves a topic in the tick that has a message of the topic, becomes slow in that tick,
/// and subscribes again. Waiting messages of the ended subscription are not replaced by new ones, and a dropped one is
/// no gap of the new subscription. (The newest message took the place of an old one, before the answer to the
/// unsubscribe, and a `gap` told messages from before the new subscription.)
#[tokio::test]
async fn messages_of_a_left_topic_end_with_their_subscription() {
    for (topic, first) in [("c.a", ["message 1", "unsubscribed"]), ("d.a", ["unsubscribed", "message 2"])] {
        let mut bench = Bench::subscribed(topic);
        bench.publish(topic);
        bench.unsubscribe(topic);
        bench.flush();
        bench.subscribe(topic);
        bench.publish(topic);
        bench.send(topic);
        assert_eq!(events(&bench.read_all().await), [first[0], first[1], "message 3"], "{topic}");
    }
}
