//! Collects what is logged.

use std::fmt::{Debug, Write};
use std::sync::{Mutex, OnceLock};

use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// This crate's events, each as `field=value` texts, of all tests of the process together.
pub struct Events {
    lines: Mutex<Vec<String>>,
}

impl Events {
    /// Starts collecting, if no test has yet.
    pub fn collect() -> &'static Self {
        static EVENTS: OnceLock<Events> = OnceLock::new();
        EVENTS.get_or_init(|| {
            tracing::subscriber::set_global_default(Collector).unwrap();
            Self { lines: Mutex::default() }
        })
    }

    /// Waits for an event whose fields contain all of these texts.
    pub async fn wait_for(&self, texts: &[&str]) {
        let found = || {
            let lines = self.lines.lock().unwrap();
            lines.iter().any(|line| texts.iter().all(|text| line.contains(text)))
        };
        while !found() {
            tokio::task::yield_now().await;
        }
    }
}

struct Collector;

struct Line(String);

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, "{}={value:?} ", field.name()).unwrap();
    }
}

impl Subscriber for Collector {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("mina_p2p")
    }

    fn event(&self, event: &Event<'_>) {
        let mut line = Line(String::new());
        event.record(&mut line);
        Events::collect().lines.lock().unwrap().push(line.0);
    }

    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}
