//! Cells that must not pass as they are: constants by type and format, and rows with them in place.
//!
//! Rewriting hides values before they leave the database; this is what remains when it should have missed one.

use std::borrow::Cow;

use super::{HEADER_BYTES, backend::tag, frontend::take_string, watch::Formats};

/// One column of a `RowDescription`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// The relation it comes straight from; zero when it is made of something else.
    pub relation: u32,
    /// The column of that relation; zero with a relation is the whole row.
    pub column: i16,
    /// Its type.
    pub type_oid: u32,
    /// 0 is text, 1 binary; always 0 in a statement's description.
    pub format: i16,
}

/// Reads a `RowDescription`; `None` when it is malformed.
#[must_use]
pub fn fields(body: &[u8]) -> Option<Vec<Field>> {
    let count = u16::from_be_bytes(*body.first_chunk()?);
    let mut rest = body.get(2..)?;
    let mut fields = Vec::with_capacity(usize::from(count).min(rest.len() / 19));
    for _ in 0..count {
        let (_, after) = take_string(rest)?;
        // Between type and format: the type's length and modifier.
        fields.push(Field {
            relation: u32::from_be_bytes(*after.first_chunk()?),
            column: i16::from_be_bytes(*after.get(4..)?.first_chunk()?),
            type_oid: u32::from_be_bytes(*after.get(6..)?.first_chunk()?),
            format: i16::from_be_bytes(*after.get(16..)?.first_chunk()?),
        });
        rest = after.get(18..)?;
    }
    rest.is_empty().then_some(fields)
}

/// Which cells of a result's rows are masked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RowPlan {
    columns: Vec<Planned>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Planned {
    index: usize,
    type_oid: u32,
    /// As described.
    format: i16,
    whole_row: bool,
}

impl RowPlan {
    /// A plan for the fields that `masked` picks.
    pub fn new(fields: &[Field], mut masked: impl FnMut(&Field) -> bool) -> Self {
        let columns = fields
            .iter()
            .enumerate()
            .filter(|(_, field)| field.relation != 0 && masked(field))
            .map(|(index, field)| Planned {
                index,
                type_oid: field.type_oid,
                format: field.format,
                whole_row: field.column == 0,
            })
            .collect();
        Self { columns }
    }

    /// The fields that were picked.
    pub fn masked<'f>(&self, fields: &'f [Field]) -> impl Iterator<Item = &'f Field> {
        let columns = self.columns.iter();
        columns.filter_map(|column| fields.get(column.index))
    }

    /// Whether rows pass as they are.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.columns.is_empty()
    }

    /// A `DataRow` with its cells masked; `None` when it is malformed.
    #[must_use]
    pub fn apply(&self, body: &[u8], formats: &Formats) -> Option<Vec<u8>> {
        let count = body.first_chunk::<2>()?;
        let mut out = Vec::with_capacity(HEADER_BYTES + body.len());
        out.extend([tag::DATA_ROW, 0, 0, 0, 0]);
        out.extend(count);
        let mut planned = self.columns.iter().peekable();
        let mut rest = body.get(2..)?;
        for index in 0..usize::from(u16::from_be_bytes(*count)) {
            let length = i32::from_be_bytes(*rest.first_chunk()?);
            let end = 4 + usize::try_from(length).unwrap_or(0);
            let cell = rest.get(..end)?;
            rest = rest.get(end..)?;
            match planned.next_if(|column| column.index == index) {
                None => out.extend_from_slice(cell),
                Some(column) => push_cell(&mut out, column.constant(formats)),
            }
        }
        if !rest.is_empty() {
            return None;
        }
        let length = u32::try_from(out.len() - 1).ok()?;
        out.get_mut(1..HEADER_BYTES)?
            .copy_from_slice(&length.to_be_bytes());
        Some(out)
    }
}

/// The cells of a `DataRow`, `None` for NULL; nothing when it is malformed.
#[must_use]
pub fn values(body: &[u8]) -> Option<Vec<Option<&[u8]>>> {
    let count = usize::from(u16::from_be_bytes(*body.first_chunk()?));
    let mut values = Vec::with_capacity(count.min(MAX_COLUMNS));
    let mut rest = body.get(2..)?;
    for _ in 0..count {
        let length = i32::from_be_bytes(*rest.first_chunk()?);
        rest = rest.get(4..)?;
        if length < 0 {
            values.push(None);
            continue;
        }
        let (value, after) = rest.split_at_checked(usize::try_from(length).ok()?)?;
        values.push(Some(value));
        rest = after;
    }
    rest.is_empty().then_some(values)
}

/// More than a server's results may have.
const MAX_COLUMNS: usize = 1_664;

impl Planned {
    fn constant(&self, formats: &Formats) -> Option<Cow<'static, [u8]>> {
        if self.whole_row {
            return None;
        }
        match formats.of(self.index, self.format)? {
            0 => text(self.type_oid).map(|text| Cow::Borrowed(text.as_bytes())),
            1 => binary(self.type_oid),
            _ => None,
        }
    }
}

fn push_cell(out: &mut Vec<u8>, value: Option<Cow<'static, [u8]>>) {
    match value {
        None => out.extend((-1_i32).to_be_bytes()),
        Some(value) => {
            // The longest constant has some twenty bytes.
            out.extend(u32::try_from(value.len()).unwrap_or(0).to_be_bytes());
            out.extend_from_slice(&value);
        }
    }
}

/// A type's constant in text; `None` is NULL, for types whose input nobody can guess.
#[must_use]
pub fn text(type_oid: u32) -> Option<&'static str> {
    Some(match type_oid {
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN => "***",
        oid::CHAR => "*",
        oid::INT2
        | oid::INT4
        | oid::INT8
        | oid::OID
        | oid::FLOAT4
        | oid::FLOAT8
        | oid::NUMERIC
        | oid::MONEY
        | oid::BIT
        | oid::VARBIT => "0",
        oid::BOOL => "f",
        oid::UUID => "00000000-0000-0000-0000-000000000000",
        oid::JSON | oid::JSONB => "\"***\"",
        oid::BYTEA => "\\x",
        oid::DATE => "2000-01-01",
        oid::TIME | oid::INTERVAL => "00:00:00",
        oid::TIMETZ => "00:00:00+00",
        oid::TIMESTAMP => "2000-01-01 00:00:00",
        oid::TIMESTAMPTZ => "2000-01-01 00:00:00+00",
        oid::INET => "0.0.0.0",
        oid::CIDR => "0.0.0.0/32",
        oid::MACADDR => "00:00:00:00:00:00",
        oid::MACADDR8 => "00:00:00:00:00:00:00:00",
        _ if is_range(type_oid) => "empty",
        _ if is_multirange(type_oid) || element(type_oid).is_some() => "{}",
        _ => return None,
    })
}

/// A type's constant in binary; `None` is NULL.
#[must_use]
pub fn binary(type_oid: u32) -> Option<Cow<'static, [u8]>> {
    let bytes: &'static [u8] = match type_oid {
        oid::TEXT | oid::VARCHAR | oid::BPCHAR | oid::NAME | oid::UNKNOWN => b"***",
        oid::CHAR => b"*",
        oid::JSON => b"\"***\"",
        // A version byte comes first.
        oid::JSONB => b"\x01\"***\"",
        // A date is days since 2000-01-01, a time microseconds.
        oid::INT4 | oid::OID | oid::FLOAT4 | oid::DATE => &[0; 4],
        // A numeric of no digits, weight 0, positive, scale 0.
        oid::INT8
        | oid::FLOAT8
        | oid::NUMERIC
        | oid::MONEY
        | oid::MACADDR8
        | oid::TIME
        | oid::TIMESTAMP
        | oid::TIMESTAMPTZ => &[0; 8],
        oid::BOOL => &[0],
        oid::INT2 => &[0; 2],
        oid::MACADDR => &[0; 6],
        oid::TIMETZ => &[0; 12],
        oid::UUID | oid::INTERVAL => &[0; 16],
        oid::BYTEA => &[],
        // Family, bits, whether cidr, length, address.
        oid::INET => &[2, 32, 0, 4, 0, 0, 0, 0],
        oid::CIDR => &[2, 32, 1, 4, 0, 0, 0, 0],
        // A length of one bit, and the bit.
        oid::BIT | oid::VARBIT => &[0, 0, 0, 1, 0],
        // Flags: empty.
        _ if is_range(type_oid) => &[1],
        // No ranges.
        _ if is_multirange(type_oid) => &[0; 4],
        _ => {
            // No dimensions, no NULLs, the element's type.
            let mut array = vec![0; 8];
            array.extend(element(type_oid)?.to_be_bytes());
            return Some(Cow::Owned(array));
        }
    };
    Some(Cow::Borrowed(bytes))
}

fn is_range(type_oid: u32) -> bool {
    matches!(type_oid, 3904 | 3906 | 3908 | 3910 | 3912 | 3926)
}

fn is_multirange(type_oid: u32) -> bool {
    matches!(type_oid, 4451 | 4532..=4536)
}

/// The element type of a built-in array type.
fn element(type_oid: u32) -> Option<u32> {
    let found = ARRAYS.iter().find(|(array, _)| *array == type_oid);
    found.map(|(_, element)| *element)
}

/// <https://github.com/postgres/postgres/blob/REL_18_STABLE/src/include/catalog/pg_type.dat>
const ARRAYS: &[(u32, u32)] = &[
    (1000, oid::BOOL),
    (1001, oid::BYTEA),
    (1002, oid::CHAR),
    (1003, oid::NAME),
    (1016, oid::INT8),
    (1005, oid::INT2),
    (1007, oid::INT4),
    (1009, oid::TEXT),
    (1028, oid::OID),
    (199, oid::JSON),
    (3807, oid::JSONB),
    (1021, oid::FLOAT4),
    (1022, oid::FLOAT8),
    (791, oid::MONEY),
    (1040, oid::MACADDR),
    (775, oid::MACADDR8),
    (1041, oid::INET),
    (651, oid::CIDR),
    (1014, oid::BPCHAR),
    (1015, oid::VARCHAR),
    (1182, oid::DATE),
    (1183, oid::TIME),
    (1270, oid::TIMETZ),
    (1115, oid::TIMESTAMP),
    (1185, oid::TIMESTAMPTZ),
    (1187, oid::INTERVAL),
    (1561, oid::BIT),
    (1563, oid::VARBIT),
    (1231, oid::NUMERIC),
    (2951, oid::UUID),
];

/// Numbers of built-in types.
mod oid {
    pub(super) const BOOL: u32 = 16;
    pub(super) const BYTEA: u32 = 17;
    pub(super) const CHAR: u32 = 18;
    pub(super) const NAME: u32 = 19;
    pub(super) const INT8: u32 = 20;
    pub(super) const INT2: u32 = 21;
    pub(super) const INT4: u32 = 23;
    pub(super) const TEXT: u32 = 25;
    pub(super) const OID: u32 = 26;
    pub(super) const JSON: u32 = 114;
    pub(super) const CIDR: u32 = 650;
    pub(super) const FLOAT4: u32 = 700;
    pub(super) const FLOAT8: u32 = 701;
    pub(super) const UNKNOWN: u32 = 705;
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
}

#[cfg(test)]
mod tests;
