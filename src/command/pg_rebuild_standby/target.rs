//! Which node is rebuilt and which primary it follows: flags first, then the configuration.

use crate::cli::{Globals, RebuildStandby};
use crate::command::pg_promote;
use crate::daemon::setup::slot_name;
use crate::error::{Error, Kind, Result};
use crate::host::clock::Deadline;
use crate::pg::conn::{ConnSettings, Host};
use crate::pg::target;
use crate::rebuild::source::SourceServer;
use crate::rebuild::work::OwnPlace;
use crate::settings::{PostgresSettings, Settings};
use std::path::PathBuf;
use std::time::Duration;

const VERB: &str = "pg rebuild-standby";
/// How long one node is asked.
const ASK: Duration = Duration::from_secs(5);

/// The node that is rebuilt.
pub(super) struct Target {
    /// Its name.
    pub(super) node: String,
    /// Its server.
    pub(super) postgres: PostgresSettings,
    /// How its server is reached.
    pub(super) local: ConnSettings,
    /// Its slot on the primary.
    pub(super) slot: String,
    /// The operator's command that starts it.
    pub(super) start_command: Option<String>,
    /// The operator's command that stops it.
    pub(super) stop_command: Option<String>,
    /// Where it listens, when that is known for certain.
    pub(super) own_place: Option<OwnPlace>,
}

impl Target {
    pub(super) fn choose(
        globals: &Globals,
        args: &RebuildStandby,
        settings: Option<&Settings>,
    ) -> Result<Self> {
        let me = settings.map(Settings::me).transpose()?;
        let configured = settings.zip(me).and_then(|(settings, me)| settings.postgres_of(me));
        let known = configured.is_some();
        let mut postgres = configured.unwrap_or_else(|| PostgresSettings::new(PathBuf::new()));
        if let Some(data) = &args.data_directory {
            postgres.data_directory.clone_from(data);
        }
        if postgres.data_directory.as_os_str().is_empty() {
            return Err(Error::config("it isn't known which data directory is to be rebuilt")
                .hint("name it with --data-directory, or add a [postgres] section to the configuration"));
        }
        if let Some(bin) = &args.bin_directory {
            postgres.bin_directory = Some(bin.clone());
        }
        if let Some(port) = args.port {
            postgres.port = port;
        }
        if let Some(folder) = &args.socket_directory {
            postgres.socket_directory.clone_from(folder);
        }
        if let Some(user) = &args.user {
            postgres.user.clone_from(user);
        }
        if let Some(database) = &args.dbname {
            postgres.database.clone_from(database);
        }
        let node = me.map(|me| me.name.clone()).or_else(|| globals.node.clone());
        let node = node.unwrap_or_else(pg_promote::hostname);
        let said = args.port.is_some() || args.socket_directory.is_some() || args.listen_addresses.is_some();
        let own_place = (known || said).then(|| OwnPlace {
            port: postgres.port,
            folder: postgres.socket_directory.clone(),
            listen: args.listen_addresses.clone(),
            address: me.map(|me| me.address),
        });
        Ok(Self {
            slot: args.slot.clone().unwrap_or_else(|| slot_name(&node)),
            local: target::local(&postgres, VERB),
            start_command: args.start_command.clone().or_else(|| postgres.start_command.clone()),
            stop_command: postgres.stop_command.clone(),
            node,
            postgres,
            own_place,
        })
    }

    /// Finds the primary: the one that was named, or the node that answers as primary with the newest term.
    pub(super) fn source(
        &self,
        settings: Option<&Settings>,
        args: &RebuildStandby,
        deadline: Deadline,
    ) -> Result<SourceServer> {
        if let Some(host) = &args.source_host {
            let port = args.source_port.unwrap_or(self.postgres.port);
            let host = if host.starts_with('/') {
                Host::Unix(host.into(), port)
            } else {
                Host::Tcp(pg_promote::address(host)?, port)
            };
            let mut postgres = self.postgres.clone();
            postgres.connect_timeout = postgres.connect_timeout.max(ASK);
            let conn = target::with_host(host, &postgres, VERB);
            let name = args.from.clone().unwrap_or_else(|| conn.host.to_string());
            return Ok(SourceServer::new(name, conn));
        }
        let Some(settings) = settings else {
            return Err(Error::config("it isn't known where the primary is")
                .hint("name it with --source-host, or write a configuration"));
        };
        let mut answers = Vec::new();
        let mut best: Option<((u64, u32), SourceServer)> = None;
        let mut known = false;
        for peer in settings.peers() {
            if args.from.as_ref().is_some_and(|from| *from != peer.name) {
                continue;
            }
            known = true;
            let Some(mut postgres) = settings.postgres_of(peer) else { continue };
            postgres.user.clone_from(&self.postgres.user);
            postgres.database.clone_from(&self.postgres.database);
            postgres.connect_timeout = postgres.connect_timeout.max(ASK);
            let mut server = SourceServer::new(&peer.name, target::peer(peer, &postgres, VERB));
            match server.facts(deadline.within(ASK)) {
                Ok(facts) if facts.in_recovery => answers.push(format!("{} is a standby", peer.name)),
                Ok(facts) => {
                    let term = facts.epoch.as_ref().map_or(0, |epoch| epoch.term.0);
                    let rank = (term, facts.timeline.map_or(0, crate::pg::lsn::Timeline::get));
                    if best.as_ref().is_none_or(|(other, _)| rank > *other) {
                        best = Some((rank, server));
                    }
                }
                Err(error) => answers.push(format!("{}: {error}", peer.name)),
            }
        }
        if let Some((_, server)) = best {
            return Ok(server);
        }
        if let (Some(from), false) = (&args.from, known) {
            return Err(Error::new(Kind::Usage, format!("\"{from}\" isn't another node of this cluster")));
        }
        Err(Error::new(Kind::Unreachable, "no other node answers as a primary")
            .detail(answers.join("\n"))
            .hint("pgbaton cluster status"))
    }
}
