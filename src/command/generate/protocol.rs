//! `pgbaton-protocol(7)`: the promotion protocol as it is built, why each rule stands, and how far that was checked.
//!
//! The functions of `promotion::rules` are these rules; `tests/promotion` explores them. Whoever changes one changes
//! this page too.

use super::man::{reference, start};
use super::roff::bold;

/// A rule: its title, its paragraphs, and what happens without it.
struct Rule {
    title: &'static str,
    says: &'static [&'static str],
    without: &'static str,
}

const RULES: &[Rule] = &[
    Rule {
        title: "1. Promise",
        says: &[
            "A voter promises a term to one candidate only, durably before it answers, and only when the term that it \
             promised before is settled: confirmed, abandoned, or below a term that is confirmed. The term must be \
             higher than any in its register and in its log. A running primary promises nothing.",
            "A promise is taken back by its holder only. The holder promised the term to itself first, so its own \
             register tells for ever after what became of it: a voter that reads it settles its promise. The \
             log settles it too: a row of a higher term, or the term's own row where the voter's copy alone is an \
             acknowledgement (W = 1 and the voter in E). A term that was abandoned before its request arrived is \
             remembered as abandoned. A witness asks nobody: a candidate's request carries the candidate's own register, \
             and the primary tells the witness what it reads in the others'.",
        ],
        without: "two candidates have a majority, or a voter waits for a candidate that has given up.",
    },
    Rule {
        title: "2. Freeze",
        says: &[
            "A data node that promises stops its WAL receiver, and answers only when it is gone: with its epoch and \
             the end of its log after replaying all of it, and the newest configuration of its log and of its \
             register. From then on it acknowledges nothing for the old primary.",
            "With an open promise it streams from the holder only. A free node streams from the primary that it knows \
             as confirmed, or from a running primary of a higher term whose log begins with all of its own: such \
             a one may need it to get its row acknowledged.",
        ],
        without: "the old primary gets an acknowledgement after the votes were counted, and the commit is lost.",
    },
    Rule {
        title: "2a. Unfit",
        says: &[
            "A node marks itself unfit before the first byte of its data is replaced (rewind, base backup, restore). \
             While unfit it promises nothing. The mark goes when it has flushed up to where the log of the confirmed \
             primary that it streams from ended when it attached there. If that primary is replaced, the end of the \
             new one counts: the old one's may hold a tail that nobody will ever have. Its register is its own: never the one that came with the copied \
             postgresql.auto.conf.",
        ],
        without: "the only holder of an acknowledged commit forgets it, and votes.",
    },
    Rule {
        title: "3. Who may stand",
        says: &[
            "A data node in recovery that is fit and a member of E, or the primary of the newest configuration itself: \
             after a power failure of everything it is the one that has all. It freezes itself first, then asks. Two that \
             hold promises to themselves abandon, wait for a random time and stand again.",
        ],
        without: "a node that nobody's acknowledgement stands behind leads; and where the old primary may not stand, a \
                  cluster that lost its power everywhere needs a person.",
    },
    Rule {
        title: "4. Enough",
        says: &[
            "Promises of a majority of the voters, and frozen members of E that number |E| - W + 1, so that every set \
             that could acknowledge has one of them. E and W are those of the newest configuration (term, change \
             number) in any frozen log or any voter's record. In place of the members the frozen old primary counts, \
             if its data is of that configuration's term: nothing was acknowledged that its disk hadn't first.",
            "Two exceptions need no majority. Of two data nodes without a witness, the only member of E is enough: the old \
             primary can acknowledge nothing without it. And the primary of a configuration with W = 0 and \
             no members resumes alone, but only if that configuration is in its own register: its log may hold a \
             change that never came into force (rule 9).",
            "All this is judged when everybody is frozen, immediately before the intent, and the term is compared once \
             more: a receiver that was still running when the promise was given may have brought the row of a \
             term that isn't lower.",
        ],
        without: "acknowledged commits are lost, or two primaries write under one term.",
    },
    Rule {
        title: "5. Complete",
        says: &[
            "The best log is the one of the newest epoch, then the longest. The candidate streams from it until it \
             is equal, or gives up. The epoch comes first: a longer log of an older term holds only what nobody \
             was told of.",
        ],
        without: "a commit that only the other standby had is lost.",
    },
    Rule {
        title: "6. Names before writes",
        says: &[
            "The synchronous names of the new term are in force before the intent, the intent is durable before the \
             promotion, and the epoch row is the first commit. W is no more than the frozen nodes can give, or the row \
             waits for a node that may never come back. When the row is acknowledged under its own names the \
             term is confirmed: in the registers, together with its configuration, then the VIP. Until then a candidate \
             that has written its intent goes on asking, so that a node that returns late can help.",
            "A confirmation without the configuration would be worse than none: a witness that knows the new term, but \
             not that nobody else may stand in it, lets the old primary resume.",
        ],
        without: "the first commits of the new term are acknowledged by nobody, and lost with it.",
    },
    Rule {
        title: "7. Abandon",
        says: &[
            "A candidate may abandon its term until its intent is written, not after. Frozen nodes then go back to \
             the primary that they know as confirmed. A candidate whose daemon died may ask again for the same term.",
        ],
        without: "commits that the promoted node acknowledged are forgotten.",
    },
    Rule {
        title: "8. Step down",
        says: &[
            "A primary that learns of a higher confirmed term goes: VIP down, server stopped; it returns only as a \
             standby. It also goes when so many members have promised a higher term that it can acknowledge nothing \
             any more, and a majority of the voters has (of two nodes: its only member). Fewer promises don't move it, \
             however many: that candidate can't have enough. In particular a survivor that serves alone doesn't step \
             down because the old primary stands for itself.",
        ],
        without: "nothing is lost, but the VIP stays on a node that can't serve, and the node never follows the new one.",
    },
    Rule {
        title: "9. Changing W or E",
        says: &[
            "What counts are the sets that can acknowledge, not how many members there are. A change is a tightening \
             when every new set contains an old one: first the names, then the row, acknowledged under them. It is a \
             loosening when every old set contains a new one (one more member is one): first the row, acknowledged \
             under the old names, or recorded by a majority of the voters; then the primary's own register; then the \
             names. Anything else takes two steps. Where W is 0 before and after, dropping a member is a loosening: it may \
             be standing.",
            "A voter records only for the term that it knows as confirmed, never while it has promised a higher one, \
             and never two changes under one number. A primary whose daemon was restarted counts on from the \
             highest number in its log, its register and the registers it can read.",
        ],
        without: "acknowledged commits are lost, each part in its own way; the primary's own register first instead of \
                  last lets it resume alone with a change that nobody knows.",
    },
    Rule {
        title: "10. Contention",
        says: &[
            "Of two nodes with the VIP the one with the lower confirmed term yields and stops its server, whatever \
             the VRRP priorities. A node that isn't confirmed never has it.",
        ],
        without: "a healthy new primary is displaced by the old one.",
    },
    Rule {
        title: "11. Boot",
        says: &[
            "A node that was primary starts as a standby or not at all. It becomes primary again by a new term (rule 3). \
             A server that crashed alone may be started in place only while its register holds no higher promise, \
             kept or abandoned: its names may be those of the term it gave up.",
        ],
        without: "a frozen old primary that counted for a candidate writes again.",
    },
    Rule {
        title: "12. Rewind and rebuild",
        says: &[
            "Only from a confirmed primary; or, with an open promise, from its holder once that runs as the primary \
             of the promised term, which may need this node. Never back to a term below that of the node's own log. \
             With an open promise to one node never from another.",
        ],
        without: "the second lock behind rules 2 to 5 is gone.",
    },
];

/// A hold: what is seen, why nothing happens by itself, and what lifts it.
const HOLDS: &[(&str, &str, &[&str])] = &[
    (
        "A voter has promised a term to a node that doesn't answer",
        "The candidate died between its promise and its confirmation. It may have been promoted, and only its own \
         register tells. Start that node: its daemon finishes the promotion or abandons the term. Run there by hand, this \
         does the same:",
        &["pgbaton pg promote"],
    ),
    (
        "Too few of the members have detached",
        "The other synchronous standby doesn't answer, and may hold the only copy of an acknowledged commit. Bring it \
         back. Where it is gone for good, as where the holder of a promise is, a person may decide to go on with what \
         there is, naming what is overridden. What only the missing nodes had is lost. Nobody's acknowledgement is waited \
         for then, until a standby streams again and the daemon counts on it:",
        &["pgbaton pg promote --dry-run", "pgbaton pg promote --force votes --force proof-of-death"],
    ),
    (
        "This node isn't in the configuration in force",
        "The old primary had recorded that it serves alone. Only its data is complete: start it, and it resumes. If it \
         is gone for good, what it acknowledged since is lost, and the way on is the one above.",
        &[],
    ),
    (
        "Two data nodes, strict: writes wait",
        "The only standby is gone. Bring it back, or rebuild it:",
        &["pgbaton pg rebuild-standby"],
    ),
    (
        "A node is unfit",
        "It was being rebuilt when the primary died. It can't know what it had acknowledged. Bring the primary back, \
         or rebuild the node from the next one:",
        &["pgbaton pg rebuild-standby"],
    ),
    (
        "A promoted node waits for its epoch row",
        "The nodes that promised it have died since. Bring one of them back; a node that has a tail of its own and \
         has stood for a higher term in the meantime can't help. Where they are gone for good:",
        &["pgbaton pg promote --force votes"],
    ),
];

/// Returns the page.
pub(super) fn page() -> String {
    let mut page = start("pgbaton-protocol", 7, "how a standby becomes the primary");
    page.section("DESCRIPTION");
    page.paragraphs(
        [
            "pgbaton promotes a standby by votes of the nodes themselves. The idea is Raft's, with PostgreSQL as the \
             log: there is a term, it takes promises from enough nodes, the most complete log leads, and an entry of \
             the new term must be replicated before the term counts. No lock service is involved, and VRRP only says \
             who may ask. Whatever fails:",
        ]
        .into_iter(),
    );
    let promises = [
        ("P1", "A commit that a client was told of is in the data of every later confirmed primary."),
        ("P2", "Two nodes never acknowledge writes that don't end up in one history."),
        ("P3", "The virtual IP is only on a confirmed primary."),
    ];
    for (name, says) in promises {
        page.item(&bold(name));
        page.text(says);
    }
    page.raw(".PP");
    page.paragraphs(
        [
            "P1 is about synchronous modes (W of at least 1, or a survivor whose serving alone is on record). A \
             session that sets synchronous_commit to local or off, or that cancels the wait for the standbys and \
             ignores the warning, has asked not to be protected.",
            "P1 and P2 don't depend on clocks, VRRP or the network: a step may come late, twice or never. Only the \
             lease of the asynchronous mode counts time.",
        ]
        .into_iter(),
    );
    page.section("STATE");
    let state = [
        (
            "voters",
            "All data nodes, and a witness if there is one: a host that votes and has no PostgreSQL of the cluster. \
             Their number is the same in every node's configuration file; it must not be changed while a promise is open.",
        ),
        (
            "register",
            "On each voter, durable before anything that depends on it is answered: the highest promised term with its \
             holder and what became of it; the newest confirmed term and its holder; the newest recorded configuration; \
             the unfit mark. On a data node it lives in postgresql.auto.conf beside the server that it fences, and \
             is reached over SQL.",
        ),
        (
            "epoch row",
            "In the database (pgbaton.epoch), written by each new primary as its first commit and again for each \
             change: term, change number, node, a random id, timeline, W and E. It is replicated like any row, so every \
             data node knows which term its data belongs to.",
        ),
        (
            "W, E and the names",
            "synchronous_standby_names = ANY W (E): a commit is acknowledged when W of the members E have flushed it. \
             The names in force are durable and change by rules 6 and 9 only. They must be unique: a \
             stray receiver with a member's name would count.",
        ),
        ("intent", "On the candidate's disk: from here on the promotion must be finished."),
    ];
    for (name, says) in state {
        page.item(&bold(name));
        page.text(says);
    }
    page.section("RULES");
    for rule in RULES {
        page.subsection(rule.title);
        page.paragraphs(rule.says.iter().copied());
        page.raw(".PP");
        page.text(&format!("Without it: {}", rule.without));
    }
    modes(&mut page);
    page.section("HOLDS");
    page.text(
        "Where the protocol can't know, it waits, and `pgbaton cluster status` says for what. These remain by design:",
    );
    for (what, why, commands) in HOLDS {
        page.subsection(what);
        page.text(why);
        if !commands.is_empty() {
            page.example(commands);
        }
    }
    evidence(&mut page);
    page.section("SEE ALSO");
    let see = [("pgbaton", 8), ("pgbaton-pg-promote", 8), ("pgbaton-cluster-status", 8), ("pgbaton.toml", 5)];
    page.raw(&see.map(|(name, section)| reference(name, section)).join(",\n"));
    page.finish()
}

fn modes(page: &mut super::roff::Page) {
    page.section("MODES");
    let modes = [
        (
            "three data nodes, W = 1",
            "The primary's death costs no acknowledged commit and no person; a standby's death disturbs nobody; the side \
             with two nodes serves.",
        ),
        (
            "two data nodes, strict",
            "When the primary dies the standby takes over and serves alone (W = 0, on record). When the standby dies, \
             writes wait for it.",
        ),
        (
            "two data nodes and a witness",
            "As strict, but when the standby dies the primary loosens with the record of the witness, and writes go on. \
             The side with the witness serves.",
        ),
        (
            "asynchronous with a witness",
            "Nobody's acknowledgement holds the primary back, so it serves under a lease: a majority of the voters must \
             answer, again and again, and know of no promise to another node. The primary counts from when it asked, and \
             stops before the end by twice the clocks' drift and the time that a stop takes. A candidate that has the \
             promises waits for the length of a lease from then on, unless the primary said farewell, and gives up when \
             it turns out to be alive. Only a standby that streamed may stand (E is who may, and the primary drops one \
             that is away for long, with the witness's record). A commit that hadn't arrived is lost with the primary.",
        ),
        (
            "asynchronous, two nodes, no third vote",
            "No votes: a silent primary needs a proof of its death. Its own farewell, a stop over SSH or a fencing command \
             (guard.fence) is one. The gateway (guard.gateway) is a weak one: a primary that neither it nor another node \
             answers stops itself, within a bound that the standby waits for; a network that parts between two nodes that \
             the gateway answers both leaves two primaries. With availability = \"prefer\" silence is enough, and the log \
             says how much may be lost. Of several standbys that could be promoted one is: each says on its own server that it \
             stands, by a lock that ends with its session, and looks at the others' servers after that.",
        ),
    ];
    for (name, says) in modes {
        page.item(&bold(name));
        page.text(says);
    }
}

fn evidence(page: &mut super::roff::Page) {
    page.section("EVIDENCE");
    page.paragraphs(EVIDENCE.iter().copied());
    page.subsection("Not covered");
    for what in NOT_COVERED {
        page.item("\\(bu");
        page.text(what);
    }
}

const EVIDENCE: &[&str] = &[
    "The rules are pure functions that the daemon, the verbs and a model call alike. The model is searched state by \
     state, nearest first: crashes and kills at every step, late, doubled and lost messages, freeze and register as \
     separate steps, any prefix of a log, rebuilds, changes of configuration, restarts in place, VIPs that meet. In \
     every state P1 to P3 are judged, and from a sample of them all is mended and one primary must serve in \
     the end, with all others following, without a person.",
    "Explored completely, with one crash and one commit at any point: three data nodes with two terms and an \
     abandonment (163 thousand states), a change (702), a rebuild (402), or two crashes and restarts in place \
     (373); two strict with three terms (70), two changes (489), or a rebuild (73); two with a witness with three \
     terms (312), two changes (407), or a rebuild (20). A million states each, nearest first, of three data nodes \
     with three terms, and of two strict and two with a witness with two crashes and a change, a rebuild, an abandonment \
     and restarts at once. One state in ten was mended.",
    "Beyond that, four thousand random histories of up to 250 steps from seeds: four data nodes with W = 2, and three data nodes \
     with two witnesses. The lease is explored with two clocks of which each runs up to a tenth too slow or too \
     fast. Properties of the sets (any two candidates that have enough share a voter; the frozen meet every set \
     that acknowledges; tightening and loosening are each other's reverse) are tested with random sets of \
     up to seven nodes.",
    "Thirty-one mutants, each a rule left out or weakened, are all noticed, most by a lost commit within 20 steps. Two \
     parts of the rules have no mutant that breaks P1 to P3: that the frozen old primary's data must be of the \
     configuration's own term (rule 4), which guards against data that was replaced without a mark; and that the row is \
     acknowledged before the term is confirmed (rule 6), which keeps the VIP off a node that can't serve.",
    "This is bounded evidence, not a proof. What each rule is for stands behind it above. `make model` repeats the \
     search as deep as one likes.",
];

const NOT_COVERED: &[&str] = &[
    "A change of the number of voters. Change it while all nodes are up and no promise is open, one voter at a time.",
    "Disks that lose what they have flushed, and two receivers with one name.",
    "Votes and promises that an operator overrides with --force. What follows can't be safe against the nodes that \
     weren't asked: if they aren't gone, they may elect another primary.",
    "More than five voters, and W greater than 2, except by the properties of the sets.",
    "A primary whose daemon is stopped while its server runs on, in the asynchronous mode: the lease is then \
     kept by nobody. The VIP goes by itself (its lifetime in the kernel ends), connections to the node's own \
     address don't.",
];
