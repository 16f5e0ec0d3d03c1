use super::*;

fn proposed(relation: &str, name: &str, type_name: &str, samples: &[&str]) -> Option<Proposal> {
    let column = ColumnFacts {
        schema: "public",
        relation,
        name,
        type_name,
        comment: None,
    };
    let samples = samples.iter().map(|sample| sample.as_bytes());
    propose(&Scanner::new(), &column, samples)
}

fn class(name: &str, type_name: &str, samples: &[&str]) -> Option<String> {
    proposed("t", name, type_name, samples).map(|proposal| proposal.class)
}

const EMAILS: &[&str] = &[
    "a.b@example.com",
    "c@example.org",
    "d_e@test.de",
    "f+g@a.co.uk",
    "h@i.fr",
];
const CARDS: &[&str] = &[
    "4111111111111111",
    "5555555555554444",
    "378282246310005",
    "6011111111111117",
    "4012888888881881",
];
const NINE_DIGITS: &[&str] = &[
    "536904399",
    "536904400",
    "536904401",
    "536904402",
    "536904403",
];
const WORDS: &[&str] = &["yes", "no", "yes", "maybe", "no"];

#[test]
fn name_and_values_together_are_surer_than_either() {
    let both = proposed("t", "email", "text", EMAILS).map(|it| it.confidence);
    let name = proposed("t", "email", "text", &[]).map(|it| it.confidence);
    let values = proposed("t", "x1", "text", EMAILS).map(|it| it.confidence);
    assert!(both > name && both > values && name.is_some() && values.is_some());
}

#[test]
fn values_that_are_something_else_overrule_the_name() {
    assert_eq!(class("email", "text", WORDS), None);
    assert_eq!(class("phone", "text", EMAILS).as_deref(), Some("pii.email"));
    assert_eq!(class("fname", "text", EMAILS).as_deref(), Some("pii.email"));
}

#[test]
fn card_numbers_are_found_under_any_name() {
    assert_eq!(class("ref", "text", CARDS).as_deref(), Some("pci.pan"));
    assert_eq!(
        class("card_no", "bigint", CARDS).as_deref(),
        Some("pci.pan")
    );
}

#[test]
fn numbers_of_things_are_not_numbers_of_people() {
    assert_eq!(class("id", "bigint", NINE_DIGITS), None);
    assert_eq!(class("order_no", "text", NINE_DIGITS), None);
    assert_eq!(class("order_no", "bigint", NINE_DIGITS), None);
    let sequence = [
        "600000000001",
        "600000000002",
        "600000000003",
        "600000000004",
        "600000000005",
    ];
    assert_eq!(class("order_no", "text", &sequence), None);
    let times = [
        "1700000000",
        "1700000060",
        "1700000120",
        "1700000180",
        "1700000240",
    ];
    assert_eq!(class("seen", "bigint", &times), None);
    assert_eq!(class("ssn", "uuid", &[]), None);
    assert_eq!(class("email_verified", "boolean", &["t", "f"]), None);
    let amounts = ["10.50", "1200.00", "17.25", "99.99", "100.00"];
    assert_eq!(class("amount", "numeric(10,2)", &amounts), None);
}

#[test]
fn bare_digits_are_what_the_name_says_when_they_follow_its_rules() {
    assert_eq!(
        class("ssn", "text", NINE_DIGITS).as_deref(),
        Some("pii.ssn")
    );
    assert_eq!(
        class("ssn", "character(9)", NINE_DIGITS).as_deref(),
        Some("pii.ssn")
    );
    let phones = [
        "6502530000",
        "2125551212",
        "4155550123",
        "3105559876",
        "2025550147",
    ];
    assert_eq!(
        class("tel", "bigint", &phones).as_deref(),
        Some("pii.phone")
    );
    assert_eq!(class("ticket", "bigint", &phones), None);
}

#[test]
fn names_and_addresses_are_told_by_name_and_look() {
    let people = ["Anna", "Bruno", "Émile", "O'Neil", "Jo-Ann"];
    assert_eq!(
        class("vorname", "text", &people).as_deref(),
        Some("pii.name")
    );
    assert_eq!(class("label", "text", &people), None);
    let streets = [
        "1 Main St",
        "22 Rue X",
        "Hauptstr. 5",
        "17 Oak Ave",
        "9 Elm",
    ];
    assert_eq!(
        class("street", "text", &streets).as_deref(),
        Some("pii.address")
    );
    let products = proposed("products", "name", "text", &people);
    assert_eq!(products, None);
}

#[test]
fn types_say_what_names_leave_open() {
    assert_eq!(class("peer", "inet", &[]).as_deref(), Some("network.ip"));
    assert_eq!(
        class("dob", "date", &["1980-01-01"]).as_deref(),
        Some("pii.birth_date")
    );
    assert_eq!(class("dob", "boolean", &[]), None);
    assert_eq!(class("created", "date", &["1980-01-01"]), None);
}

#[test]
fn texts_with_values_inside_say_so() {
    let notes = [
        "called anna@example.com about the order",
        "no answer",
        "asked for a refund to DE89370400440532013000",
        "wrote to b@example.org again",
        "closed",
        "mail from c@example.net",
    ];
    let proposal = proposed("tickets", "note", "text", &notes);
    let proposal = proposal.as_ref();
    assert_eq!(proposal.map(|it| it.extent), Some(Extent::Within));
    assert_eq!(proposal.map(|it| it.class.as_str()), Some("pii.email"));
}

#[test]
fn evidence_holds_counts_and_no_value() {
    let proposal = proposed("t", "email", "text", EMAILS);
    let shown = format!("{proposal:?}");
    assert!(EMAILS.iter().all(|email| !shown.contains(email)));
    let evidence = proposal.map(|it| it.evidence).unwrap_or_default();
    assert_eq!(evidence.sampled, EMAILS.len());
    assert_eq!(
        evidence.values.first().map(|it| it.values),
        Some(EMAILS.len())
    );
}
