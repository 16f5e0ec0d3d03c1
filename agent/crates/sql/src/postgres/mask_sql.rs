//! What a mask is in SQL: an expression over one column, of that column's type.
//!
//! Only the server's own functions are called, each by its full name, so that nothing a session defines can stand in
//! for them. `redact` and `null` are the same for every row, also where there was no value.

use sha2::{Digest, Sha256};

use crate::catalog::Column;
use crate::mask::Mask;

/// The expression that stands for `column`, whose value is `value` in SQL.
///
/// Where a kind of mask makes no sense for a type, it is [`Mask::Redact`].
pub(super) fn expression(mask: Mask, column: &Column, value: &str, key: &[u8; 32]) -> String {
    let made = match mask {
        Mask::Null => return format!("NULL::{}", type_of(column)),
        Mask::Redact => None,
        Mask::Generalise => generalised(column, value),
        Mask::ShiftDate => shifted(column, value, key),
        Mask::DomainOnly => textual(column, &domain_only(value)),
        Mask::Last4 => last_four(column, value),
        Mask::Partial => textual(column, &partial(value)),
        Mask::Fake => fake(column, value, key),
        Mask::Hash => hashed(column, value, key),
    };
    made.unwrap_or_else(|| redacted(column))
}

/// Whether the expression shows a secret: then nobody may see the text.
pub(super) fn is_keyed(mask: Mask) -> bool {
    matches!(mask, Mask::Hash | Mask::Fake | Mask::ShiftDate)
}

/// The constant that stands for every value of the column.
fn redacted(column: &Column) -> String {
    let of = type_of(column);
    let constant = match column.base_type {
        oid::INT2
        | oid::INT4
        | oid::INT8
        | oid::OID
        | oid::FLOAT4
        | oid::FLOAT8
        | oid::NUMERIC
        | oid::MONEY
        | oid::INTERVAL => "'0'",
        oid::BOOL => "'false'",
        oid::UUID => "'00000000-0000-0000-0000-000000000000'",
        oid::JSON | oid::JSONB => "'\"***\"'",
        oid::BYTEA => "''",
        oid::DATE => "'2000-01-01'",
        oid::TIME => "'00:00:00'",
        oid::TIMETZ => "'00:00:00+00'",
        oid::TIMESTAMP => "'2000-01-01 00:00:00'",
        oid::TIMESTAMPTZ => "'2000-01-01 00:00:00+00'",
        oid::INET | oid::CIDR => "'0.0.0.0'",
        oid::MACADDR => "'00:00:00:00:00:00'",
        oid::MACADDR8 => "'00:00:00:00:00:00:00:00'",
        oid::BIT | oid::VARBIT => "B'0'",
        oid::INT4RANGE
        | oid::NUMRANGE
        | oid::TSRANGE
        | oid::TSTZRANGE
        | oid::DATERANGE
        | oid::INT8RANGE => "'empty'",
        oid::NUMMULTIRANGE
        | oid::TSMULTIRANGE
        | oid::TSTZMULTIRANGE
        | oid::DATEMULTIRANGE
        | oid::INT4MULTIRANGE
        | oid::INT8MULTIRANGE => "'{}'",
        _ if column.type_oid != column.base_type && !is_text(column) => "NULL",
        _ => match column.category {
            'S' => "'***'",
            'A' if of.ends_with("[]") => "'{}'",
            'E' => return format!("pg_catalog.enum_first(NULL::{of})"),
            _ => "NULL",
        },
    };
    format!("{constant}::{of}")
}

/// The column's type as a cast names it; below a domain, whose checks a mask would not pass, the type it is made of.
fn type_of(column: &Column) -> String {
    if column.type_oid != column.base_type
        && let Some(name) = built_in(column.base_type)
    {
        return format!("pg_catalog.{name}");
    }
    // A single word could be shadowed by a type of the session's own; forms of several words are the grammar's.
    let name = column.type_sql.split('(').next().unwrap_or_default();
    let word = name.split([' ', '[']).next().unwrap_or_default();
    if name.contains('.') || name.starts_with('"') || GRAMMAR_TYPES.contains(&word) {
        column.type_sql.clone()
    } else {
        format!("pg_catalog.{}", column.type_sql)
    }
}

fn cast(made: &str, column: &Column) -> String {
    format!("({made})::{}", type_of(column))
}

/// A made-up text, where the column is one.
fn textual(column: &Column, made: &str) -> Option<String> {
    is_text(column).then(|| cast(made, column))
}

fn as_text(value: &str) -> String {
    format!("{value}::pg_catalog.text")
}

fn joined(parts: &[&str]) -> String {
    parts.join(" OPERATOR(pg_catalog.||) ")
}

fn partial(value: &str) -> String {
    let text = as_text(value);
    let first = format!("pg_catalog.left({text}, 1)");
    let domain = format!("pg_catalog.substr({text}, pg_catalog.strpos({text}, '@'))");
    format!(
        "CASE WHEN pg_catalog.strpos({text}, '@') OPERATOR(pg_catalog.>) 1 THEN {} \
         WHEN pg_catalog.length({text}) OPERATOR(pg_catalog.>) 4 THEN {} \
         WHEN {text} IS NOT NULL THEN '***' END",
        joined(&[&first, "'***'", &domain]),
        joined(&[&first, "'***'"]),
    )
}

fn domain_only(value: &str) -> String {
    let text = as_text(value);
    let domain =
        format!("pg_catalog.reverse(pg_catalog.split_part(pg_catalog.reverse({text}), '@', 1))");
    format!(
        "CASE WHEN pg_catalog.strpos({text}, '@') OPERATOR(pg_catalog.>) 0 THEN {} \
         WHEN {text} IS NOT NULL THEN '***' END",
        joined(&["'***@'", &domain])
    )
}

/// Fewer than eight characters or digits would be half told by four of them.
fn last_four(column: &Column, value: &str) -> Option<String> {
    if is_text(column) {
        let text = as_text(value);
        let made = format!(
            "CASE WHEN pg_catalog.length({text}) OPERATOR(pg_catalog.>=) 8 THEN {} \
             WHEN {text} IS NOT NULL THEN '***' END",
            joined(&["'***'", &format!("pg_catalog.right({text}, 4)")])
        );
        return Some(cast(&made, column));
    }
    matches!(column.base_type, oid::INT4 | oid::INT8).then(|| {
        let number = format!("{value}::pg_catalog.int8");
        let made = format!(
            "CASE WHEN {number} OPERATOR(pg_catalog.>=) 10000000 \
             THEN {number} OPERATOR(pg_catalog.%) 10000 WHEN {number} IS NOT NULL THEN 0 END"
        );
        cast(&made, column)
    })
}

fn generalised(column: &Column, value: &str) -> Option<String> {
    let made = match column.base_type {
        oid::DATE | oid::TIMESTAMP => {
            format!("pg_catalog.date_trunc('year', {value}::pg_catalog.timestamp)")
        }
        oid::TIMESTAMPTZ => {
            format!("pg_catalog.date_trunc('year', {value}::pg_catalog.timestamptz)")
        }
        oid::INT2 | oid::INT4 | oid::INT8 | oid::NUMERIC | oid::FLOAT4 | oid::FLOAT8 => {
            let number = format!("{value}::pg_catalog.numeric");
            // Two leading digits stay, those behind the point never.
            let digits = format!(
                "pg_catalog.length(pg_catalog.trunc(pg_catalog.abs({number}))::pg_catalog.text)"
            );
            format!("pg_catalog.trunc({number}, LEAST(2 OPERATOR(pg_catalog.-) {digits}, 0))")
        }
        oid::INET => format!(
            "pg_catalog.network(pg_catalog.set_masklen({value}::pg_catalog.inet, \
             LEAST(pg_catalog.masklen({value}::pg_catalog.inet), \
             CASE WHEN pg_catalog.family({value}::pg_catalog.inet) OPERATOR(pg_catalog.=) 4 THEN 24 ELSE 48 END)))"
        ),
        _ if is_text(column) => format!("pg_catalog.left({}, 1)", as_text(value)),
        _ => return None,
    };
    Some(cast(&made, column))
}

fn shifted(column: &Column, value: &str, key: &[u8; 32]) -> Option<String> {
    let digest = subkey(key, "shift", column);
    let distance = i32::from(u16::from_be_bytes([digest[0], digest[1]]) % 180) + 1;
    let days = if digest[2] & 1 == 0 {
        distance
    } else {
        -distance
    };
    let made = match column.base_type {
        oid::DATE => {
            format!("{value}::pg_catalog.date OPERATOR(pg_catalog.+) ({days})::pg_catalog.int4")
        }
        oid::TIMESTAMP => format!(
            "{value}::pg_catalog.timestamp OPERATOR(pg_catalog.+) '{days} days'::pg_catalog.interval"
        ),
        oid::TIMESTAMPTZ => format!(
            "{value}::pg_catalog.timestamptz OPERATOR(pg_catalog.+) '{days} days'::pg_catalog.interval"
        ),
        _ => return None,
    };
    Some(cast(&made, column))
}

/// 32 bytes that nobody without the key can foretell, equal for equal values of columns of one name.
fn digest(value: &str, purpose: &str, column: &Column, key: &[u8; 32]) -> String {
    let secret = hex(subkey(key, purpose, column).get(..16).unwrap_or_default());
    format!(
        "pg_catalog.sha256(pg_catalog.convert_to({}, 'UTF8'))",
        joined(&[&format!("'{secret}'::pg_catalog.text"), &as_text(value)])
    )
}

/// The first hexadecimal digits of a digest.
fn digits(digest: &str, count: usize) -> String {
    format!("pg_catalog.left(pg_catalog.encode({digest}, 'hex'), {count})")
}

/// A number of 28 bits, as `int4`.
fn number(digest: &str) -> String {
    format!(
        "({})::pg_catalog.bit(28)::pg_catalog.int4",
        joined(&["'x'::pg_catalog.text", &digits(digest, 7)])
    )
}

fn hashed(column: &Column, value: &str, key: &[u8; 32]) -> Option<String> {
    let digest = digest(value, "hash", column, key);
    let made = match column.base_type {
        oid::INT2 => format!("{} OPERATOR(pg_catalog.%) 32749", number(&digest)),
        oid::INT4 | oid::FLOAT4 | oid::FLOAT8 | oid::OID => number(&digest),
        oid::INT8 => format!(
            "({})::pg_catalog.bit(60)::pg_catalog.int8",
            joined(&["'x'::pg_catalog.text", &digits(&digest, 15)])
        ),
        oid::NUMERIC => match whole_digits(&column.type_sql) {
            None => number(&digest),
            Some(0) => return None,
            Some(count) => format!(
                "{} OPERATOR(pg_catalog.%) {}",
                number(&digest),
                10_i32.pow(count.min(8))
            ),
        },
        oid::UUID => digits(&digest, 32),
        oid::BYTEA => digest,
        oid::JSON => format!("pg_catalog.to_json({})", digits(&digest, 32)),
        oid::JSONB => format!("pg_catalog.to_jsonb({})", digits(&digest, 32)),
        _ if is_text(column) => digits(&digest, 32),
        _ => return None,
    };
    Some(cast(&made, column))
}

fn fake(column: &Column, value: &str, key: &[u8; 32]) -> Option<String> {
    let digest = digest(value, "fake", column, key);
    let made = match column.base_type {
        oid::DATE => format!(
            "'1950-01-01'::pg_catalog.date OPERATOR(pg_catalog.+) ({} OPERATOR(pg_catalog.%) 20000)",
            number(&digest)
        ),
        _ if is_text(column) => return Some(cast(&fake_text(column, &digest), column)),
        _ => return hashed(column, value, key),
    };
    Some(cast(&made, column))
}

fn fake_text(column: &Column, digest: &str) -> String {
    let hint = column.name.to_ascii_lowercase();
    let has = |words: &[&str]| words.iter().any(|word| hint.contains(word));
    if has(&["mail"]) {
        joined(&["'user'", &digits(digest, 8), "'@example.com'"])
    } else if has(&["phone", "tel", "mobile", "fax"]) {
        let seven = format!(
            "pg_catalog.lpad(({} OPERATOR(pg_catalog.%) 10000000)::pg_catalog.text, 7, '0')",
            number(digest)
        );
        joined(&["'+1555'", &seven])
    } else if has(&["name"]) {
        // A missing value has no name: the subscript is NULL then.
        let pick = |names: &[&str], from: &str| {
            format!(
                "('{{{}}}'::pg_catalog.text[])[1 OPERATOR(pg_catalog.+) {from} OPERATOR(pg_catalog.%) {}]",
                names.join(","),
                names.len()
            )
        };
        let first = number(digest);
        let last = number(&format!("pg_catalog.substr({digest}, 9, 4)"));
        if has(&["last", "sur", "family"]) {
            pick(LAST_NAMES, &last)
        } else if has(&["first", "given", "fore"]) {
            pick(FIRST_NAMES, &first)
        } else {
            joined(&[&pick(FIRST_NAMES, &first), "' '", &pick(LAST_NAMES, &last)])
        }
    } else {
        joined(&["'item '", &digits(digest, 8)])
    }
}

/// A secret for one purpose and one column name: equal values of columns of one name stay equal across relations.
fn subkey(key: &[u8; 32], purpose: &str, column: &Column) -> [u8; 32] {
    let mut hasher = Sha256::new();
    for part in [key.as_slice(), purpose.as_bytes(), column.name.as_bytes()] {
        hasher.update(u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        hasher.update(part);
    }
    hasher.finalize().into()
}

fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    bytes
        .iter()
        .flat_map(|byte| [byte >> 4, byte & 15])
        .map(|digit| char::from(DIGITS[usize::from(digit)]))
        .collect()
}

/// How many digits `numeric(p,s)` has before the point; `None` where there is no limit.
fn whole_digits(type_sql: &str) -> Option<u32> {
    let (precision, scale) = type_sql
        .strip_suffix(')')?
        .split_once('(')?
        .1
        .split_once(',')?;
    let precision: i32 = precision.trim().parse().ok()?;
    let scale: i32 = scale.trim().parse().ok()?;
    // A negative scale rounds away what is left of the point.
    Some(u32::try_from(precision - scale.max(0)).unwrap_or(0))
}

fn is_text(column: &Column) -> bool {
    matches!(column.base_type, oid::TEXT | oid::VARCHAR | oid::BPCHAR)
        || (column.category == 'S' && column.base_type >= FIRST_USER_OID)
}

/// Names of the built-in types whose domains are masked as the type itself.
fn built_in(base: u32) -> Option<&'static str> {
    TYPES
        .iter()
        .find(|(number, _)| *number == base)
        .map(|(_, name)| *name)
}

const FIRST_USER_OID: u32 = 16_384;

const FIRST_NAMES: &[&str] = &[
    "Alex", "Robin", "Sam", "Kim", "Jo", "Chris", "Pat", "Noa", "Lee", "Toni", "Sascha", "Andrea",
];
const LAST_NAMES: &[&str] = &[
    "Martin", "Meyer", "Silva", "Novak", "Rossi", "Jensen", "Dubois", "Garcia", "Kowalski", "Smith",
];

/// First words of type names that the grammar itself reads, whatever the search path.
const GRAMMAR_TYPES: &[&str] = &[
    "bigint",
    "bit",
    "boolean",
    "char",
    "character",
    "decimal",
    "double",
    "float",
    "int",
    "integer",
    "interval",
    "numeric",
    "real",
    "smallint",
    "time",
    "timestamp",
    "varchar",
];

const TYPES: &[(u32, &str)] = &[
    (oid::BOOL, "bool"),
    (oid::BYTEA, "bytea"),
    (oid::INT8, "int8"),
    (oid::INT2, "int2"),
    (oid::INT4, "int4"),
    (oid::TEXT, "text"),
    (oid::OID, "oid"),
    (oid::JSON, "json"),
    (oid::CIDR, "cidr"),
    (oid::FLOAT4, "float4"),
    (oid::FLOAT8, "float8"),
    (oid::MACADDR8, "macaddr8"),
    (oid::MONEY, "money"),
    (oid::MACADDR, "macaddr"),
    (oid::INET, "inet"),
    (oid::BPCHAR, "bpchar"),
    (oid::VARCHAR, "varchar"),
    (oid::DATE, "date"),
    (oid::TIME, "time"),
    (oid::TIMESTAMP, "timestamp"),
    (oid::TIMESTAMPTZ, "timestamptz"),
    (oid::INTERVAL, "interval"),
    (oid::TIMETZ, "timetz"),
    (oid::VARBIT, "varbit"),
    (oid::NUMERIC, "numeric"),
    (oid::UUID, "uuid"),
    (oid::JSONB, "jsonb"),
    (oid::INT4RANGE, "int4range"),
    (oid::NUMRANGE, "numrange"),
    (oid::TSRANGE, "tsrange"),
    (oid::TSTZRANGE, "tstzrange"),
    (oid::DATERANGE, "daterange"),
    (oid::INT8RANGE, "int8range"),
];

/// Numbers of the built-in types.
/// <https://github.com/postgres/postgres/blob/master/src/include/catalog/pg_type.dat>
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const CIDR: u32 = 650;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const MACADDR8: u32 = 774;
    pub(super) const MONEY: u32 = 790;
    pub(super) const MACADDR: u32 = 829;
    pub(super) const INET: u32 = 869;
    pub(super) const BPCHAR: u32 = 1042;
    pub(super) const VARCHAR: u32 = 1043;
    pub(super) const DATE: u32 = 1082;
    pub(super) const TIME: u32 = 1083;
    pub(super) const TIMESTAMP: u32 = 1114;
    pub(super) const TIMESTAMPTZ: u32 = 1184;
    pub(super) const INTERVAL: u32 = 1186;
    pub(super) const TIMETZ: u32 = 1266;
    pub(super) const BIT: u32 = 1560;
    pub(super) const VARBIT: u32 = 1562;
    pub(super) const NUMERIC: u32 = 1700;
    pub(super) const UUID: u32 = 2950;
    pub(super) const JSONB: u32 = 3802;
    pub(super) const INT4RANGE: u32 = 3904;
    pub(super) const NUMRANGE: u32 = 3906;
    pub(super) const TSRANGE: u32 = 3908;
    pub(super) const TSTZRANGE: u32 = 3910;
    pub(super) const DATERANGE: u32 = 3912;
    pub(super) const INT8RANGE: u32 = 3926;
    pub(super) const INT4MULTIRANGE: u32 = 4451;
    pub(super) const NUMMULTIRANGE: u32 = 4532;
    pub(super) const TSMULTIRANGE: u32 = 4533;
    pub(super) const TSTZMULTIRANGE: u32 = 4534;
    pub(super) const DATEMULTIRANGE: u32 = 4535;
    pub(super) const INT8MULTIRANGE: u32 = 4536;
}
