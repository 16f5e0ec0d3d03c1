//! What others chose, made safe to show on a terminal.
//!
//! Programs' paths, names of databases, quoted identifiers, texts of statements: whoever is watched picks them, and root
//! reads them. A terminal obeys what they may contain, so that a record could hide itself or the one before it.

/// As it is, but for what steers a terminal or turns the direction of writing: that is spelt out. Line breaks stay, for
/// texts that have lines.
#[must_use]
pub fn visible(text: &str) -> String {
    spelt_out(text, |c| c != '\n' && steers(c))
}

/// The same on one line: a name must not begin a line that looks like another record.
#[must_use]
pub fn visible_line(text: &str) -> String {
    spelt_out(text, steers)
}

fn spelt_out(text: &str, which: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if which(c) {
            out.extend(c.escape_unicode());
        } else {
            out.push(c);
        }
    }
    out
}

/// Controls, separators of lines, and marks of writing direction.
fn steers(c: char) -> bool {
    c.is_control()
        || matches!(
            c,
            '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}'
        )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_steers_a_terminal_is_spelt_out() {
        let text = "UPDATE a\n/* \u{1b}[2K\r\u{202e} */";
        assert_eq!(visible(text), "UPDATE a\n/* \\u{1b}[2K\\u{d}\\u{202e} */");
        assert_eq!(
            visible_line(text),
            "UPDATE a\\u{a}/* \\u{1b}[2K\\u{d}\\u{202e} */"
        );
    }

    #[test]
    fn letters_of_every_script_stay() {
        let text = "SELECT 'größe', '名前', 'שם' – 1";
        assert_eq!(visible(text), text);
        assert_eq!(visible_line(text), text);
    }
}
