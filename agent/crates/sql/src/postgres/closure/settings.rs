//! Settings that would change how statements are read, what is logged to the client, or whose rights are used.

use pg_query::protobuf::{FuncCall, VariableSetKind, VariableSetStmt};

use crate::postgres::session::{self, constant_text};

/// Whether a setting may have this value where data is hidden. No value stands for the default.
#[must_use]
pub fn is_harmless_setting(name: &str, value: Option<&str>) -> bool {
    let name = name.to_ascii_lowercase();
    let value = value.map(str::to_ascii_lowercase);
    match name.as_str() {
        "standard_conforming_strings" => value
            .as_deref()
            .is_none_or(|value| matches!(value, "on" | "true" | "yes" | "1" | "t")),
        "client_min_messages" => value
            .as_deref()
            .is_none_or(|value| matches!(value, "notice" | "warning" | "error")),
        "client_encoding" | "names" => value.as_deref().is_none_or(is_safe_encoding),
        _ => {
            !DENIED.contains(&name.as_str())
                && !DENIED_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix))
        }
    }
}

/// Encodings in which no byte of a longer character looks like ASCII.
fn is_safe_encoding(name: &str) -> bool {
    let plain: String = name.chars().filter(char::is_ascii_alphanumeric).collect();
    ![
        "sjis", "shiftjis", "mskanji", "win932", "big5", "win950", "gbk", "win936", "uhc",
        "win949", "johab", "gb18030",
    ]
    .iter()
    .any(|unsafe_name| plain.contains(unsafe_name))
}

/// Whether a `SET` may be done.
pub(super) fn is_harmless(set: &VariableSetStmt) -> bool {
    match VariableSetKind::try_from(set.kind) {
        Ok(
            VariableSetKind::VarSetDefault
            | VariableSetKind::VarReset
            | VariableSetKind::VarResetAll,
        ) => true,
        Ok(VariableSetKind::VarSetValue) => {
            let values: Option<Vec<_>> = set.args.iter().map(constant_text).collect();
            let value = values.and_then(|values| values.into_iter().next());
            // A number or nothing that could be read: only settings that take any value.
            is_harmless_setting(&set.name, Some(value.as_deref().unwrap_or("?")))
        }
        Ok(VariableSetKind::VarSetMulti) => {
            set.name.starts_with("TRANSACTION") || set.name.starts_with("SESSION CHARACTERISTICS")
        }
        _ => is_harmless_setting(&set.name, Some("?")),
    }
}

/// Whether `set_config` is called with constants, and a `SET` of them may be done.
pub(super) fn is_harmless_call(call: &FuncCall) -> bool {
    let [name, value, _] = call.args.as_slice() else {
        return false;
    };
    match (constant_text(name), constant_text(value)) {
        (Some(name), Some(value)) => is_harmless_setting(&name, Some(&value)),
        // pg_dump sets what it finds in pg_settings, to a value that no other setting takes.
        (None, Some(value)) => value == "view, foreign-table",
        _ => false,
    }
}

/// Whether a harmless call of `set_config` changes how names are read.
pub(super) fn moves_names(call: &FuncCall) -> bool {
    call.args
        .first()
        .and_then(constant_text)
        .is_some_and(|name| session::moves_names(&name))
}

const DENIED: &[&str] = &[
    "allow_in_place_tablespaces",
    "allow_system_table_mods",
    "application_name_log",
    "backslash_quote",
    "backtrace_functions",
    "data_sync_retry",
    "dynamic_library_path",
    "extension_control_path",
    "ignore_system_indexes",
    "jit_dump_bitcode",
    "lo_compat_privileges",
    "local_preload_libraries",
    "role",
    "session_authorization",
    "session_preload_libraries",
    "session_replication_role",
    "transform_null_equals",
    "zero_damaged_pages",
];

const DENIED_PREFIXES: &[&str] = &[
    "auto_explain.",
    "debug_",
    "dblink",
    "log_",
    "pg_stat_statements.",
    "pgaudit.",
    "plpgsql.",
    "shared_",
    "trace_",
    "track_",
    "wal_",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_changes_reading_or_showing_is_not_harmless() {
        for (name, value) in [
            ("standard_conforming_strings", "off"),
            ("client_min_messages", "log"),
            ("client_min_messages", "debug5"),
            ("client_encoding", "GBK"),
            ("client_encoding", "SHIFT_JIS_2004"),
            ("log_statement", "all"),
            ("debug_print_plan", "on"),
            ("session_replication_role", "replica"),
            ("Role", "postgres"),
        ] {
            assert!(!is_harmless_setting(name, Some(value)), "{name} = {value}");
        }
        for (name, value) in [
            ("search_path", "app"),
            ("client_encoding", "UTF8"),
            ("client_min_messages", "warning"),
            ("statement_timeout", "0"),
            ("datestyle", "ISO"),
            ("application_name", "psql"),
            ("extra_float_digits", "3"),
            ("jit", "off"),
            ("standard_conforming_strings", "on"),
        ] {
            assert!(is_harmless_setting(name, Some(value)), "{name} = {value}");
        }
    }
}
