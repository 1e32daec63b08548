//! `vrrp run`: settings → parts of the daemon → the loop.

use crate::cli::{Globals, Run};
use crate::daemon::{self, Parts};
use crate::error::Result;
use crate::output::Out;
use crate::settings::Settings;

pub(super) fn run(globals: &Globals, args: &Run, out: &Out) -> Result<()> {
    let settings = Settings::load(&globals.overrides())?;
    for warning in &settings.warnings {
        out.warning(warning);
    }
    daemon::run(Parts::prepare(settings, super::daemon_log(args))?)
}
