//! `demo`: preflight → lab → fault → story → picture; or only the clean-up.

use crate::cli::Demo;
use crate::demo::lab::{Lab, LabOptions};
use crate::demo::patience::Patience;
use crate::demo::preflight;
use crate::demo::present::{Look, Screen};
use crate::demo::scenario::{self, DemoOptions, Unseen};
use crate::error::{Error, Result};
use crate::output::Out;
use crate::output::report::Report;
use std::sync::Arc;

pub(super) fn run(args: &Demo, out: &Out) -> Result<()> {
    preflight::check(args.bin_directory.as_deref())?;
    let binary = std::env::current_exe()
        .map_err(|error| Error::failed("can't find this program's file").detail(error))?;
    let lab = LabOptions {
        spare: args.spare,
        sync: args.spare,
        advert: args.advert,
        bin_directory: args.bin_directory.clone(),
        ..LabOptions::new(binary)
    };
    if args.clean {
        return clean(&lab, out);
    }
    let options = DemoOptions { fault: args.fault, lab, keep: args.keep, svg: args.svg.clone() };
    let patience = Arc::new(Patience::until_signal()?);
    let result = show(&options, &patience, out);
    if patience.caught().is_some() {
        // The lab is gone by now; the shell is to see which signal it was.
        patience.die_by_signal()?;
    }
    result
}

fn show(options: &DemoOptions, patience: &Arc<Patience>, out: &Out) -> Result<()> {
    if out.is_json() {
        let (report, _) = scenario::run(options, patience, &Unseen)?;
        return out.json(&report);
    }
    let look = Look { colour: out.paint().is_on(), spinner: out.shows_progress(), columns: out.width() };
    let screen = Screen::new(look, out.writer());
    let (report, timeline) = scenario::run(options, patience, &screen)?;
    screen.finish(&report, &timeline, &options.lab);
    Ok(())
}

fn clean(lab: &LabOptions, out: &Out) -> Result<()> {
    let mut report = Report::new("demo --clean");
    report.changed = Lab::clean(&lab.base, &lab.prefix)?;
    report.msg = if report.changed {
        "removed what an earlier demo left".to_owned()
    } else {
        "unchanged: nothing is left of an earlier demo".to_owned()
    };
    out.report(&report)
}
