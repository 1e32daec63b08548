//! pgbaton-json(7): the JSON documents, from the table of their keys.

use super::man::{reference, start};
use super::roff::bold;
use crate::output::schema::DOCUMENTS;

/// Returns the page.
pub(super) fn page() -> String {
    let mut page = start("pgbaton-json", 7, "the JSON documents of pgbaton");
    page.section("DESCRIPTION");
    page.paragraphs(
        [
            "With --json every command prints exactly one JSON document to standard output, also when it fails; only \
             a command that repeats itself prints one on each line. The exit status is the same as without --json.",
            "Each document has a number \"schema\". It grows when a key changes its meaning or goes away. Keys may be \
             added without that: a reader leaves out what it doesn't know.",
            "Times are RFC 3339 in UTC. Log positions are texts as PostgreSQL writes them, as in 0/3000148.",
        ]
        .into_iter(),
    );
    page.section("DOCUMENTS");
    for document in DOCUMENTS {
        page.subsection(document.command);
        page.text(document.about);
        for (key, meaning) in document.keys {
            page.item(&bold(key));
            page.text(meaning);
        }
    }
    page.section("SEE ALSO");
    let see = [
        ("pgbaton", 8),
        ("pgbaton-cluster-status", 8),
        ("pgbaton-cluster-events", 8),
        ("pgbaton-cluster-timeline", 8),
    ];
    page.raw(&see.map(|(name, section)| reference(name, section)).join(",\n"));
    page.finish()
}
