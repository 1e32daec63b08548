//! From milliseconds to places: linear, except where a long calm stretch is cut out.
//!
//! A failover is often three seconds of silence and then ten stages of a few milliseconds. Drawn to one scale
//! the stages would be a smear. So when the shortest stage would be too narrow to see, the longest stretches
//! in which nothing begins or ends are cut to a fixed width (and drawn as cut); all the rest keeps one scale.

use super::{MarkKind, Timeline};

/// What a renderer asks of its scale; all in its own unit, pixels or columns.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    /// Where the plot begins.
    pub left: f64,
    /// How wide it is.
    pub width: f64,
    /// The shortest stage should be this wide.
    pub narrowest: f64,
    /// How wide a stretch is drawn that was cut.
    pub cut: f64,
}

/// A stretch of the time axis that is drawn to one scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Piece {
    /// Its first moment, in milliseconds.
    pub from_ms: f64,
    /// Its last moment, in milliseconds.
    pub to_ms: f64,
    /// Where it begins.
    pub from: f64,
    /// Where it ends.
    pub to: f64,
    /// Whether it was shortened.
    pub cut: bool,
}

/// The time axis of one picture.
#[derive(Debug, Clone)]
pub(super) struct Scale {
    pieces: Vec<Piece>,
    /// Width of a millisecond in the pieces that weren't cut.
    per_ms: f64,
}

/// A place on the axis with its number.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Tick {
    /// Where it stands.
    pub at: f64,
    /// What is written there.
    pub label: String,
}

impl Scale {
    /// Lays out the times of a cleaned timeline.
    pub(super) fn new(timeline: &Timeline, room: Room) -> Self {
        let times = moments(timeline);
        let mut lengths: Vec<(f64, f64, bool)> = times
            .iter()
            .zip(times.iter().skip(1))
            .map(|(from, to)| (*from, *to, false))
            .filter(|(from, to, _)| to > from)
            .collect();
        if lengths.is_empty() {
            lengths.push((
                times.first().copied().unwrap_or(0.0),
                times.first().copied().unwrap_or(0.0) + 1.0,
                false,
            ));
        }
        let shortest = shortest_stage(timeline).unwrap_or(f64::INFINITY);
        let mut per_ms = density(&lengths, room);
        while shortest * per_ms < room.narrowest {
            // Cut the longest stretch, if that is what takes the room.
            let longest = lengths
                .iter_mut()
                .filter(|(from, to, cut)| !cut && (to - from) * per_ms > room.width * 0.3)
                .max_by(|a, b| (a.1 - a.0).total_cmp(&(b.1 - b.0)));
            let Some(longest) = longest else { break };
            longest.2 = true;
            if lengths.iter().all(|(_, _, cut)| *cut) {
                break;
            }
            let next = density(&lengths, room);
            if next <= per_ms {
                break;
            }
            per_ms = next;
        }
        if lengths.iter().all(|(_, _, cut)| *cut) {
            for piece in &mut lengths {
                piece.2 = false;
            }
            per_ms = density(&lengths, room);
        }
        let mut at = room.left;
        let mut pieces: Vec<Piece> = Vec::new();
        for (from_ms, to_ms, cut) in lengths {
            let width = if cut { room.cut } else { (to_ms - from_ms) * per_ms };
            match pieces.last_mut() {
                Some(last) if !last.cut && !cut => {
                    last.to_ms = to_ms;
                    last.to = at + width;
                }
                _ => pieces.push(Piece { from_ms, to_ms, from: at, to: at + width, cut }),
            }
            at += width;
        }
        Self { pieces, per_ms }
    }

    /// Returns the place of a moment; moments outside the picture are put on its edge.
    pub(super) fn place(&self, ms: f64) -> f64 {
        let piece = self.pieces.iter().find(|piece| ms <= piece.to_ms).or(self.pieces.last());
        let Some(piece) = piece else { return 0.0 };
        let share = ((ms - piece.from_ms) / (piece.to_ms - piece.from_ms)).clamp(0.0, 1.0);
        piece.from + share * (piece.to - piece.from)
    }

    /// Returns the stretches that were cut.
    pub(super) fn cuts(&self) -> impl Iterator<Item = &Piece> {
        self.pieces.iter().filter(|piece| piece.cut)
    }

    /// Returns where the plot ends.
    pub(super) fn end(&self) -> f64 {
        self.pieces.last().map_or(0.0, |piece| piece.to)
    }

    /// Returns numbers for the axis, at least `apart` from each other, each no wider than `measure` says.
    pub(super) fn ticks(&self, apart: f64, measure: impl Fn(&str) -> f64) -> Vec<Tick> {
        let step = nice_step(apart / self.per_ms);
        let mut candidates: Vec<f64> = Vec::new();
        for piece in self.pieces.iter().filter(|piece| !piece.cut) {
            let mut number = (piece.from_ms / step).ceil();
            // The bound is for scales at the limit of the numbers, where a step may vanish.
            for _ in 0..256 {
                if number * step > piece.to_ms {
                    break;
                }
                candidates.push(number * step);
                number += 1.0;
            }
            if self.pieces.len() > 1
                && !candidates.iter().any(|at| (piece.from_ms..=piece.to_ms).contains(at))
            {
                candidates.push(piece.from_ms);
            }
        }
        let zero = Tick { at: self.place(0.0), label: "0".to_owned() };
        let mut ticks = vec![zero];
        for ms in candidates {
            let tick = Tick { at: self.place(ms), label: tick_label(ms, step) };
            let clear = |other: &Tick| {
                let room = measure(&tick.label).midpoint(measure(&other.label)) + apart * 0.2;
                (other.at - tick.at).abs() >= room
            };
            if ms.abs() > step * 1e-6 && ticks.iter().all(clear) {
                ticks.push(tick);
            }
        }
        ticks.sort_by(|a, b| a.at.total_cmp(&b.at));
        ticks
    }
}

/// Returns every moment at which something begins or ends, sorted, with the fault itself.
fn moments(timeline: &Timeline) -> Vec<f64> {
    let mut times = vec![0.0];
    for lane in &timeline.lanes {
        times.extend(lane.spans.iter().flat_map(|span| [span.from_ms, span.to_ms]));
        let marks = lane.marks.iter().filter(|mark| mark.kind != MarkKind::Commit);
        times.extend(marks.map(|mark| mark.at_ms));
    }
    // Commits are many and even: they bound the picture, but they don't keep a stretch from being cut.
    let commits = || timeline.lanes.iter().flat_map(|lane| &lane.marks).map(|mark| mark.at_ms);
    times.extend(commits().reduce(f64::min));
    times.extend(commits().reduce(f64::max));
    times.sort_by(f64::total_cmp);
    times.dedup();
    times
}

/// Returns the length of the shortest stage, in milliseconds.
fn shortest_stage(timeline: &Timeline) -> Option<f64> {
    let spans = timeline.lanes.iter().flat_map(|lane| &lane.spans);
    spans.map(|span| span.to_ms - span.from_ms).filter(|length| *length > 0.0).reduce(f64::min)
}

/// Returns the width of a millisecond when the cut stretches have their fixed width.
fn density(lengths: &[(f64, f64, bool)], room: Room) -> f64 {
    let whole: f64 = lengths.iter().filter(|(_, _, cut)| !cut).map(|(from, to, _)| to - from).sum();
    let cut: f64 = lengths.iter().filter(|(_, _, cut)| *cut).map(|_| room.cut).sum();
    (room.width - cut).max(room.width * 0.2) / whole.max(f64::MIN_POSITIVE)
}

/// Returns 1, 2 or 5 times a power of ten that isn't below `wanted`.
fn nice_step(wanted: f64) -> f64 {
    let wanted = if wanted.is_finite() { wanted.clamp(1e-3, 1e9) } else { 1e9 };
    let mut step = 1e-3;
    for factor in [2.0, 2.5, 2.0].into_iter().cycle().take(64) {
        if step >= wanted * 0.999_999 {
            break;
        }
        step *= factor;
    }
    step
}

/// Returns the number for the axis, no finer than its step.
fn tick_label(ms: f64, step: f64) -> String {
    let trim = |text: String| {
        if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.').to_owned() } else { text }
    };
    if ms.abs() >= 1000.0 && step >= 10.0 {
        format!("{} s", trim(format!("{:.2}", ms / 1000.0)))
    } else if ms.abs() >= 1000.0 {
        format!("{} s", trim(format!("{:.3}", ms / 1000.0)))
    } else if step >= 1.0 {
        format!("{ms:.0} ms").replace('-', "−")
    } else {
        format!("{} ms", trim(format!("{ms:.3}"))).replace('-', "−")
    }
}

#[cfg(test)]
mod tests {
    use super::super::cleaned;
    use super::super::tests::{any_timeline, failover, slow_failover};
    use super::*;
    use proptest::prelude::*;

    const ROOM: Room = Room { left: 100.0, width: 800.0, narrowest: 5.0, cut: 80.0 };

    #[test]
    fn a_failover_at_100_ms_adverts_needs_no_cut() {
        let scale = Scale::new(&cleaned(&failover()), ROOM);
        assert_eq!(scale.cuts().count(), 0);
        assert!((scale.place(-100.0) - 100.0).abs() < 1e-6);
        assert!((scale.place(545.0) - 900.0).abs() < 1e-6);
    }

    #[test]
    fn three_seconds_of_silence_are_cut_so_that_the_stages_are_seen() {
        let scale = Scale::new(&cleaned(&slow_failover()), ROOM);
        assert!(scale.cuts().count() >= 1);
        assert!(scale.place(3239.2) - scale.place(3234.0) >= 5.0);
        let labels: Vec<String> = scale.ticks(70.0, |_| 40.0).into_iter().map(|tick| tick.label).collect();
        assert!(labels.contains(&"0".to_owned()), "{labels:?}");
        assert!(labels.iter().any(|label| label.starts_with("3.")), "{labels:?}");
    }

    #[test]
    fn steps_are_one_two_or_five() {
        let steps: Vec<f64> = [0.7, 1.1, 3.0, 60.0, 130.0, 260.0, 0.0, f64::NAN].map(nice_step).to_vec();
        let wanted = [1.0, 2.0, 5.0, 100.0, 200.0, 500.0, 1e-3, 1e9];
        for (step, wanted) in steps.iter().zip(wanted) {
            assert!((step - wanted).abs() < wanted * 1e-6, "{step} {wanted}");
        }
    }

    proptest! {
        #[test]
        fn later_is_never_left_of_earlier(timeline in any_timeline()) {
            let timeline = cleaned(&timeline);
            let scale = Scale::new(&timeline, ROOM);
            let places: Vec<f64> = moments(&timeline).into_iter().map(|ms| scale.place(ms)).collect();
            prop_assert!(places.iter().all(|place| place.is_finite() && *place >= 99.9), "{:?}", places);
            prop_assert!(places.windows(2).all(|pair| pair[0] <= pair[1] + 1e-6));
            let ticks = scale.ticks(70.0, |label| 7.0 * f64::from(u32::try_from(label.len()).unwrap()));
            prop_assert!(ticks.windows(2).all(|pair| pair[1].at - pair[0].at >= 14.0));
        }
    }
}
