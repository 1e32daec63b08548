//! Shows how far a rebuild is: a bar or the step in hand on a terminal, lines elsewhere, JSON events for a program.

use crate::error::Result;
use crate::host::clock::now;
use crate::output::Out;
use crate::output::progress::Progress as Line;
use crate::plan::apply::{Progress, World};
use crate::rebuild::work::Tick;
use crate::units::Moment;
use serde_json::{Value, json};
use std::sync::mpsc::channel;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Runs something while its steps and ticks are shown; `run` tells of the steps.
pub(super) fn watched<T>(
    out: &Out,
    events: bool,
    world: &mut World,
    run: impl FnOnce(&mut World, &mut dyn FnMut(Progress)) -> T,
) -> Result<T> {
    let (ticks, inbox) = channel();
    world.rebuild()?.ticks = Some(ticks);
    let shown = Shown { out, events, state: Mutex::new(State::new("")) };
    Ok(std::thread::scope(|scope| {
        let watcher = &shown;
        scope.spawn(move || inbox.iter().for_each(|tick| watcher.tick(tick)));
        let result = run(world, &mut |progress| watcher.step(&progress));
        // The sender's end is what ends the other thread.
        if let Ok(work) = world.rebuild() {
            work.ticks = None;
        }
        result
    }))
}

struct Shown<'a> {
    out: &'a Out,
    events: bool,
    state: Mutex<State>,
}

/// The step in hand.
struct State {
    step: &'static str,
    begun: Moment,
    /// What is shown on a terminal, and whether it is a bar by now.
    line: Option<Line>,
    is_bar: bool,
    /// The share that was told last.
    told: u64,
}

impl State {
    fn new(step: &'static str) -> Self {
        Self { step, begun: now(), line: None, is_bar: false, told: 0 }
    }
}

impl Shown<'_> {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn step(&self, progress: &Progress) {
        match progress {
            Progress::Started { step, describe, .. } => {
                let mut state = self.state();
                *state = State::new(step);
                if self.events {
                    self.event(&json!({ "event": "step-started", "step": step, "describe": describe }));
                } else if self.out.shows_progress() {
                    state.line = Some(self.out.spinner(describe));
                } else {
                    self.out.status(describe);
                }
            }
            Progress::Done { step, report, .. } => {
                self.state().line = None;
                if self.events {
                    self.event(&json!({
                        "event": "step-done", "step": step, "status": report.status, "took_ms": report.took_ms,
                        "detail": report.detail
                    }));
                }
            }
        }
    }

    fn tick(&self, Tick { done, total }: Tick) {
        let mut state = self.state();
        let percent = done.saturating_mul(100).checked_div(total).unwrap_or(0).min(100);
        let left = left(now().since(state.begun), done, total);
        if self.events {
            if percent != state.told || done == total {
                state.told = percent;
                let seconds = left.map(|left| left.as_secs());
                self.event(&json!({
                    "event": "progress", "step": state.step, "done": done, "total": total, "percent": percent,
                    "seconds_left": seconds
                }));
            }
            return;
        }
        if self.out.shows_progress() {
            if !state.is_bar {
                state.line = Some(self.out.bar(state.step, total));
                state.is_bar = true;
            }
            if let Some(bar) = &state.line {
                bar.at(done);
            }
            return;
        }
        if percent / 10 != state.told {
            state.told = percent / 10;
            let left = left.filter(|_| percent < 100).map_or_else(String::new, |left| {
                format!(", about {} s left", left.as_secs().saturating_add(1))
            });
            self.out.status(&format!("{} of {} MB ({percent} %{left})", done >> 20, total >> 20));
        }
    }

    fn event(&self, event: &Value) {
        self.out.event(event);
    }
}

/// How long the rest takes at the rate so far; nothing is said in the first second.
fn left(elapsed: Duration, done: u64, total: u64) -> Option<Duration> {
    if elapsed < Duration::from_secs(1) {
        return None;
    }
    let millis = u64::try_from(elapsed.as_millis()).ok()?;
    Some(Duration::from_millis(millis.saturating_mul(total.saturating_sub(done)).checked_div(done)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_rest_is_reckoned_from_the_rate_so_far() {
        let second = Duration::from_secs(1);
        assert_eq!(left(second * 10, 100, 400), Some(second * 30));
        assert_eq!(left(second * 10, 500, 400), Some(Duration::ZERO));
        assert_eq!(left(second * 10, 0, 400), None);
        assert_eq!(left(second / 2, 100, 400), None);
    }
}
