//! `time:` as it is written: days, hours and the zone they are meant in.

use serde::Deserialize;
use time::Weekday;

use super::words::OneOrMany;

/// `{ days: [mon..fri], hours: "08:00-18:00", zone: "+01:00" }`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct WindowText {
    pub(crate) days: Option<OneOrMany<String>>,
    pub(crate) hours: Option<OneOrMany<String>>,
    pub(crate) zone: Option<String>,
}

/// Days of the week as bits, Monday first.
pub(crate) fn parse_days(text: &str) -> Option<u8> {
    let (first, last) = text.split_once("..").unwrap_or((text, text));
    let (first, last) = (day(first)?, day(last)?);
    let mut bits = 0;
    let mut at = first;
    loop {
        bits |= 1 << at.number_days_from_monday();
        if at == last {
            return Some(bits);
        }
        at = at.next();
    }
}

/// Minutes of the day: from the first, up to and without the second, which may be on the next day.
pub(crate) fn parse_hours(text: &str) -> Option<(u16, u16)> {
    let (from, until) = text.split_once('-')?;
    let (from, until) = (minutes(from.trim())?, minutes(until.trim())?);
    (from != until && from < DAY_MINUTES).then_some((from, until))
}

/// Seconds east of UTC.
pub(crate) fn parse_zone(text: &str) -> Option<i32> {
    if text.eq_ignore_ascii_case("utc") || text == "Z" {
        return Some(0);
    }
    let (sign, rest) = match text.split_at_checked(1)? {
        ("+", rest) => (1, rest),
        ("-", rest) => (-1, rest),
        _ => return None,
    };
    let minutes = i32::from(minutes(rest)?);
    (minutes <= MAX_ZONE_MINUTES).then_some(sign * minutes * 60)
}

fn day(text: &str) -> Option<Weekday> {
    Some(match text.trim().to_ascii_lowercase().get(..3)? {
        "mon" => Weekday::Monday,
        "tue" => Weekday::Tuesday,
        "wed" => Weekday::Wednesday,
        "thu" => Weekday::Thursday,
        "fri" => Weekday::Friday,
        "sat" => Weekday::Saturday,
        "sun" => Weekday::Sunday,
        _ => return None,
    })
}

fn minutes(text: &str) -> Option<u16> {
    let (hours, minutes) = text.split_once(':')?;
    if hours.len() != 2 || minutes.len() != 2 {
        return None;
    }
    let (hours, minutes): (u16, u16) = (hours.parse().ok()?, minutes.parse().ok()?);
    let total = hours * 60 + minutes;
    (minutes < 60 && total <= DAY_MINUTES).then_some(total)
}

/// Minutes of a day; `24:00` is its end.
pub(crate) const DAY_MINUTES: u16 = 24 * 60;
/// The easternmost zone is fourteen hours ahead of UTC.
const MAX_ZONE_MINUTES: i32 = 14 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_hours_and_zones_are_read() {
        assert_eq!(parse_days("mon..fri"), Some(0b001_1111));
        assert_eq!(parse_days("sat..mon"), Some(0b110_0001));
        assert_eq!(parse_days("Wednesday"), Some(0b000_0100));
        assert_eq!(parse_days("someday"), None);
        assert_eq!(parse_hours("08:00-18:30"), Some((480, 1110)));
        assert_eq!(parse_hours("22:00-06:00"), Some((1320, 360)));
        assert_eq!(parse_hours("00:00-24:00"), Some((0, 1440)));
        for wrong in ["8-18", "08:00", "08:00-08:00", "25:00-26:00", "08:60-09:00"] {
            assert_eq!(parse_hours(wrong), None, "{wrong}");
        }
        assert_eq!(parse_zone("UTC"), Some(0));
        assert_eq!(parse_zone("+01:00"), Some(3600));
        assert_eq!(parse_zone("-03:30"), Some(-12_600));
        assert_eq!(parse_zone("Europe/Berlin"), None);
        assert_eq!(parse_zone("+15:00"), None);
    }
}
