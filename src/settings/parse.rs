//! How durations and sizes are written, in the file and on the command line alike.
//!
//! Pure: text goes in, a value or an error that says the accepted form comes out. `cli` and the file share
//! these parsers, so that `--lease 3s` and `lease = "3s"` can't come to mean different things.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// Why a text isn't a duration, a size or a lease; the message says which form is accepted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ValueError {
    /// Not a number followed by a unit of time.
    #[error("\"{0}\" isn't a duration: write a number and its unit (ms, s, m, h), as in \"100ms\"")]
    Duration(String),
    /// More time than can be counted.
    #[error("\"{0}\" is too long: the longest duration is 100000h")]
    TooLong(String),
    /// Not a number followed by a unit of memory.
    #[error("\"{0}\" isn't a size: write a whole number and its unit (B, kB, MB, GB, TB), as in \"16MB\"")]
    Size(String),
    /// More bytes than can be counted.
    #[error("\"{0}\" is too large: the largest size is 8000000TB")]
    TooLarge(String),
    /// The kernel counts the lifetime of an address in whole seconds.
    #[error("\"{0}\" isn't a lease: write whole seconds, at least \"1s\", or \"off\"")]
    Lease(String),
    /// Not a whole number of centiseconds in the range of the packet's field.
    #[error("\"{0}\" isn't an advertisement interval: write a multiple of 10ms from \"10ms\" to \"40.95s\"")]
    AdvertInterval(String),
}

const NANOS_PER_MILLI: u128 = 1_000_000;
const NANOS_PER_SECOND: u128 = 1_000 * NANOS_PER_MILLI;
const NANOS_PER_HOUR: u128 = 3_600 * NANOS_PER_SECOND;
const LONGEST: u128 = 100_000 * NANOS_PER_HOUR;
const LARGEST: u128 = 8_000_000 << 40;

/// Parses a duration such as `100ms`, `1.5s`, `2m` or `1h`.
pub fn duration(text: &str) -> Result<Duration, ValueError> {
    let wrong = || ValueError::Duration(text.to_owned());
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| !c.is_ascii_digit() && c != '.').ok_or_else(wrong)?;
    let (number, unit) = trimmed.split_at(unit_at);
    let unit = match unit.trim_start() {
        "ms" => NANOS_PER_MILLI,
        "s" => NANOS_PER_SECOND,
        "m" | "min" => 60 * NANOS_PER_SECOND,
        "h" => NANOS_PER_HOUR,
        _ => return Err(wrong()),
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if !fraction.is_empty() => (whole, fraction),
        Some(_) => return Err(wrong()),
        None => (number, ""),
    };
    if whole.is_empty() || fraction.contains('.') || fraction.len() > 12 {
        return Err(wrong());
    }
    let too_long = || ValueError::TooLong(text.to_owned());
    let whole: u128 = whole.parse().map_err(|_| too_long())?;
    let mut nanos = whole.checked_mul(unit).ok_or_else(too_long)?;
    if !fraction.is_empty() {
        let digits = u32::try_from(fraction.len()).map_err(|_| wrong())?;
        let fraction: u128 = fraction.parse().map_err(|_| wrong())?;
        let scaled = fraction.checked_mul(unit).ok_or_else(too_long)?;
        nanos = nanos.checked_add(scaled / 10_u128.pow(digits)).ok_or_else(too_long)?;
    }
    if nanos > LONGEST {
        return Err(too_long());
    }
    u64::try_from(nanos).map(Duration::from_nanos).map_err(|_| too_long())
}

/// Writes a duration so that [`duration`] reads the same value back.
pub fn write_duration(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    let millis = nanos / NANOS_PER_MILLI;
    match nanos {
        0 => "0s".to_owned(),
        n if n % NANOS_PER_HOUR == 0 => format!("{}h", n / NANOS_PER_HOUR),
        n if n % (60 * NANOS_PER_SECOND) == 0 => format!("{}m", n / (60 * NANOS_PER_SECOND)),
        n if n % NANOS_PER_SECOND == 0 => format!("{}s", n / NANOS_PER_SECOND),
        n if n % NANOS_PER_MILLI == 0 => format!("{millis}ms"),
        n => {
            let fraction = format!("{:06}", n % NANOS_PER_MILLI);
            format!("{millis}.{}ms", fraction.trim_end_matches('0'))
        }
    }
}

/// Parses a size such as `16MB` into bytes; the units are `PostgreSQL`'s, powers of 1024.
pub fn size(text: &str) -> Result<u64, ValueError> {
    let wrong = || ValueError::Size(text.to_owned());
    let too_large = || ValueError::TooLarge(text.to_owned());
    let trimmed = text.trim();
    let unit_at = trimmed.find(|c: char| !c.is_ascii_digit()).ok_or_else(wrong)?;
    let (number, unit) = trimmed.split_at(unit_at);
    if number.is_empty() {
        return Err(wrong());
    }
    let shift = match unit.trim_start().to_ascii_lowercase().as_str() {
        "b" => 0,
        "kb" => 10,
        "mb" => 20,
        "gb" => 30,
        "tb" => 40,
        _ => return Err(wrong()),
    };
    let number: u128 = number.parse().map_err(|_| too_large())?;
    let bytes = number.checked_mul(1 << shift).filter(|bytes| *bytes <= LARGEST).ok_or_else(too_large)?;
    u64::try_from(bytes).map_err(|_| too_large())
}

/// Writes a size with the largest unit that leaves a whole number; [`size`] reads the same value back.
pub fn write_size(bytes: u64) -> String {
    for (shift, unit) in [(40, "TB"), (30, "GB"), (20, "MB"), (10, "kB")] {
        if bytes != 0 && bytes.trailing_zeros() >= shift {
            return format!("{}{unit}", bytes >> shift);
        }
    }
    format!("{bytes}B")
}

/// Parses the time between two advertisements: a multiple of 10 ms from 10 ms to 40.95 s, because the packet
/// counts centiseconds in twelve bits (RFC 9568 §5.2.7).
pub fn advert_interval(text: &str) -> Result<Duration, ValueError> {
    let interval = duration(text)?;
    let nanos = interval.as_nanos();
    let step = 10 * NANOS_PER_MILLI;
    if nanos % step == 0 && (1..=4095).contains(&(nanos / step)) {
        Ok(interval)
    } else {
        Err(ValueError::AdvertInterval(text.to_owned()))
    }
}

/// How long the kernel keeps a virtual IP that nobody renews; `None` means for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lease(pub Option<Duration>);

impl FromStr for Lease {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.trim() == "off" {
            return Ok(Self(None));
        }
        let wrong = || ValueError::Lease(text.to_owned());
        let lease = duration(text).map_err(|_| wrong())?;
        let usable =
            lease.subsec_nanos() == 0 && lease.as_secs() >= 1 && u32::try_from(lease.as_secs()).is_ok();
        if usable { Ok(Self(Some(lease))) } else { Err(wrong()) }
    }
}

impl fmt::Display for Lease {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(lease) => f.write_str(&write_duration(lease)),
            None => f.write_str("off"),
        }
    }
}

/// A point in time in the past.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// So long ago.
    Ago(Duration),
    /// At this time: microseconds since 1970.
    At(i64),
}

/// Reads a duration (so long ago) or an RFC 3339 time.
pub fn since(text: &str) -> Result<Since, String> {
    if let Ok(time) = text.parse::<jiff::Timestamp>() {
        return Ok(Since::At(time.as_microsecond()));
    }
    duration(text)
        .map(Since::Ago)
        .map_err(|_| "write it as 10m (so long ago), or as 2026-01-02T03:04:05Z".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn durations_are_a_number_and_a_unit() {
        for (text, millis) in [
            ("0s", 0),
            ("10ms", 10),
            ("1s", 1_000),
            ("40.95s", 40_950),
            ("2m", 120_000),
            ("2min", 120_000),
            ("0.5h", 1_800_000),
            (" 5 s ", 5_000),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
    }

    #[test]
    fn what_is_not_a_duration_says_the_accepted_form() {
        for text in ["", "5", "s", ".5s", "5.s", "1.2.3s", "-1s", "1 fortnight", "1e3s", "1sec", "٣s"] {
            let error = duration(text).unwrap_err().to_string();
            assert_eq!(
                error,
                format!(
                    "\"{text}\" isn't a duration: write a number and its unit (ms, s, m, h), as in \"100ms\""
                )
            );
        }
        let text = "99999999999999999999999999999999999999999999h";
        assert_eq!(duration(text), Err(ValueError::TooLong(text.to_owned())));
        assert_eq!(duration("100001h"), Err(ValueError::TooLong("100001h".to_owned())));
    }

    #[test]
    fn sizes_use_the_units_of_postgresql() {
        for (text, bytes) in
            [("0B", 0), ("8kB", 8192), ("16MB", 16 << 20), ("1GB", 1 << 30), ("2 tb", 2 << 40)]
        {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for text in ["", "16", "MB", "1.5GB", "-1MB", "16 megs", "16MiB"] {
            assert!(matches!(size(text), Err(ValueError::Size(_))), "{text}");
        }
        assert!(matches!(size("9000000TB"), Err(ValueError::TooLarge(_))));
    }

    #[test]
    fn an_advert_interval_is_a_whole_number_of_centiseconds_that_fits_twelve_bits() {
        for text in ["10ms", "100ms", "1s", "40.95s"] {
            assert!(advert_interval(text).is_ok(), "{text}");
        }
        for text in ["0s", "5ms", "15ms", "1.001s", "40.96s", "1m"] {
            assert!(matches!(advert_interval(text), Err(ValueError::AdvertInterval(_))), "{text}");
        }
    }

    #[test]
    fn a_lease_is_whole_seconds_or_off() {
        assert_eq!("3s".parse(), Ok(Lease(Some(Duration::from_secs(3)))));
        assert_eq!("off".parse(), Ok(Lease(None)));
        for text in ["0s", "1500ms", "999ms", "on", "", "99999h"] {
            let lease = text.parse::<Lease>();
            if text == "99999h" {
                assert!(lease.is_ok());
            } else {
                assert_eq!(lease, Err(ValueError::Lease(text.to_owned())));
            }
        }
    }

    proptest! {
        #[test]
        fn a_written_duration_reads_back(nanos in 0..=u64::try_from(LONGEST).unwrap_or(u64::MAX)) {
            let value = Duration::from_nanos(nanos);
            prop_assert_eq!(duration(&write_duration(value)), Ok(value));
        }

        #[test]
        fn a_written_size_reads_back(bytes in 0..=u64::try_from(LARGEST).unwrap()) {
            prop_assert_eq!(size(&write_size(bytes)), Ok(bytes));
        }

        #[test]
        fn no_text_makes_the_parsers_panic(text in ".*") {
            drop((duration(&text), size(&text), advert_interval(&text), text.parse::<Lease>()));
        }

        #[test]
        fn no_number_and_unit_makes_the_parsers_panic(text in "[0-9.]{0,60}(ms|s|m|min|h|B|kB|MB|GB|TB)") {
            drop((duration(&text), size(&text), advert_interval(&text), text.parse::<Lease>()));
        }
    }

    #[test]
    fn since_is_a_duration_or_a_time() {
        assert_eq!(since("10m"), Ok(Since::Ago(Duration::from_secs(600))));
        assert_eq!(since("1970-01-01T00:00:01+01:00"), Ok(Since::At(-3_599_000_000)));
        assert!(since("yesterday").is_err());
    }
}
