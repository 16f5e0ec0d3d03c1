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

/// Why two times are no period.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeriodError {
    /// One of them is not a time.
    #[error("{0:?} is not a time: write 24h, 7d, 2026-01-31 or 2026-01-31T12:00:00Z")]
    Time(String),
    /// There is nothing between them.
    #[error(
        "the period ends before it begins: until ({until:?}) has to be later than since ({since:?})"
    )]
    Reversed {
        /// As it was given.
        since: String,
        /// As it was given; `now` when it was not.
        until: String,
    },
}

impl Period {
    /// From `since` to `until`, or to the end of the current hour; rounded outwards to whole hours.
    ///
    /// # Errors
    ///
    /// One of the two is not a time, or `until` is not later than `since`.
    pub fn parse(since: &str, until: Option<&str>, now_seconds: u64) -> Result<Self, PeriodError> {
        let from = seconds(since, now_seconds)?;
        let end = until.map_or(Ok(now_seconds + 1), |until| seconds(until, now_seconds))?;
        if end <= from {
            return Err(PeriodError::Reversed {
                since: since.to_owned(),
                until: until.unwrap_or("now").to_owned(),
            });
        }
        Ok(Self {
            from: from / HOUR_SECONDS,
            until: end.div_ceil(HOUR_SECONDS),
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
    let error = || PeriodError::Time(text.to_owned());
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
                Err(PeriodError::Time(text.to_owned()))
            );
        }
    }

    #[test]
    fn a_period_that_ends_before_it_begins_is_refused() {
        for (since, until) in [
            ("1h", Some("2h")),
            ("1h", Some("1h")),
            ("2026-02-01", None),
            ("2026-01-31T11:59:00Z", Some("2026-01-31T11:58:00Z")),
        ] {
            let refused = Period::parse(since, until, NOW).expect_err(since);
            assert!(
                refused.to_string().contains("ends before it begins"),
                "{refused}"
            );
        }
    }

    #[test]
    fn times_read_as_utc() {
        assert_eq!(rfc3339(NOW * 1_000_000_000), "2026-01-31T12:30:00Z");
        assert_eq!(rfc3339(0), "1970-01-01T00:00:00Z");
    }
}
