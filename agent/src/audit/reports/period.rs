//! The time that a report is about. The store counts by the hour, so a period is whole hours.

use time::{
    Date, OffsetDateTime,
    format_description::{BorrowedFormatItem, well_known::Rfc3339},
    macros::format_description,
};

const HOUR_SECONDS: u64 = 3600;
const DATE: &[BorrowedFormatItem<'_>] = format_description!("[year]-[month]-[day]");

/// From one full hour to another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Period {
    /// The first hour since the epoch.
    from: u64,
    /// The hour after the last.
    until: u64,
}

/// Why a time is not one.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is not a time: write 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z")]
pub struct PeriodError(String);

impl Period {
    /// From `since` to `until`, or to the end of the current hour; rounded outwards to whole hours.
    ///
    /// # Errors
    ///
    /// One of the two is not a time.
    pub fn parse(since: &str, until: Option<&str>, now_seconds: u64) -> Result<Self, PeriodError> {
        let from = seconds(since, now_seconds)?;
        let until = until.map_or(Ok(now_seconds + 1), |until| seconds(until, now_seconds))?;
        Ok(Self {
            from: from / HOUR_SECONDS,
            until: until.div_ceil(HOUR_SECONDS),
        })
    }

    /// First hour and the one after the last, hours since the epoch.
    #[must_use]
    pub fn hours(&self) -> (u64, u64) {
        (self.from, self.until)
    }

    /// The same as nanoseconds since the epoch.
    #[must_use]
    pub fn nanoseconds(&self) -> (u64, u64) {
        let nanoseconds = |hours: u64| {
            hours
                .saturating_mul(HOUR_SECONDS * 1_000_000_000)
                .min(i64::MAX.unsigned_abs())
        };
        (nanoseconds(self.from), nanoseconds(self.until))
    }
}

/// A time as people and programs read it, UTC; empty when it lies outside the calendar.
#[must_use]
pub fn rfc3339(ns: u64) -> String {
    i64::try_from(ns / 1_000_000_000)
        .ok()
        .and_then(|seconds| OffsetDateTime::from_unix_timestamp(seconds).ok())
        .and_then(|time| time.format(&Rfc3339).ok())
        .unwrap_or_default()
}

/// A point in time: so long before now, a day's start, or to the second.
fn seconds(text: &str, now: u64) -> Result<u64, PeriodError> {
    let error = || PeriodError(text.to_owned());
    if let Some(ago) = duration(text) {
        return Ok(now.saturating_sub(ago));
    }
    let time = OffsetDateTime::parse(text, &Rfc3339)
        .or_else(|_| Date::parse(text, DATE).map(|date| date.midnight().assume_utc()))
        .map_err(|_| error())?;
    u64::try_from(time.unix_timestamp()).map_err(|_| error())
}

fn duration(text: &str) -> Option<u64> {
    let at = text.len().checked_sub(1)?;
    let (number, unit) = (text.get(..at)?, text.get(at..)?);
    let seconds = match unit {
        "m" => 60,
        "h" => HOUR_SECONDS,
        "d" => 24 * HOUR_SECONDS,
        "w" => 7 * 24 * HOUR_SECONDS,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(seconds)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-31T12:30:00Z
    const NOW: u64 = 1_769_862_600;

    #[test]
    fn periods_cover_the_hours_they_touch() {
        let period = |since, until| Period::parse(since, until, NOW).map(|period| period.hours());
        let now = NOW / 3600;
        assert_eq!(period("1h", None), Ok((now - 1, now + 1)));
        assert_eq!(period("2d", Some("1d")), Ok((now - 48, now - 23)));
        assert_eq!(period("2026-01-31", None), Ok((now - 12, now + 1)));
        assert_eq!(
            period("2026-01-31T11:59:00Z", Some("2026-01-31T12:00:00Z")),
            Ok((now - 1, now))
        );
        assert_eq!(period("99999w", None).map(|hours| hours.0), Ok(0));
    }

    #[test]
    fn what_is_no_time_is_refused() {
        for text in [
            "",
            "h",
            "yesterday",
            "1y",
            "-1h",
            "2026-13-01",
            "1969-01-01",
            "ä",
        ] {
            assert_eq!(
                Period::parse(text, None, NOW),
                Err(PeriodError(text.to_owned()))
            );
        }
    }

    #[test]
    fn times_read_as_utc() {
        assert_eq!(rfc3339(NOW * 1_000_000_000), "2026-01-31T12:30:00Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    }
}
