//! Shows how far a rewind or a copy is: a bar on a terminal, a line every ten per cent elsewhere.

use crate::error::Result;
use crate::output::Out;
use crate::plan::apply::World;
use crate::rebuild::work::Tick;
use std::sync::mpsc::{Receiver, channel};

/// Runs something while its ticks are shown.
pub(super) fn watched<T>(out: &Out, world: &mut World, run: impl FnOnce(&mut World) -> T) -> Result<T> {
    let (ticks, inbox) = channel();
    world.rebuild()?.ticks = Some(ticks);
    Ok(std::thread::scope(|scope| {
        scope.spawn(move || show(out, &inbox));
        let result = run(world);
        // The sender's end is what ends the other thread.
        if let Ok(work) = world.rebuild() {
            work.ticks = None;
        }
        result
    }))
}

fn show(out: &Out, inbox: &Receiver<Tick>) {
    let mut bar = None;
    let mut told = 0;
    for Tick { done, total } in inbox {
        if out.shows_progress() {
            bar.get_or_insert_with(|| out.bar("copying", total)).at(done);
            continue;
        }
        let tenth = done.saturating_mul(10).checked_div(total).unwrap_or(0).min(10);
        if tenth != told {
            told = tenth;
            out.status(&format!("{} of {} MB ({} %)", done >> 20, total >> 20, tenth.saturating_mul(10)));
        }
    }
}
