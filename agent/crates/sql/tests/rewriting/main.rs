//! What statements become, to the letter: files of statements, each with the text that goes on in its place or the reason
//! why it does not.
//!
//! `=== title` begins a section without orders; `mask`, `filter`, `path`, `store` and `exempt` lines say what holds in it.
//! Statements are paragraphs; `=> text` is what goes on, `== ` the statement itself, `!! ` the refusal.

mod site;

use std::fmt::Write as _;

use site::Section;

/// Runs one file of cases; all differences are printed as the file would have them.
fn check(file: &str, text: &str) {
    let mut wrong = String::new();
    let mut count = 0;
    for section in text.split("\n=== ").skip(1) {
        let (head, cases) = section.split_once("\n\n").expect("a section has cases");
        let section = Section::read(head);
        for case in cases
            .split("\n\n")
            .map(str::trim)
            .filter(|case| !case.is_empty())
        {
            let (statement, expected) = split(case);
            count += 1;
            let got = section.rewrite(statement);
            let got = got.trim_end();
            if got != expected {
                let _ = write!(wrong, "{statement}\n{got}\n\n");
            }
        }
    }
    assert!(count > 10, "{file} has {count} cases");
    assert!(wrong.is_empty(), "{file}:\n{wrong}");
}

/// The statement, and the line that says what becomes of it.
fn split(case: &str) -> (&str, &str) {
    let at = ["\n=> ", "\n!! ", "\n=="]
        .iter()
        .filter_map(|mark| case.find(mark))
        .min();
    match at {
        Some(at) => (&case[..at], &case[at + 1..]),
        None => (case, "nothing is said"),
    }
}

macro_rules! files {
    ($($name:ident)*) => {
        $(#[test]
        fn $name() {
            let file = concat!(stringify!($name), ".txt");
            check(file, include_str!(concat!(stringify!($name), ".txt")));
        })*
    };
}

files! { reads queries rows filters views writes commands names closed kinds }
