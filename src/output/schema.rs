//! The JSON documents of the questions, key by key: what pgbaton-json(7) is made of. Pure data.
//!
//! A document's `schema` grows when a key changes its meaning or goes away; keys may be added without that.

/// A JSON document.
#[derive(Debug, Clone, Copy)]
pub struct Document {
    /// The command that prints it.
    pub command: &'static str,
    /// What it is, in sentences.
    pub about: &'static str,
    /// Its keys: the path (`[]` for the elements of a list), and what it means.
    pub keys: &'static [(&'static str, &'static str)],
}

/// Every document.
pub const DOCUMENTS: &[Document] = &[STATUS, CHECK, EVENTS, TIMELINE, REPORT];

/// `cluster status --json`.
pub const STATUS: Document = Document {
    command: "cluster status",
    about: "What every node says, and what is wrong. With --watch each look is one line. What isn't known is null.",
    keys: &[
        ("schema", "Number: 1."),
        ("healthy", "Boolean: no problem is worse than a note. The exit status is 0 then, else 1."),
        ("primary", "Text: the node whose server is the primary, when exactly one is."),
        ("cluster", "Text: the name of the cluster."),
        ("at", "Time, RFC 3339: when the nodes were asked, by the clock of the asking machine."),
        ("asked_from", "Text: the node that asked; null when the asking machine is none of them."),
        ("max_lag", "Number: guard.max_lag in bytes."),
        ("vips[].address", "Text: a virtual IP with its prefix length."),
        ("vips[].answer.by", "Text: who answers behind it: node, stranger, nobody, unknown or not-asked."),
        ("vips[].answer.node", "Text: the node, with \"node\"."),
        ("vips[].answer.detail", "Text: more about it, with the others."),
        ("nodes[].name", "Text: the node. The nodes are in the order of the configuration."),
        ("nodes[].address", "Text: where it answers itself."),
        ("nodes[].spare", "Boolean: it never becomes the primary."),
        (
            "nodes[].reach",
            "Text: how its PostgreSQL answered: answered, refused (nothing listens), timeout, no-route, auth (the role \
             isn't let in), starting, error, or not-asked (without [postgres]).",
        ),
        ("nodes[].detail", "Text: the words of the failure."),
        (
            "nodes[].needs_check",
            "Text: why its data must be looked at before it may serve; null when it needn't.",
        ),
        ("nodes[].server", "What its PostgreSQL said; null when it didn't answer."),
        ("nodes[].server.role", "Text: primary or standby."),
        ("nodes[].server.version", "Number: server_version_num, as in 150004."),
        ("nodes[].server.system_id", "Text: the system identifier; a number would be too large for JSON."),
        ("nodes[].server.timeline", "Number: the timeline it writes or follows."),
        ("nodes[].server.lsn", "Text: the end of its log (primary), or what it has replayed (standby)."),
        ("nodes[].server.received_lsn", "Text: what a standby has received and flushed."),
        ("nodes[].server.lag_bytes", "Number: what the primary has and this standby hasn't replayed."),
        ("nodes[].server.lag_seconds", "Number: the age of what is replayed; 0 when nothing is missing."),
        ("nodes[].server.replay_paused", "Boolean: replay was paused by hand."),
        ("nodes[].server.receiver", "The WAL receiver; null when none runs."),
        ("nodes[].server.receiver.status", "Text: its state, as in streaming."),
        ("nodes[].server.receiver.sender_host", "Text: where it is connected to."),
        ("nodes[].server.receiver.sender_port", "Number: the port there."),
        ("nodes[].server.upstream_configured", "Boolean: primary_conninfo is set."),
        ("nodes[].server.senders[].name", "Text: the application_name of a server that streams from it."),
        ("nodes[].server.senders[].address", "Text: that server's address."),
        ("nodes[].server.senders[].state", "Text: the state of the sender, as in streaming."),
        ("nodes[].server.senders[].sync_state", "Text: async, potential, sync or quorum."),
        ("nodes[].server.senders[].sent_lsn", "Text: what was sent."),
        ("nodes[].server.senders[].flush_lsn", "Text: what is on that server's disk."),
        ("nodes[].server.senders[].replay_lsn", "Text: what is replayed there."),
        ("nodes[].server.synchronous_standby_names", "Text: the setting."),
        ("nodes[].server.epoch", "The newest confirmed term in its data; null before the first."),
        ("nodes[].server.epoch.term", "Number: the term."),
        ("nodes[].server.epoch.node", "Text: who became the primary in it."),
        ("nodes[].server.epoch.promotion_id", "Text: names the promotion."),
        ("nodes[].server.epoch.timeline", "Number: the timeline that it made."),
        ("nodes[].server.pause", "Why the cluster is paused, as its database says; null: it isn't."),
        ("nodes[].server.pause.reason", "Text: the operator's words."),
        ("nodes[].server.pause.since_seconds", "Number: how long ago it was paused."),
        ("nodes[].server.started_at", "Time: when the server was started."),
        ("nodes[].server.up_seconds", "Number: how long ago that was."),
        ("nodes[].server.restart_after_crash", "Boolean: the setting."),
        ("nodes[].server.rewindable", "Boolean: pg_rewind can work: wal_log_hints or data checksums are on."),
        (
            "nodes[].server.start_protected",
            "Boolean: a standby.signal keeps a primary from starting writable.",
        ),
        ("nodes[].daemon.state", "Text: told (it said what follows), not-running or unknown."),
        (
            "nodes[].daemon.source",
            "Text: socket (asked just now) or table (what it wrote when it last changed).",
        ),
        ("nodes[].daemon.at", "Time: when a row was written."),
        ("nodes[].daemon.vrrp_state", "Text: ACTIVE, BACKUP or INITIALIZE."),
        (
            "nodes[].daemon.phase",
            "Text: what it is doing: serving, standby, asking, promoting, held, fenced, down...",
        ),
        ("nodes[].daemon.reason", "Text: why."),
        ("nodes[].daemon.hint", "Text: what a person can do."),
        ("nodes[].daemon.since_seconds", "Number: how long it has been in its VRRP state."),
        (
            "nodes[].daemon.connected",
            "Truth value: whether it has its session to the primary; null when that can't be told.",
        ),
        ("nodes[].daemon.held", "List of texts: the virtual IPs on this node, as far as it said."),
        ("nodes[].daemon.term", "Number: the term it knows."),
        ("problems[].code", "Text: a stable word, as in no-primary. The worst problem comes first."),
        ("problems[].node", "Text: the node it is about; null: the cluster."),
        ("problems[].severity", "Text: critical, warning or note."),
        ("problems[].message", "Text: what is wrong."),
        ("problems[].hint", "Text: a command to run, or the question to answer."),
    ],
};

/// `cluster check --json`.
pub const CHECK: Document = Document {
    command: "cluster check",
    about: "What would make a failover, a rebuild or a hand-over fail.",
    keys: &[
        ("schema", "Number: 1."),
        ("cluster", "Text: the name of the cluster."),
        ("at", "Time: when the nodes were asked."),
        (
            "asked_from",
            "Text: the node that asked; what concerns a machine is known of this one only, without --peers.",
        ),
        ("ok", "Boolean: nothing worse than a note is left. The exit status is 0 then."),
        ("changed", "Boolean: --fix changed something."),
        ("errors", "Number: findings of the level error."),
        ("warnings", "Number: findings of the level warning."),
        ("notes", "Number: findings of the level note."),
        ("findings[].code", "Text: a stable word, as in wal-log-hints. The worst comes first."),
        ("findings[].node", "Text: the node it is about; null: the cluster."),
        ("findings[].level", "Text: error (it would fail), warning (it would work worse) or note."),
        ("findings[].what", "Text: what was found."),
        ("findings[].why", "Text: why it matters."),
        ("findings[].mend", "Text: the command that mends it, or the question to answer."),
        ("findings[].fixable", "Boolean: --fix can mend it."),
        (
            "findings[].fixed.result",
            "Text: done, restart (it counts after a restart) or failed; absent without --fix.",
        ),
        ("findings[].fixed.why", "Text: why it failed."),
        ("skipped[].check", "Text: a check that couldn't be made."),
        ("skipped[].node", "Text: the node it is about."),
        ("skipped[].why", "Text: why not."),
        ("passed[].check", "Text: a check that found nothing."),
        ("passed[].node", "Text: the node it is about."),
    ],
};

/// `cluster events --json`.
pub const EVENTS: Document = Document {
    command: "cluster events",
    about: "The flight record, the oldest event first. With --follow each event is one line, without the rest of the \
            document. The files in cluster.state_directory hold the same, a line for each event.",
    keys: &[
        ("schema", "Number: 1."),
        ("events[].node", "Text: whose daemon wrote it."),
        ("events[].boot", "Text: names the boot of its machine."),
        ("events[].at_ns", "Number: nanoseconds since that boot (CLOCK_BOOTTIME)."),
        ("events[].wall", "Time: the wall clock, with microseconds."),
        (
            "events[].event",
            "Text: what sort of thing, a stable word, as in active-down, decision, step-done, serving.",
        ),
        ("events[].text", "Text: one sentence."),
        ("events[].fields", "The facts; which ones depends on the event. Absent when there are none."),
        ("events[].fields.timeline", "Number: the timeline of the local server at that moment."),
        ("events[].fields.lsn", "Text: the end of the log it held."),
        ("events[].fields.term", "Number: the term of the promotion."),
        ("events[].fields.step", "Text: the step of a plan that began or ended."),
        ("events[].fields.status", "Text: how it ended: done, unchanged, failed, refused or skipped."),
        ("events[].fields.took_ms", "Number: how long it took."),
        (
            "events[].fields.connections_ended",
            "Number: how many connections of clients ended with a virtual IP.",
        ),
        ("events[].fields.verdict", "Text: what was decided."),
        ("files[]", "Text: a file that was read."),
        ("warnings[]", "Text: what couldn't be read."),
    ],
};

/// `cluster timeline --json`.
pub const TIMELINE: Document = Document {
    command: "cluster timeline",
    about: "One failover. With --list there is a list \"incidents\" instead, with the same keys but entries.",
    keys: &[
        ("schema", "Number: 1."),
        ("incident.id", "Text: its name, for --id."),
        ("incident.outcome", "Text: failover, hand-over, took-up, held, fenced or noticed."),
        ("incident.from", "Text: who was the primary, if that is known."),
        ("incident.to", "Text: who is the primary since; null when nobody was promoted."),
        ("incident.term", "Number: the term that began."),
        ("incident.lsn", "Text: the end of the log that was held when it was decided."),
        ("incident.began", "Time: its first sign."),
        (
            "incident.took_ms",
            "Number: milliseconds from then until the service was back, or the last thing was done.",
        ),
        ("incident.nodes[]", "Text: a node whose record is part of it."),
        ("incident.reason", "Text: the words of the decision."),
        ("incident.entries[]", "The events, as above."),
        (
            "timeline",
            "The picture as numbers: title, lanes with spans and marks, in milliseconds from the first sign.",
        ),
        ("svg", "Text: the file that was written; null without --svg."),
        ("warnings[]", "Text: what couldn't be read."),
    ],
};

/// The report of every changing command, and of every error.
pub const REPORT: Document = Document {
    command: "every command that changes something",
    about: "The keys changed, failed, msg and warnings are those that Ansible knows. A command that only asks prints \
            this document when it fails.",
    keys: &[
        ("schema", "Number: 1."),
        ("verb", "Text: the command, as in vip up."),
        ("changed", "Boolean: something was changed, or would be with --dry-run."),
        ("dry_run", "Boolean: nothing was changed, because of --dry-run."),
        ("failed", "Boolean: it failed. Absent when it didn't."),
        ("msg", "Text: the outcome in one sentence."),
        ("warnings[]", "Text: what should be known although it went well."),
        ("steps[].step", "Text: the stable name of a step."),
        ("steps[].describe", "Text: the step in words."),
        ("steps[].status", "Text: done, unchanged, planned, refused, failed or skipped."),
        ("steps[].took_ms", "Number: how long it took."),
        ("steps[].detail", "Text: facts about it."),
        ("error", "What went wrong; absent when nothing did."),
        ("error.kind", "Text: the word of the exit status, as in refused; see EXIT STATUS in pgbaton(8)."),
        ("error.message", "Text: what went wrong."),
        ("error.detail", "Text: the facts."),
        ("error.hints[]", "Text: a command to run, or a question to answer."),
    ],
};

#[cfg(test)]
pub(crate) mod tests {
    use super::*;
    use serde_json::Value;
    use std::collections::BTreeSet;

    /// Asserts that each key of a value is described, wherever it is.
    pub(crate) fn assert_described(document: &Document, value: &Value) {
        fn walk(path: &str, value: &Value, found: &mut BTreeSet<String>) {
            match value {
                Value::Object(object) if !object.is_empty() => {
                    for (key, value) in object {
                        let dot = if path.is_empty() { "" } else { "." };
                        walk(&format!("{path}{dot}{key}"), value, found);
                    }
                }
                Value::Array(array) if !array.is_empty() => {
                    for value in array {
                        walk(&format!("{path}[]"), value, found);
                    }
                }
                _ => {
                    found.insert(path.to_owned());
                }
            }
        }
        let mut found = BTreeSet::new();
        walk("", value, &mut found);
        for path in found {
            let known = document.keys.iter().any(|(key, _)| {
                // An empty list or an object described by its parts is known by those.
                *key == path || *key == format!("{path}[]") || key.starts_with(&format!("{path}[]."))
            });
            assert!(known, "{} isn't described in the document of {}", path, document.command);
        }
    }

    #[test]
    fn every_key_is_described_once_and_in_a_sentence() {
        for document in DOCUMENTS {
            let mut seen = BTreeSet::new();
            for (key, meaning) in document.keys {
                assert!(seen.insert(key), "{} {key}", document.command);
                assert!(meaning.ends_with('.'), "{key}");
            }
        }
    }

    #[test]
    fn the_report_of_a_verb_is_described() {
        let mut report = crate::output::report::Report::of_error(
            "vip up",
            &crate::error::Error::refused("no").detail("x").hint("y"),
        );
        report.warnings.push("w".to_owned());
        let status = crate::output::report::StepStatus::Done;
        report.steps.push(crate::output::report::StepReport::new("probe", "ask", status).detail("d"));
        assert_described(&REPORT, &serde_json::to_value(&report).unwrap());
    }
}
