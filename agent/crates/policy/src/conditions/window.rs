//! `time:`, days of the week and hours of the day in which something holds.

use std::{fmt, time::Duration};

use crate::{
    finding::{Finding, Place},
    schema::{DAY_MINUTES, OneOrMany, WindowText, parse_days, parse_hours, parse_zone},
};

/// Times of the week, in one zone.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Window {
    /// Monday first.
    days: u8,
    /// Minutes of the day, from and until; a range that ends before it begins goes on into the next day.
    hours: Vec<(u16, u16)>,
    /// Seconds east of UTC.
    offset_s: i32,
    written: String,
}

impl Window {
    pub(crate) fn compile(
        text: &WindowText,
        place: &Place,
        findings: &mut Vec<Finding>,
    ) -> Option<Self> {
        if text.days.is_none() && text.hours.is_none() {
            findings.push(place.error(
                "`time` names no time",
                "give `days: [mon..fri]`, `hours: \"08:00-18:00\"`, or both",
            ));
            return None;
        }
        let mut wrong = |what: &str, value: &str, remedy: &str| {
            findings.push(place.error(format!("`{value}` is no {what}"), remedy));
        };
        let mut days = if text.days.is_some() { 0 } else { ALL_DAYS };
        for value in written(text.days.as_ref()) {
            match parse_days(value) {
                Some(bits) => days |= bits,
                None => wrong(
                    "day",
                    value,
                    "write mon, tue, wed, thu, fri, sat, sun, or mon..fri",
                ),
            }
        }
        let mut hours = Vec::new();
        for value in written(text.hours.as_ref()) {
            match parse_hours(value) {
                Some(range) => hours.push(range),
                None => wrong(
                    "range of hours",
                    value,
                    "write \"08:00-18:00\", or \"22:00-06:00\" over midnight",
                ),
            }
        }
        if text.hours.is_none() {
            hours.push((0, DAY_MINUTES));
        }
        let zone = text.zone.as_deref().unwrap_or("UTC");
        let offset_s = parse_zone(zone).unwrap_or_else(|| {
            wrong(
                "zone",
                zone,
                "write UTC or an offset such as +01:00; names of places are not known here",
            );
            0
        });
        Some(Self {
            days,
            hours,
            offset_s,
            written: show(text, zone),
        })
    }

    /// `now` since the epoch.
    pub(crate) fn holds(&self, now: Duration) -> bool {
        let (day, minute) = self.local(now);
        self.hours.iter().any(|&(from, until)| {
            let within = from <= minute && (minute < until || until <= from);
            let after_midnight = until <= from && minute < until;
            (within && self.on(day)) || (after_midnight && self.on(day - 1))
        })
    }

    /// When the answer may change next, since the epoch.
    pub(crate) fn next_change(&self, now: Duration) -> Duration {
        let (day, _) = self.local(now);
        let edges = self
            .hours
            .iter()
            .flat_map(|&(from, until)| [from, until])
            .chain([0]);
        let at = |day: i64, minute: u16| {
            let seconds = day * DAY_S + i64::from(minute) * 60 - i64::from(self.offset_s);
            Duration::from_secs(u64::try_from(seconds).unwrap_or(0))
        };
        edges
            .flat_map(|minute| [at(day, minute), at(day + 1, minute)])
            .filter(|edge| *edge > now)
            .min()
            .unwrap_or(now + Duration::from_hours(24))
    }

    /// Days since the epoch, and minutes of that day.
    fn local(&self, now: Duration) -> (i64, u16) {
        let seconds =
            i64::try_from(now.as_secs()).unwrap_or(i64::MAX / 2) + i64::from(self.offset_s);
        let minute = seconds.rem_euclid(DAY_S) / 60;
        (
            seconds.div_euclid(DAY_S),
            u16::try_from(minute).unwrap_or_default(),
        )
    }

    fn on(&self, day: i64) -> bool {
        // The epoch was a Thursday.
        self.days & (1 << (day + 3).rem_euclid(7)) != 0
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.written)
    }
}

fn written(list: Option<&OneOrMany<String>>) -> &[String] {
    list.map_or(&[], |OneOrMany(values)| values)
}

fn show(text: &WindowText, zone: &str) -> String {
    let days = written(text.days.as_ref()).join(", ");
    let hours = written(text.hours.as_ref()).join(", ");
    let parts: Vec<_> = [days.as_str(), hours.as_str(), zone]
        .into_iter()
        .filter(|part| !part.is_empty())
        .collect();
    parts.join(" ")
}

const ALL_DAYS: u8 = 0b111_1111;
const DAY_S: i64 = 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn window(days: &[&str], hours: &[&str], zone: &str) -> Window {
        let list = |words: &[&str]| {
            (!words.is_empty())
                .then(|| OneOrMany(words.iter().map(|word| (*word).to_owned()).collect()))
        };
        let text = WindowText {
            days: list(days),
            hours: list(hours),
            zone: Some(zone.to_owned()),
        };
        let mut findings = Vec::new();
        let window = Window::compile(&text, &Place::default(), &mut findings);
        assert!(findings.is_empty(), "{findings:?}");
        window.expect("a window")
    }

    /// Minutes since Monday 2024-01-01 00:00 UTC.
    fn at(day: u64, hour: u64, minute: u64) -> Duration {
        Duration::from_secs(1_704_067_200 + day * 86_400 + hour * 3600 + minute * 60)
    }

    #[test]
    fn office_hours_hold_on_office_days() {
        let office = window(&["mon..fri"], &["08:00-18:00"], "UTC");
        assert!(!office.holds(at(0, 7, 59)));
        assert!(office.holds(at(0, 8, 0)));
        assert!(office.holds(at(4, 17, 59)));
        assert!(!office.holds(at(4, 18, 0)));
        assert!(!office.holds(at(5, 12, 0)), "Saturday");
        assert_eq!(office.next_change(at(0, 7, 0)), at(0, 8, 0));
        assert_eq!(office.next_change(at(0, 8, 0)), at(0, 18, 0));
        assert_eq!(office.next_change(at(0, 18, 0)), at(1, 0, 0));
    }

    #[test]
    fn a_night_belongs_to_the_day_it_begins_on() {
        let night = window(&["fri"], &["22:00-06:00"], "UTC");
        assert!(!night.holds(at(4, 5, 0)), "the night from Thursday");
        assert!(night.holds(at(4, 23, 0)));
        assert!(night.holds(at(5, 5, 59)));
        assert!(!night.holds(at(5, 6, 0)));
        assert!(!night.holds(at(5, 23, 0)));
    }

    #[test]
    fn a_zone_moves_days_and_hours() {
        let east = window(&["mon"], &[], "+02:00");
        assert!(east.holds(at(6, 22, 30)), "Monday has begun there");
        assert!(!east.holds(at(0, 22, 30)));
        assert_eq!(east.next_change(at(0, 21, 0)), at(0, 22, 0));
    }
}
