//! Progress on a terminal's standard error; invisible everywhere else.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// A line that shows that work goes on; it disappears when it is dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    pub(super) fn spinner(visible: bool, text: &str) -> Self {
        let bar = ProgressBar::with_draw_target(None, target(visible));
        if visible {
            bar.set_style(ProgressStyle::default_spinner());
            bar.set_message(super::clean(text));
            bar.enable_steady_tick(Duration::from_millis(100));
        }
        Self(bar)
    }

    pub(super) fn bar(visible: bool, text: &str, bytes: u64) -> Self {
        let bar = ProgressBar::with_draw_target(Some(bytes), target(visible));
        if visible {
            let form = "{msg} [{bar:24}] {bytes}/{total_bytes} {eta}";
            bar.set_style(
                ProgressStyle::with_template(form)
                    .unwrap_or_else(|_| ProgressStyle::default_bar())
                    .progress_chars("=> "),
            );
            bar.set_message(super::clean(text));
        }
        Self(bar)
    }

    /// Changes what the line says.
    pub fn say(&self, text: &str) {
        self.0.set_message(super::clean(text));
    }

    /// Says how many bytes are done.
    pub fn at(&self, bytes: u64) {
        self.0.set_position(bytes);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

fn target(visible: bool) -> ProgressDrawTarget {
    if visible { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() }
}
