use super::*;

/// A `RowDescription`'s body: relation, column, type, format of each field.
fn description(list: &[(u32, i16, u32, i16)]) -> Vec<u8> {
    let mut body = u16::try_from(list.len())
        .expect("few")
        .to_be_bytes()
        .to_vec();
    for (relation, column, type_oid, format) in list {
        body.extend(b"name\0");
        body.extend(relation.to_be_bytes());
        body.extend(column.to_be_bytes());
        body.extend(type_oid.to_be_bytes());
        body.extend([0, 4, 0xff, 0xff, 0xff, 0xff]);
        body.extend(format.to_be_bytes());
    }
    body
}

fn row(cells: &[Option<&[u8]>]) -> Vec<u8> {
    let mut body = u16::try_from(cells.len())
        .expect("few")
        .to_be_bytes()
        .to_vec();
    for cell in cells {
        match cell {
            None => body.extend((-1_i32).to_be_bytes()),
            Some(cell) => {
                body.extend(u32::try_from(cell.len()).expect("short").to_be_bytes());
                body.extend_from_slice(cell);
            }
        }
    }
    body
}

fn plan(list: &[(u32, i16, u32, i16)], masked: &[i16]) -> RowPlan {
    let fields = fields(&description(list)).expect("well-formed");
    RowPlan::new(&fields, |field| masked.contains(&field.column))
}

#[test]
fn descriptions_are_read_and_cut_ones_are_not() {
    let body = description(&[(16400, 2, 25, 0), (0, 0, 1700, 1)]);
    let read = fields(&body).expect("well-formed");
    assert_eq!(
        read[0],
        Field {
            relation: 16400,
            column: 2,
            type_oid: 25,
            format: 0
        }
    );
    assert_eq!((read[1].type_oid, read[1].format), (1700, 1));
    for end in 0..body.len() {
        assert_eq!(fields(&body[..end]), None, "cut at {end}");
    }
    assert_eq!(fields(b"\0\0").map(|fields| fields.len()), Some(0));
}

#[test]
fn masked_cells_are_replaced_and_the_others_stay() {
    let plan = plan(&[(9, 1, 23, 0), (9, 2, 25, 0), (9, 3, 25, 0)], &[2]);
    let body = row(&[Some(b"1"), Some(b"078-05-1120"), None]);
    let frame = plan.apply(&body, &Formats::Described).expect("well-formed");
    assert_eq!(frame[0], b'D');
    assert_eq!(
        u32::from_be_bytes(*frame[1..].first_chunk().expect("4")) as usize,
        frame.len() - 1
    );
    assert_eq!(&frame[5..], row(&[Some(b"1"), Some(b"***"), None]));
}

#[test]
fn a_null_cell_is_masked_like_any_other() {
    let plan = plan(&[(9, 2, 23, 0)], &[2]);
    let of = |cell| {
        plan.apply(&row(&[cell]), &Formats::All(1))
            .expect("well-formed")
    };
    assert_eq!(of(None), of(Some(b"\0\0\0\x07")));
}

#[test]
fn formats_are_those_of_the_bind() {
    let plan = plan(&[(9, 1, 20, 0), (9, 2, 20, 0)], &[1, 2]);
    let body = row(&[Some(b"12345678"), Some(b"7")]);
    let formats = Formats::Each([1, 0].into());
    let frame = plan.apply(&body, &formats).expect("well-formed");
    assert_eq!(&frame[5..], row(&[Some(&[0; 8]), Some(b"0")]));
    let frame = plan.apply(&body, &Formats::Unknown).expect("well-formed");
    assert_eq!(&frame[5..], row(&[None, None]));
}

#[test]
fn whole_rows_and_unknown_types_become_null() {
    let plan = plan(&[(9, 0, 2249, 0), (9, 2, 99_999, 1)], &[0, 2]);
    let frame = plan
        .apply(&row(&[Some(b"(1,2)"), Some(b"x")]), &Formats::Described)
        .expect("well-formed");
    assert_eq!(&frame[5..], row(&[None, None]));
}

#[test]
fn what_is_made_of_something_else_is_not_masked_here() {
    assert!(plan(&[(0, 0, 25, 0)], &[0]).is_empty());
}

#[test]
fn malformed_rows_are_refused() {
    let plan = plan(&[(9, 1, 25, 0), (9, 2, 25, 0)], &[2]);
    let body = row(&[Some(b"a"), Some(b"bc")]);
    for end in 0..body.len() {
        assert_eq!(
            plan.apply(&body[..end], &Formats::Described),
            None,
            "cut at {end}"
        );
    }
    let longer = [body, vec![0]].concat();
    assert_eq!(plan.apply(&longer, &Formats::Described), None);
}

#[test]
fn constants_have_their_types_width() {
    let widths = [
        (oid::BOOL, 1),
        (oid::INT2, 2),
        (oid::INT4, 4),
        (oid::INT8, 8),
        (oid::FLOAT4, 4),
        (oid::FLOAT8, 8),
        (oid::NUMERIC, 8),
        (oid::UUID, 16),
        (oid::DATE, 4),
        (oid::TIMESTAMP, 8),
        (oid::TIMETZ, 12),
        (oid::INTERVAL, 16),
        (oid::MACADDR, 6),
        (oid::BYTEA, 0),
    ];
    for (type_oid, width) in widths {
        assert_eq!(binary(type_oid).expect("known").len(), width, "{type_oid}");
    }
    assert_eq!(
        binary(1009).expect("an array").as_ref(),
        [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 25]
    );
    assert_eq!(text(1009), Some("{}"));
}

#[test]
fn every_type_has_both_formats_or_neither() {
    for type_oid in 0..6_000 {
        assert_eq!(
            text(type_oid).is_some(),
            binary(type_oid).is_some(),
            "{type_oid}"
        );
    }
}
