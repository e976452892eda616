//! All figures as the text that Prometheus reads (exposition format 0.0.4).
//!
//! Names follow its conventions: base units, `_total` for what only grows, one family for one thing.

use std::{fmt, fmt::Write, time::Duration};

use prometheus_client::{
    collector::Collector,
    encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, NoLabelSet},
    metrics::MetricType,
    registry::Registry,
};

use super::{ListenerReport, LiveReport, Process, Reason, Shown};
use crate::{
    histogram::Buckets,
    store::{QueueReport, StoreReport, Traffic},
};

/// The content type of [`text()`].
pub const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Everything that one scrape shows.
#[derive(Debug)]
pub struct Scrape {
    /// The store.
    pub store: StoreReport,
    /// The queues.
    pub queues: Shown,
    /// Whether puts are taken.
    pub is_ready: bool,
    /// The live side.
    pub live: LiveReport,
    /// The listeners.
    pub listeners: Vec<ListenerReport>,
    /// When the TLS certificate ends, in seconds since the Unix epoch, if there is one.
    pub certificate_ends_s: Option<u64>,
    /// This process.
    pub process: Process,
    /// When the process began to serve, in milliseconds since the Unix epoch.
    pub started_ms: u64,
    /// Now, likewise.
    pub now_ms: u64,
}

impl Scrape {
    /// The label of all queues that have no name in the metrics. A queue that is really called so is one of them.
    pub const REST: &str = "_other";
}

/// Writes a scrape.
///
/// # Errors
/// None that a scrape can cause: the text is written to memory.
pub fn text(scrape: Scrape) -> Result<String, fmt::Error> {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(scrape));
    let mut open_metrics = String::new();
    prometheus_client::encoding::text::encode_registry(&mut open_metrics, &registry)?;
    classic(&open_metrics)
}

/// OpenMetrics, which the library writes, as the older format, which every reader knows: there, HELP and TYPE of a counter name it
/// as its samples do.
fn classic(open_metrics: &str) -> Result<String, fmt::Error> {
    let mut text = String::with_capacity(open_metrics.len() + (4 << 10));
    let mut help = None;
    for line in open_metrics.lines() {
        if let Some(behind) = line.strip_prefix("# HELP ") {
            help = behind.split_once(' ');
        } else if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|behind| behind.split_once(' ')) {
            let total = if kind == "counter" { "_total" } else { "" };
            if let Some((_, help)) = help.take() {
                writeln!(text, "# HELP {name}{total} {help}")?;
            }
            writeln!(text, "# TYPE {name}{total} {kind}")?;
        } else if !line.starts_with('#') {
            writeln!(text, "{line}")?;
        }
    }
    Ok(text)
}

impl Collector for Scrape {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut page = Page(encoder);
        self.queues(&mut page)?;
        self.store(&mut page)?;
        self.doors(&mut page)?;
        self.process(&mut page)
    }
}

impl Scrape {
    fn queues(&self, page: &mut Page<'_>) -> fmt::Result {
        let Shown { named, rest, rest_unread } = &self.queues;
        let mut count = |name, help, of: fn(&Traffic) -> u64| {
            let queues = named.values().map(|queue| (&*queue.name, of(&queue.traffic)));
            page.counters(name, help, "queue", queues.chain([(Scrape::REST, of(rest))]))
        };
        count("httpmq_queue_puts", "Messages put into a queue, by whichever door.", |traffic| traffic.puts)?;
        count("httpmq_queue_gets", "Messages got from a queue.", |traffic| traffic.gets)?;
        count("httpmq_queue_put_bytes", "Bytes of the messages put into a queue.", |traffic| traffic.put_bytes)?;
        count("httpmq_queue_get_bytes", "Bytes of the messages got from a queue.", |traffic| traffic.got_bytes)?;
        let help = "Unread messages that gave way to others because the queue was full, see overflow.";
        count("httpmq_queue_dropped", help, |traffic| traffic.dropped)?;
        let unread = named.values().map(|queue| (&*queue.name, queue.status.unread));
        let help = "Messages of a queue that nobody has got yet.";
        page.gauges("httpmq_queue_unread_messages", help, "queue", unread.chain([(Scrape::REST, *rest_unread)]))?;
        let max = named.values().map(|queue| (&*queue.name, queue.status.max_len));
        page.gauges("httpmq_queue_max_unread_messages", "Unread messages that fit into a queue.", "queue", max)?;
        let ages = named.values().filter_map(|queue| Some((&*queue.name, self.age_s(queue)?)));
        let help = "How long the oldest unread message of a work queue has waited; absent when none waits.";
        page.gauges("httpmq_queue_oldest_unread_age_seconds", help, "queue", ages)?;
        page.gauge("httpmq_queues", "Queues.", self.store.queues as u64)
    }

    fn age_s(&self, queue: &QueueReport) -> Option<f64> {
        let age_ms = self.now_ms.saturating_sub(queue.oldest_unread_ms?);
        Some(Duration::from_millis(age_ms).as_secs_f64())
    }

    fn store(&self, page: &mut Page<'_>) -> fmt::Result {
        let StoreReport { engine, sync, commits, stored_bytes, free_bytes, .. } = &self.store;
        page.counter("httpmq_commits", "Commits to the engine.", commits.seconds.count())?;
        let help = "How long commits took, until they were as durable as `sync` says.";
        page.histogram("httpmq_commit_duration_seconds", help, &commits.seconds)?;
        let help = "How many puts, gets, resets and other changes shared a commit.";
        page.histogram("httpmq_commit_operations", help, &commits.operations)?;
        let help = "Writes and syncs that failed; after the first one httpmq stores nothing more and ends.";
        page.counter("httpmq_sync_errors", help, commits.errors)?;
        let sizes = [
            ("httpmq_store_bytes", "What the data directory takes on the disk.", *stored_bytes),
            ("httpmq_store_free_bytes", "What is free on the disk of the data directory.", *free_bytes),
            (
                "httpmq_store_reserve_bytes",
                "With less than this free, puts are refused.",
                Some(self.store.reserve_bytes),
            ),
            ("httpmq_cached_message_bytes", "Messages kept in memory.", Some(self.store.cached_bytes)),
        ];
        sizes.into_iter().try_for_each(|(name, help, size)| page.some(name, help, size))?;
        page.gauge("httpmq_ready", "1 when puts are taken, else 0; /readyz says why.", u64::from(self.is_ready))?;
        let labels = [("version", env!("CARGO_PKG_VERSION")), ("engine", engine), ("sync", sync)];
        let mut info = page.family("httpmq_build_info", "Always 1; the labels say what runs.", MetricType::Gauge)?;
        info.encode_family(&labels)?.encode_gauge(&1_u64)
    }

    fn doors(&self, page: &mut Page<'_>) -> fmt::Result {
        let open = self.listeners.iter().map(|listener| (listener.name, listener.open));
        page.gauges("httpmq_connections", "Connections that are open, WebSockets as http.", "listener", open)?;
        let accepted = self.listeners.iter().map(|listener| (listener.name, listener.accepted));
        page.counters("httpmq_connections_accepted", "Connections accepted.", "listener", accepted)?;
        let LiveReport { subscribers, subscriptions, dropped } = self.live;
        page.gauge("httpmq_subscribers", "Connections that are subscribed to a queue.", subscribers as u64)?;
        page.gauge("httpmq_subscriptions", "Subscriptions of all connections.", subscriptions as u64)?;
        let help = "Subscribers that were dropped because they did not take what they were sent.";
        page.counter("httpmq_subscribers_dropped", help, dropped)?;
        let help = "When the TLS certificate ends, since the Unix epoch; absent without TLS.";
        page.some("httpmq_tls_certificate_expiry_timestamp_seconds", help, self.certificate_ends_s)?;
        let help = "Requests and connections that were refused.";
        let mut refused = page.family("httpmq_refused_requests", help, MetricType::Counter)?;
        for listener in &self.listeners {
            for (reason, count) in Reason::ALL.into_iter().zip(listener.refused) {
                let labels = [("listener", listener.name), ("reason", reason.name())];
                refused.encode_family(&labels)?.encode_counter::<NoLabelSet, u64, f64>(&count, None)?;
            }
        }
        Ok(())
    }

    fn process(&self, page: &mut Page<'_>) -> fmt::Result {
        let Process { resident_bytes, virtual_bytes, open_fds, max_fds, cpu } = self.process;
        page.some("process_resident_memory_bytes", "Memory that is resident.", resident_bytes)?;
        page.some("process_virtual_memory_bytes", "Address space.", virtual_bytes)?;
        page.some("process_open_fds", "Descriptors that are open.", open_fds)?;
        page.some("process_max_fds", "Descriptors that may be open.", max_fds)?;
        let started = Duration::from_millis(self.started_ms).as_secs_f64();
        page.gauge("process_start_time_seconds", "When it began to serve, since the Unix epoch.", started)?;
        match cpu {
            Some(cpu) => page.counter("process_cpu_seconds", "Processor time of all threads.", cpu.as_secs_f64()),
            None => Ok(()),
        }
    }
}

/// The families written so far, and the pen.
struct Page<'a>(DescriptorEncoder<'a>);

impl Page<'_> {
    fn family<'s>(
        &'s mut self,
        name: &'s str,
        help: &str,
        kind: MetricType,
    ) -> Result<prometheus_client::encoding::MetricEncoder<'s>, fmt::Error> {
        self.0.encode_descriptor(name, help, None, kind)
    }

    fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue) -> fmt::Result {
        self.family(name, help, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A gauge that is there when its value is known.
    fn some(&mut self, name: &str, help: &str, value: Option<u64>) -> fmt::Result {
        value.map_or(Ok(()), |value| self.gauge(name, help, value))
    }

    fn counter(&mut self, name: &str, help: &str, value: impl EncodeCounterValue) -> fmt::Result {
        self.family(name, help, MetricType::Counter)?.encode_counter::<NoLabelSet, _, f64>(&value, None)
    }

    fn gauges<'v, V: EncodeGaugeValue>(
        &mut self,
        name: &str,
        help: &str,
        key: &str,
        values: impl Iterator<Item = (&'v str, V)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Gauge)?;
        for (label, value) in values {
            family.encode_family(&[(key, label)])?.encode_gauge(&value)?;
        }
        Ok(())
    }

    fn counters<'v>(
        &mut self,
        name: &str,
        help: &str,
        key: &str,
        values: impl Iterator<Item = (&'v str, u64)>,
    ) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Counter)?;
        for (label, value) in values {
            family.encode_family(&[(key, label)])?.encode_counter::<NoLabelSet, _, f64>(&value, None)?;
        }
        Ok(())
    }

    fn histogram(&mut self, name: &str, help: &str, buckets: &Buckets) -> fmt::Result {
        let mut family = self.family(name, help, MetricType::Histogram)?;
        family.encode_histogram::<NoLabelSet>(buckets.sum, buckets.count(), &buckets.counts, None)
    }
}
