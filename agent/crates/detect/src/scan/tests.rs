use super::*;
use crate::kind::Scheme;

fn found(text: &str) -> Vec<(Kind, &str)> {
    let mut out = Vec::new();
    Scanner::new().scan(text.as_bytes(), &mut out);
    out.iter()
        .map(|found| (found.kind, &text[found.start..found.end]))
        .collect()
}

#[test]
fn each_kind_is_found_inside_a_sentence() {
    let token = "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl";
    for (kind, value) in [
        (Kind::Email, "anna.o'neil+news@mail.example.co.uk"),
        (Kind::Email, "jürgen@müller.de"),
        (Kind::Phone, "+44 (0)20 7946 0123"),
        (Kind::Phone, "(650) 253-0000 ext. 12"),
        (Kind::Phone, "+4915112345678"),
        (Kind::Phone, "06 12 34 56 78"),
        (Kind::Card, "4111-1111-1111-1111"),
        (Kind::Card, "4111 1111 1111 1111"),
        (Kind::Card, "378282246310005"),
        (Kind::Card, "3782 822463 10005"),
        (Kind::Iban, "DE89 3704 0044 0532 0130 00"),
        (Kind::Ssn, "536-90-4399"),
        (Kind::Ip, "192.168.0.17"),
        (Kind::Ip, "2001:db8::8a2e:370:7334"),
        (Kind::Ip, "fe80::1"),
        (Kind::Mac, "00:1B:44:11:3a:b7"),
        (Kind::Mac, "00-1B-44-11-3A-B7"),
        (Kind::Mac, "001b.4411.3ab7"),
        (Kind::Url, "https://example.com/a?b=c#d"),
        (Kind::Domain, "shop.example.com"),
        (Kind::Domain, "example.co.uk"),
        (Kind::ApiKey, "AKIAIOSFODNN7EXAMPLE"),
        (Kind::ApiKey, "ghp_16C7e42F292c6912E7710c838347Ae178B4a"),
        (Kind::ApiKey, "postgres://app:hunter2@db.example.com/prod"),
        (Kind::Jwt, token),
        (Kind::CryptoAddress, "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa"),
        (
            Kind::CryptoAddress,
            "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4",
        ),
        (Kind::NationalId(Scheme::BrCpf), "529.982.247-25"),
        (Kind::NationalId(Scheme::BeRegister), "85.07.30-033.28"),
        (Kind::NationalId(Scheme::ChAhv), "756.9217.0769.85"),
        (Kind::NationalId(Scheme::EsDni), "12345678Z"),
        (Kind::NationalId(Scheme::FrNir), "2 55 08 14 168 025 38"),
        (Kind::NationalId(Scheme::ItFiscalCode), "RSSMRA85T10A562S"),
        (Kind::NationalId(Scheme::SePersonal), "811218-9876"),
        (Kind::NationalId(Scheme::UkNino), "AB 12 34 56 C"),
        (Kind::NationalId(Scheme::FiHetu), "131052-308T"),
    ] {
        for text in [
            format!("It is {value}, he said"),
            format!("{{\"v\":\"{value}\"}}"),
            value.to_owned(),
            format!("“{value}”"),
        ] {
            assert_eq!(found(&text), [(kind, value)], "{text}");
        }
    }
}

#[test]
fn bare_digits_need_a_word_that_says_what_they_are() {
    for (lead, kind, value) in [
        ("BSN: ", Kind::NationalId(Scheme::NlBsn), "111222333"),
        ("PESEL ", Kind::NationalId(Scheme::PlPesel), "44051401359"),
        (
            "Steuer-ID ",
            Kind::NationalId(Scheme::DeTaxId),
            "86095742719",
        ),
        (
            "Aadhaar no. ",
            Kind::NationalId(Scheme::InAadhaar),
            "234123412346",
        ),
        ("his SSN is ", Kind::Ssn, "536904399"),
        ("fax ", Kind::Phone, "6502530000"),
        ("born on ", Kind::BirthDate, "1980-02-29"),
        ("password: ", Kind::ApiKey, "xK9v2LqP0sT7yB4nR1mZ"),
    ] {
        assert_eq!(found(&format!("{lead}{value}")), [(kind, value)], "{lead}");
        assert_eq!(found(&format!("item {value}")), [], "{value}");
    }
}

#[test]
fn what_only_looks_like_something_is_not_found() {
    for text in [
        "550e8400-e29b-41d4-a716-446655440000",
        "order 4111111111111112",
        "version 1.2.3.4 of 15.18",
        "1.2.3.4.5",
        "256.1.1.1",
        "2024-01-31 12:20:39",
        "take 12 000 000 of 1998-2004",
        "std::vector::push and a::b",
        "select c.ssn from app.customers c where c.id = 7",
        "main.rs, lib.py and run.sh",
        "e.g. this. So.it goes",
        "3.14159265358979",
        "1700000000 1700000000123",
        "123-45-6789-0",
        "$1,234,567.89",
        "a@b and @everyone",
        "AB12CD34",
        "-----BEGIN PUBLIC KEY-----",
        "deadbeefdeadbeefdeadbeefdeadbeef",
        "ISBN 978-3-16-148410-0",
    ] {
        assert_eq!(found(text), [], "{text}");
    }
}

#[test]
fn an_address_holds_its_host_and_is_found_once() {
    assert_eq!(
        found("mail john.doe@example.com or see www.example.com."),
        [
            (Kind::Email, "john.doe@example.com"),
            (Kind::Domain, "www.example.com")
        ]
    );
}

#[test]
fn neighbours_are_found_each() {
    assert_eq!(
        found("4111111111111111 5555555555554444/10.0.0.1"),
        [
            (Kind::Card, "4111111111111111"),
            (Kind::Card, "5555555555554444"),
            (Kind::Ip, "10.0.0.1")
        ]
    );
}

#[test]
fn a_private_key_is_found_with_its_body() {
    let key = "-----BEGIN RSA PRIVATE KEY-----\nMIIEpAIBAAKCAQEA\n-----END RSA PRIVATE KEY-----";
    assert_eq!(found(&format!("key:\n{key}\n")), [(Kind::PrivateKey, key)]);
}

#[test]
fn numbers_beyond_what_one_look_takes_in_are_found() {
    let text = format!("{} 4111 1111 1111 1111", "7 ".repeat(40).trim_end());
    assert_eq!(found(&text), [(Kind::Card, "4111 1111 1111 1111")]);
}

#[test]
fn any_bytes_give_findings_in_order_that_do_not_overlap() {
    let scanner = Scanner::new();
    let mut state = 0x1234_5678_9ABC_DEF1_u64;
    let alphabet: &[u8] = b"0123456789012345678 -./()+:@xX_aAeEyYbcZ,#\xC2\xA0\xE2\x80\x91\xFF\0";
    let pieces: [&[u8]; 16] = [
        b"4111111111111111",
        b"@",
        b"a.com",
        b"10.0.0.1",
        b" ",
        b"-",
        b".",
        b"(",
        b"+49 30 1234567",
        b"\xE2\x80\x9C",
        b"eyJhbGci",
        b"DE89370400440532013000",
        b"://",
        b"00:1B:44",
        b"x",
        b"536-90-4399",
    ];
    let mut out = Vec::new();
    let mut all = 0;
    for round in 0..20_000_usize {
        let mut cell: Vec<u8> = Vec::new();
        for _ in 0..round % 41 {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            let at = usize::try_from(state >> 33).unwrap_or(0);
            match round % 3 {
                0 => cell.push((state >> 24).to_le_bytes()[0]),
                1 => cell.push(alphabet[at % alphabet.len()]),
                _ => cell.extend_from_slice(pieces[at % pieces.len()]),
            }
        }
        out.clear();
        scanner.scan(&cell, &mut out);
        all += out.len();
        assert!(
            out.iter()
                .all(|found| found.start < found.end && found.end <= cell.len())
        );
        assert!(
            out.windows(2).all(|pair| pair[0].end <= pair[1].start),
            "{out:?}"
        );
        let _ = scanner.whole(&cell, &mut out);
    }
    assert!(all > 1000, "{all}");
}

#[test]
fn time_is_linear_in_the_bytes() {
    let scanner = Scanner::new();
    for piece in [
        "7 ",
        "1",
        "a.",
        "a@",
        "ab12-",
        "::",
        "1.",
        "eyJ",
        "-----BEGIN ",
        "x://",
        "aa:",
        "+",
        "(1)",
        "é",
        "sk-",
    ] {
        let took = |bytes: usize| {
            let cell = piece.repeat(bytes / piece.len());
            let mut out = Vec::new();
            let start = std::time::Instant::now();
            scanner.scan(cell.as_bytes(), &mut out);
            start.elapsed()
        };
        let _ = took(100_000);
        // Far slower than any machine of ours, and far faster than a quadratic look back.
        assert!(
            took(1_000_000) < std::time::Duration::from_secs(2),
            "{piece}"
        );
    }
}

#[test]
fn a_whole_cell_is_told_from_a_text() {
    let scanner = Scanner::new();
    let mut scratch = Vec::new();
    let whole = scanner.whole(b" 536904399 ", &mut scratch);
    assert!(whole.possible.has(Kind::Ssn) && !whole.sure.has(Kind::Ssn));
    assert!(
        scanner
            .whole(b"a@example.com", &mut scratch)
            .sure
            .has(Kind::Email)
    );
    assert!(
        scanner
            .whole(b"to a@example.com", &mut scratch)
            .sure
            .is_empty()
    );
}
