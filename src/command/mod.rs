//! One file per verb: settings → observe → plan → apply → report.
//!
//! The only room that may use every other one; nothing but `lib.rs` uses it.

mod cluster_check;
mod cluster_events;
mod cluster_init;
mod cluster_pause;
pub mod cluster_status;
mod cluster_switchover;
mod cluster_timeline;
mod demo;
mod finish;
mod flight_records;
pub mod generate;
mod notify;
mod pg_fence;
mod pg_fetch_history;
mod pg_promote;
mod pg_rebuild_standby;
mod vip;
mod vrrp_ask;
mod vrrp_check_config;
mod vrrp_run;

use crate::cli::{
    Cli, ClusterCommand, Command, GenerateCommand, LogFormat, PgCommand, Run, StatusFormat, VipCommand,
    VrrpCommand,
};
use crate::error::{Error, Result};
use crate::output::Out;
use crate::output::log::{Log, LogStyle};

/// Does what a parsed command line says.
pub fn dispatch(cli: &Cli, out: &Out) -> Result<()> {
    let globals = &cli.globals;
    match &cli.command {
        Command::Vrrp(VrrpCommand::Run(args)) => vrrp_run::run(globals, args, out),
        Command::Vrrp(VrrpCommand::Status(args)) => vrrp_ask::status(globals, args, out),
        Command::Vrrp(VrrpCommand::Stats(args)) => vrrp_ask::stats(globals, args, out),
        Command::Vrrp(VrrpCommand::Probe(args)) => vrrp_ask::probe(globals, args, out),
        Command::Vrrp(VrrpCommand::Resign(args)) => vrrp_ask::resign(globals, args, out),
        Command::Vip(VipCommand::Up(args)) => vip::up(globals, args, out),
        Command::Vip(VipCommand::Down(args)) => vip::down(globals, args, out),
        Command::Vip(VipCommand::Status(args)) => vip::status(globals, args, out),
        Command::Pg(PgCommand::Promote(args)) => pg_promote::run(globals, args, out),
        Command::Pg(PgCommand::RebuildStandby(args)) => pg_rebuild_standby::run(globals, args, out),
        Command::Pg(PgCommand::Fence(args)) => pg_fence::run(globals, args, out),
        Command::Pg(PgCommand::FetchHistory(args)) => pg_fetch_history::run(globals, args, out),
        Command::Cluster(ClusterCommand::Status(args)) => cluster_status::run(globals, args, out),
        Command::Cluster(ClusterCommand::Check(args)) => cluster_check::run(globals, args, out),
        Command::Cluster(ClusterCommand::Init(args)) => cluster_init::run(globals, args, out),
        Command::Cluster(ClusterCommand::Events(args)) => cluster_events::run(globals, args, out),
        Command::Cluster(ClusterCommand::Timeline(args)) => cluster_timeline::run(globals, args, out),
        Command::Notify(args) => notify::run(globals, args, out),
        Command::Cluster(ClusterCommand::Switchover(args)) => cluster_switchover::run(globals, args, out),
        Command::Cluster(ClusterCommand::Pause(args)) => cluster_pause::pause(globals, args, out),
        Command::Cluster(ClusterCommand::Resume(args)) => cluster_pause::resume(globals, args, out),
        Command::Demo(args) => demo::run(args, out),
        Command::Vrrp(VrrpCommand::CheckConfig(_)) => vrrp_check_config::run(globals, out),
        Command::Generate(GenerateCommand::Man(man)) => generate::man_pages(man, out),
        Command::Generate(GenerateCommand::Completions(target)) => generate::completions(target, out),
        Command::Generate(GenerateCommand::Config) => generate::config(out),
        Command::Generate(GenerateCommand::Keepalived(args)) => generate::keepalived(globals, args, out),
        Command::Generate(GenerateCommand::Systemd(args)) => generate::systemd(globals, args, out),
        Command::Generate(GenerateCommand::Monitoring(args)) => generate::monitoring(args, out),
        Command::Generate(GenerateCommand::Fencing(args)) => generate::fencing(args, out),
        Command::Generate(GenerateCommand::Ansible(args)) => generate::ansible(args, out),
    }
}

/// Does what a command line says that wants the conventions of a monitoring plugin; `None` when it doesn't.
///
/// A plugin has four exit codes of its own and prints everything, its errors too, to standard output.
pub fn as_plugin(cli: &Cli, out: &Out) -> Option<u8> {
    match &cli.command {
        Command::Cluster(ClusterCommand::Status(args)) if args.format == StatusFormat::Nagios => {
            Some(cluster_status::plugin(&cli.globals, args, out))
        }
        _ => None,
    }
}

/// Says as a monitoring plugin that the question couldn't be asked.
pub fn plugin_cannot(error: &Error, out: &Out) -> u8 {
    cluster_status::cannot(error, out)
}

/// Opens the log of the daemon in the form that was asked for.
pub fn daemon_log(run: &Run) -> Log {
    let style = match run.log_format {
        LogFormat::Journal => LogStyle::Journal,
        LogFormat::Plain => LogStyle::Plain,
        LogFormat::Auto => {
            let stream = std::env::var("JOURNAL_STREAM").ok();
            rustix::fs::fstat(std::io::stderr()).map_or(LogStyle::Plain, |about| {
                LogStyle::detect(stream.as_deref(), about.st_dev, about.st_ino)
            })
        }
    };
    Log::stderr(style, run.log_level.into())
}
