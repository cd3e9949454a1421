//! `failover`: sessions that reconnect to another gateway, and the messages that they must receive.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::Duration;

use crate::program::{Outcome, Served, run};

const EVERYBODY: &str = r#"auth.anonymous={ subscribe = ["chat.>"], publish = ["chat.>"] }"#;
const HISTORY: &str = r#"topics=[{ match = "chat.>", history = 1000 }]"#;

/// A proxy to the server at `to`. Once the file `cut` exists, its connections end, and it accepts no more.
fn proxy(to: &str, cut: PathBuf) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port is free");
    let address = listener.local_addr().expect("a listener has an address");
    let (to, open) = (to.trim().to_owned(), Arc::new(Mutex::new(Vec::<TcpStream>::new())));
    let connections = Arc::clone(&open);
    let file = cut.clone();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            if file.exists() {
                continue;
            }
            let server = TcpStream::connect(&to).expect("the server is there");
            for (from, to) in [(&client, &server), (&server, &client)] {
                let (mut from, mut to) = (copy(from), copy(to));
                thread::spawn(move || {
                    let _ = io::copy(&mut from, &mut to); // the copy ends with either side
                    let _ = to.shutdown(Shutdown::Both);
                });
            }
            connections.lock().expect("no one panics with it").push(client);
        }
    });
    thread::spawn(move || {
        while !cut.exists() {
            thread::park_timeout(Duration::from_millis(2));
        }
        let ended = open.lock().expect("no one panics with it");
        ended.iter().for_each(|connection| _ = connection.shutdown(Shutdown::Both));
    });
    address
}

fn copy(socket: &TcpStream) -> TcpStream {
    socket.try_clone().expect("a descriptor is free")
}

/// A run over proxies to `one` and `other`, the first of which is cut after 0.4 s.
fn run_with_cut(folder: &Path, one: &Served, other: &Served) -> Outcome {
    let (cut, never) = (folder.join("cut"), folder.join("never"));
    let [first, second] = [proxy(&one.address, cut.clone()), proxy(&other.address, never)].map(|address| format!("ws://{address}/ws"));
    let fault = format!("0.4s=touch {}", cut.display());
    let arguments = ["failover", "--sessions", "20", "--rate", "100", "--duration", "1.5", "--url", &first, "--url", &second];
    run(&[&arguments[..], &["--fault", &fault]].concat())
}

/// Sessions whose proxy is cut reconnect over the other with `since`, and no message is lost or duplicated.
#[test]
fn sessions_resume_at_another_gateway() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let gateway = Served::start(&[EVERYBODY, HISTORY]);
    let outcome = run_with_cut(folder.path(), &gateway, &gateway);
    outcome.expect_all_well();
    let figure = |name: &str| outcome.number(&format!("/figures/{name}"));
    // Ten sessions with eight topics each.
    assert_eq!((figure("topics_recovered"), figure("topics_not_recovered")), (80.0, 0.0), "{outcome:?}");
    assert!(figure("silence_after_fault_1_longest_s") >= 0.1 && figure("publishes_acknowledged") > 50.0, "{outcome:?}");
}

/// Acknowledged messages that never arrive are lost. These two gateways are not a cluster.
#[test]
fn acknowledged_messages_that_do_not_arrive_are_lost() {
    let folder = tempfile::tempdir().expect("a folder can be made");
    let outcome = run_with_cut(folder.path(), &Served::start(&[EVERYBODY, HISTORY]), &Served::start(&[EVERYBODY, HISTORY]));
    assert_eq!(outcome.status, 2, "{outcome:?}");
    assert!(outcome.number("/verdict/lost") > 0.0, "{outcome:?}");
}

#[test]
fn a_failover_needs_a_fault_and_several_gateways() {
    let url = ["--url", "ws://127.0.0.1:1/ws"];
    let outcome = run(&[&["failover", "--fault", "1s=true"], &url[..]].concat());
    assert!(outcome.status == 1 && outcome.errors.contains("several with --url"), "{outcome:?}");
    let outcome = run(&[&["failover"], &url[..], &url[..]].concat());
    assert!(outcome.status == 1 && outcome.errors.contains("--fault"), "{outcome:?}");
    let outcome = run(&[&["fanout", "--fault", "1s=true"], &url[..]].concat());
    assert!(outcome.status == 1 && outcome.errors.contains("is for failover"), "{outcome:?}");
}
