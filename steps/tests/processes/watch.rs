//! The kind `watch`.

use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use almaplan_engine::context::Context;
use almaplan_engine::kind::Kind;
use almaplan_steps::kinds::watch::Watch;
use serde_json::{Map, Value, json};

use super::fixture::{context, context_after, kind, script_command, until};

/// Ended with the test.
struct Ended(Child);

impl Drop for Ended {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn started(words: &[&str]) -> Ended {
    Ended(script_command(words).stdin(Stdio::piped()).spawn().unwrap())
}

/// A parent that does nothing, whose child works; the child ends with the parent's input.
const WORKING_CHILD: [&str; 5] = ["start", "2", "work", "80", "wait"];

#[tokio::test]
async fn the_whole_tree_is_measured() {
    let service = started(&WORKING_CHILD);
    let (cx, ..) = context(&std::env::temp_dir());
    let watch: Watch = kind(json!({ "pid": service.0.id(), "for": "2s", "interval": "200ms" }));
    let seen = watch.run(&cx).await.unwrap();
    assert!(seen.samples >= 3, "{seen:?}");
    assert!(seen.cpu_mean.unwrap() > 5.0 && seen.cpu_peak >= seen.cpu_mean, "the child's work: {seen:?}");
    assert!(seen.memory_peak.unwrap() > 80 << 20 && seen.memory_mean.unwrap() > 10 << 20, "the child's memory: {seen:?}");
    assert_eq!(seen.answers_mean_ms, None);
}

#[tokio::test]
async fn a_limit_is_exceeded_only_three_times_in_a_row() {
    let service = started(&WORKING_CHILD);
    let (cx, ..) = context(&std::env::temp_dir());
    let watch = |more: serde_json::Value| {
        let mut with = json!({ "pid": service.0.id(), "for": "20s", "interval": "200ms" });
        with.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        kind::<Watch>(with)
    };
    let failure = watch(json!({ "max_memory": "30MiB" })).run(&cx).await.unwrap_err();
    assert!(failure.clean && failure.message.contains("more than the 30.0 MiB"), "{failure}");
    let begun = Instant::now();
    let failure = watch(json!({ "max_cpu": 2 })).run(&cx).await.unwrap_err();
    assert!(failure.message.contains("more than the 2 %"), "{failure}");
    assert!(begun.elapsed() >= Duration::from_millis(600), "one look is noise");
}

#[tokio::test]
async fn a_process_that_ends_is_noticed_long_before_the_next_look() {
    let mut service = started(&["read"]);
    let (cx, ..) = context(&std::env::temp_dir());
    let begun = Instant::now();
    let watch: Watch = kind(json!({ "pid": service.0.id(), "for": "60s", "interval": "30s" }));
    // The first poll of the watch has looked at the process before it is killed. Not waited for: a zombie counts as ended.
    let (watched, ()) = tokio::join!(biased; watch.run(&cx), async { service.0.kill().unwrap() });
    let failure = watched.unwrap_err();
    assert!(begun.elapsed() < Duration::from_secs(20));
    assert!(
        failure.message.contains("ended while it was watched") && failure.message.contains(&format!("(pid {})", service.0.id())),
        "{failure}"
    );

    service.0.wait().unwrap();
    let (cx, ..) = context(&std::env::temp_dir());
    let failure = kind::<Watch>(json!({ "pid": service.0.id() })).run(&cx).await.unwrap_err();
    assert!(failure.message.contains("does not run"), "{failure}");
    assert!(kind::<Watch>(json!({ "pid": null })).check().unwrap_err().contains("nothing to watch"));
}

#[tokio::test]
async fn a_url_that_answers_is_timed_and_one_that_does_not_fails() {
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let url = format!("http://127.0.0.1:{port}/");
    let service = started(&["serve", &port.to_string()]);
    until("someone who listens", || almaplan_steps::process::is_listened_on(port).unwrap()).await;
    let (cx, stop, _) = context(&std::env::temp_dir());
    let seen = kind::<Watch>(json!({ "url": url, "for": "500ms", "interval": "100ms" })).run(&cx).await.unwrap();
    assert!(seen.answers_mean_ms.unwrap() > 0.0 && seen.cpu_peak.is_none(), "{seen:?}");

    drop(service);
    let failure = kind::<Watch>(json!({ "url": url, "for": "20s", "interval": "100ms" })).run(&cx).await.unwrap_err();
    assert!(failure.message.contains("did not answer 3 times"), "{failure}");

    stop.cancel();
    let failure = kind::<Watch>(json!({ "url": url })).run(&cx).await.unwrap_err();
    assert_eq!(failure.message, "stopped as asked");
}

/// What an attempt recorded, as the next one sees it.
fn kept(cx: &Context) -> Map<String, Value> {
    cx.all_recorded()
}

#[tokio::test]
async fn an_interrupted_watch_goes_on_where_it_was() {
    let service = started(&["read"]);
    let with = json!({ "pid": service.0.id(), "for": "6s", "interval": "100ms" });
    let (cx, stop, _) = context(&std::env::temp_dir());
    let watch: Watch = kind(with.clone());
    let (stopped, ()) = tokio::join!(watch.run(&cx), async {
        tokio::time::sleep(Duration::from_secs(4)).await;
        stop.cancel();
    });
    assert_eq!(stopped.unwrap_err().message, "stopped as asked");
    let (cx, ..) = context_after(&std::env::temp_dir(), kept(&cx), Vec::new());
    let begun = Instant::now();
    // Of 60 looks or so not more than a third is left.
    let seen = kind::<Watch>(with).run(&cx).await.unwrap();
    assert!(begun.elapsed() < Duration::from_secs(4) && seen.samples <= 30, "{:?} {seen:?}", begun.elapsed());
}

#[tokio::test]
async fn what_was_watched_of_another_process_or_before_a_failure_does_not_count() {
    let service = started(&["read"]);
    let watched = |of: Value, more: Option<&str>| {
        let mut kept = Map::from_iter([("watched-1-900000".to_owned(), of)]);
        kept.extend(more.map(|name| (name.to_owned(), json!(true))));
        kept
    };
    let with = json!({ "pid": service.0.id(), "for": "2s", "interval": "100ms" });
    let (cx, stop, _) = context(&std::env::temp_dir());
    stop.cancel();
    kind::<Watch>(with.clone()).run(&cx).await.unwrap_err();
    let identity = kept(&cx).values().next().unwrap().clone();
    for (before, whole) in
        [(watched(identity.clone(), None), false), (watched(identity, Some("failed-1")), true), (watched(json!({ "pid": 1 }), None), true)]
    {
        let (cx, ..) = context_after(&std::env::temp_dir(), before.clone(), Vec::new());
        let begun = Instant::now();
        kind::<Watch>(with.clone()).run(&cx).await.unwrap();
        assert_eq!(begun.elapsed() >= Duration::from_secs(2), whole, "{before:?}");
    }
}
