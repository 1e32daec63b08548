//! Thresholds in the range grammar of monitoring plugins, for a lag in bytes or in time. Pure.
//!
//! `10` alerts outside 0 to 10, `10:` below 10, `~:10` above 10, `10:20` outside, `@10:20` inside.

use std::fmt;

/// What a threshold measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Measure {
    /// Write-ahead log that isn't replayed yet, in bytes.
    Bytes,
    /// The age of what is replayed, in microseconds.
    Time,
}

/// A range of values, and whether being inside or outside of it is an alert.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Threshold {
    /// What is measured.
    pub measure: Measure,
    /// Alert inside instead of outside.
    inside: bool,
    /// `None`: no lower end.
    start: Option<i64>,
    /// `None`: no upper end.
    end: Option<i64>,
}

const UNITS: &[(&str, Measure, i64)] = &[
    ("B", Measure::Bytes, 1),
    ("kB", Measure::Bytes, 1 << 10),
    ("MB", Measure::Bytes, 1 << 20),
    ("GB", Measure::Bytes, 1 << 30),
    ("TB", Measure::Bytes, 1 << 40),
    ("ms", Measure::Time, 1_000),
    ("s", Measure::Time, 1_000_000),
    ("m", Measure::Time, 60_000_000),
    ("h", Measure::Time, 3_600_000_000),
];

impl Threshold {
    /// Reads a range whose ends may have units, as in `16MB`, `5s`, `@1MB:2MB`; without one they are bytes.
    pub fn parse(text: &str) -> Result<Self, String> {
        let (inside, range) = text.strip_prefix('@').map_or((false, text), |range| (true, range));
        let (start, end) = match range.split_once(':') {
            Some((start, end)) => (start, end),
            None => ("0", range),
        };
        if start.is_empty() || (end.is_empty() && !range.contains(':')) {
            return Err("write it as [@]START:END, as in 16MB, 5s, 1MB: or ~:1GB".to_owned());
        }
        let mut measures = Vec::new();
        let mut value = |text: &str| -> Result<i64, String> {
            let (value, measure) = amount(text)?;
            measures.extend(measure);
            Ok(value)
        };
        let start = if start == "~" { None } else { Some(value(start)?) };
        let end = if end.is_empty() { None } else { Some(value(end)?) };
        let measure = measures.first().copied().unwrap_or(Measure::Bytes);
        if measures.iter().any(|other| *other != measure) {
            return Err("both ends must be of one kind: bytes, or a time".to_owned());
        }
        if let (Some(start), Some(end)) = (start, end)
            && start > end
        {
            return Err("the range ends before it starts".to_owned());
        }
        Ok(Self { measure, inside, start, end })
    }

    /// Returns whether this value, in bytes or microseconds, is an alert.
    pub fn alerts(self, value: u64) -> bool {
        let value = i64::try_from(value).unwrap_or(i64::MAX);
        let within = self.start.is_none_or(|start| value >= start) && self.end.is_none_or(|end| value <= end);
        within == self.inside
    }
}

/// The range as performance data has it: in bytes or seconds, without a unit.
impl fmt::Display for Threshold {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.inside {
            f.write_str("@")?;
        }
        let number = |value: i64| match self.measure {
            Measure::Bytes => value.to_string(),
            Measure::Time => seconds(value),
        };
        match self.start {
            Some(0) if self.end.is_some() => {}
            Some(start) => write!(f, "{}:", number(start))?,
            None => f.write_str("~:")?,
        }
        self.end.map_or(Ok(()), |end| f.write_str(&number(end)))
    }
}

/// Returns microseconds as a decimal number of seconds.
pub fn seconds(micros: i64) -> String {
    let sign = if micros < 0 { "-" } else { "" };
    let micros = micros.unsigned_abs();
    let (whole, rest) = (micros / 1_000_000, micros % 1_000_000);
    if rest == 0 {
        return format!("{sign}{whole}");
    }
    format!("{sign}{whole}.{rest:06}").trim_end_matches('0').to_owned()
}

/// Reads a number and its unit.
fn amount(text: &str) -> Result<(i64, Option<Measure>), String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let (measure, scale) = match UNITS.iter().find(|(name, ..)| *name == unit) {
        Some((_, measure, scale)) => (Some(*measure), *scale),
        // A bare 0 belongs to whatever the other end is.
        None if unit.is_empty() => ((number != "0").then_some(Measure::Bytes), 1),
        None => {
            return Err(format!(
                "unknown unit \"{unit}\": bytes are B, kB, MB, GB or TB, times are ms, s, m or h"
            ));
        }
    };
    let wrong = || format!("\"{number}\" isn't a number");
    let (sign, digits) = number.strip_prefix('-').map_or((1, number), |digits| (-1, digits));
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let all_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
    if whole.is_empty() || !all_digits(whole) || !all_digits(fraction) || fraction.len() > 6 {
        return Err(wrong());
    }
    let whole: i64 = whole.parse().map_err(|_| wrong())?;
    let mut value = whole.checked_mul(scale).ok_or_else(|| format!("{text} is too large"))?;
    if !fraction.is_empty() {
        let power = 10_i64.pow(u32::try_from(fraction.len()).unwrap_or(6));
        let part: i64 = fraction.parse().map_err(|_| wrong())?;
        let part = part.checked_mul(scale).ok_or_else(|| format!("{text} is too large"))? / power;
        value = value.checked_add(part).ok_or_else(|| format!("{text} is too large"))?;
    }
    Ok((sign * value, measure))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn threshold(text: &str) -> Threshold {
        Threshold::parse(text).unwrap()
    }

    #[test]
    fn the_grammar_is_that_of_the_plugins() {
        for (text, quiet, loud) in [
            ("10", vec![0, 10], vec![11]),
            ("10:", vec![10, 1 << 40], vec![0, 9]),
            ("~:10", vec![0, 10], vec![11]),
            ("10:20", vec![10, 20], vec![9, 21]),
            ("@10:20", vec![9, 21], vec![10, 20]),
            ("1.5kB", vec![1536], vec![1537]),
            ("0:5s", vec![0, 5_000_000], vec![5_000_001]),
        ] {
            for value in quiet {
                assert!(!threshold(text).alerts(value), "{text} {value}");
            }
            for value in loud {
                assert!(threshold(text).alerts(value), "{text} {value}");
            }
        }
    }

    #[test]
    fn performance_data_has_base_units() {
        let shown = |text| threshold(text).to_string();
        assert_eq!(
            ["16MB", "~:1kB", "@1:2", "10:", "2.5s", "500ms", "@1s:2s"].map(shown),
            ["16777216", "~:1024", "@1:2", "10:", "2.5", "0.5", "@1:2"]
        );
        assert_eq!(threshold("5s").measure, Measure::Time);
        assert_eq!(threshold("5").measure, Measure::Bytes);
    }

    #[test]
    fn what_is_no_range_is_refused_with_the_reason() {
        for text in ["", ":", "x", "5x", "1s:2MB", "2:1", "1..2", "@", "-", "99999999999TB", "1:2:3", ":5"] {
            assert!(Threshold::parse(text).is_err(), "{text}");
        }
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,12}", value in any::<u64>()) {
            if let Ok(threshold) = Threshold::parse(&text) {
                threshold.alerts(value);
                prop_assert!(!threshold.to_string().is_empty());
            }
        }
    }
}
