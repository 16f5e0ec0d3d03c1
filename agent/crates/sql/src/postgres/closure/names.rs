//! Names that are known: functions that only compute, relations of the server's own that show data.

/// Whether a glob with `*` matches a whole name.
pub(super) fn matches(glob: &str, name: &str) -> bool {
    let Some((first, rest)) = glob.split_once('*') else {
        return glob == name;
    };
    let Some(mut left) = name.strip_prefix(first) else {
        return false;
    };
    let mut pieces: Vec<&str> = rest.split('*').collect();
    let last = pieces.pop().unwrap_or_default();
    for piece in pieces {
        match left.find(piece) {
            Some(at) => left = left.get(at + piece.len()..).unwrap_or_default(),
            None => return false,
        }
    }
    left.ends_with(last)
}

/// Whether a relation shows data of other relations, statements of other sessions, or secrets.
pub(super) fn tells_of_data(schema: &str, name: &str) -> bool {
    if schema == "pg_toast" || schema.starts_with("pg_toast_temp") {
        return true;
    }
    // Whatever the schema: extensions have theirs where they were installed.
    let Some(rest) = name.strip_prefix("pg_") else {
        return false;
    };
    if rest.starts_with("stat") {
        return !COUNTERS.contains(&name);
    }
    SHOWING.contains(&name)
}

/// Whether a function of that name is one of PostGIS's that only compute.
pub(super) fn is_spatial(name: &str) -> bool {
    (name.starts_with("st_") || name.starts_with("_st_"))
        && !name.contains("estimatedextent")
        && !name.contains("findextent")
}

/// Counters of work, and definitions.
const COUNTERS: &[&str] = &[
    "pg_stat_all_indexes",
    "pg_stat_all_tables",
    "pg_stat_archiver",
    "pg_stat_bgwriter",
    "pg_stat_checkpointer",
    "pg_stat_database",
    "pg_stat_database_conflicts",
    "pg_stat_gssapi",
    "pg_stat_io",
    "pg_stat_ssl",
    "pg_stat_sys_indexes",
    "pg_stat_sys_tables",
    "pg_stat_user_functions",
    "pg_stat_user_indexes",
    "pg_stat_user_tables",
    "pg_stat_wal",
    "pg_stat_xact_all_tables",
    "pg_stat_xact_user_tables",
    "pg_statio_all_indexes",
    "pg_statio_all_sequences",
    "pg_statio_all_tables",
    "pg_statio_user_indexes",
    "pg_statio_user_sequences",
    "pg_statio_user_tables",
    // What is counted, not what was counted.
    "pg_statistic_ext",
];

const SHOWING: &[&str] = &[
    "pg_authid",
    "pg_buffercache",
    "pg_cursors",
    "pg_file_settings",
    "pg_hba_file_rules",
    "pg_ident_file_mappings",
    "pg_largeobject",
    "pg_prepared_statements",
    "pg_prepared_xacts",
    "pg_replication_slots",
    "pg_shadow",
    "pg_user_mapping",
];

/// Harmless as values, but not here: the statement with its masks, and time.
pub(super) const DENIED: &[&str] = &[
    "current_query",
    "pg_sleep",
    "pg_sleep_for",
    "pg_sleep_until",
];

/// Built-in functions that compute or describe, beside those that are values anywhere.
pub(super) const HARMLESS: &[&str] = &[
    "array_reverse",
    "array_sort",
    "arraycontained",
    "arraycontains",
    "arrayoverlap",
    "bit",
    "bool",
    "bpchar",
    "bytea",
    "char",
    "cidr",
    "date",
    "dexp",
    "dlog1",
    "dlog10",
    "dround",
    "dtrunc",
    "float4",
    "float8",
    "getdatabaseencoding",
    "getpgusername",
    "grouping",
    "has_largeobject_privilege",
    "has_parameter_privilege",
    "hash_array",
    "hashint4",
    "hashint8",
    "hashtext",
    "hashtextextended",
    "int2",
    "int4",
    "int4range",
    "int8",
    "interval",
    "ishorizontal",
    "isparallel",
    "isperp",
    "isvertical",
    "json_agg_strict",
    "json_array",
    "json_object",
    "json_object_agg_strict",
    "json_object_agg_unique",
    "json_object_agg_unique_strict",
    "json_scalar",
    "json_to_tsvector",
    "jsonb_agg_strict",
    "jsonb_contained",
    "jsonb_contains",
    "jsonb_exists",
    "jsonb_exists_all",
    "jsonb_exists_any",
    "jsonb_object_agg_strict",
    "jsonb_object_agg_unique",
    "jsonb_object_agg_unique_strict",
    "jsonb_path_exists_tz",
    "jsonb_path_match_tz",
    "jsonb_path_query_array_tz",
    "jsonb_path_query_first_tz",
    "jsonb_path_query_tz",
    "jsonb_to_tsvector",
    "like",
    "macaddr",
    "macaddr8",
    "money",
    "mxid_age",
    "name",
    "netmask",
    "notlike",
    "numeric",
    "numeric_div_trunc",
    "numeric_exp",
    "numeric_ln",
    "numeric_log",
    "numeric_sqrt",
    "oid",
    "oidvectortypes",
    "pg_available_extension_versions",
    "pg_available_extensions",
    "pg_basetype",
    "pg_blocking_pids",
    "pg_char_to_encoding",
    "pg_collation_actual_version",
    "pg_collation_for",
    "pg_column_is_updatable",
    "pg_current_snapshot",
    "pg_current_xact_id_if_assigned",
    "pg_database_collation_actual_version",
    "pg_encoding_max_length",
    "pg_export_snapshot",
    "pg_extension_update_paths",
    "pg_get_acl",
    "pg_get_function_arg_default",
    "pg_get_function_sqlbody",
    "pg_get_object_address",
    "pg_get_publication_tables",
    "pg_get_replica_identity_index",
    "pg_get_ruledef",
    "pg_get_sequence_data",
    "pg_get_statisticsobjdef_columns",
    "pg_get_statisticsobjdef_expressions",
    "pg_identify_object_as_address",
    "pg_index_has_property",
    "pg_indexam_has_property",
    "pg_indexam_progress_phasename",
    "pg_input_error_info",
    "pg_input_is_valid",
    "pg_is_wal_replay_paused",
    "pg_jit_available",
    "pg_listening_channels",
    "pg_lock_status",
    "pg_lsn",
    "pg_notification_queue_usage",
    "pg_notify",
    "pg_relation_filenode",
    "pg_relation_is_updatable",
    "pg_safe_snapshot_blocking_pids",
    "pg_sequence_last_value",
    "pg_settings_get_flags",
    "pg_show_all_settings",
    "pg_snapshot_xip",
    "pg_snapshot_xmax",
    "pg_snapshot_xmin",
    "pg_stat_get_dead_tuples",
    "pg_stat_get_last_analyze_time",
    "pg_stat_get_last_autoanalyze_time",
    "pg_stat_get_last_autovacuum_time",
    "pg_stat_get_last_vacuum_time",
    "pg_stat_get_live_tuples",
    "pg_tablespace_databases",
    "pg_tablespace_location",
    "pg_timezone_abbrevs",
    "pg_timezone_names",
    "pg_visible_in_snapshot",
    "pg_wal_lsn_diff",
    "pg_xact_commit_timestamp",
    "pg_xact_status",
    "pow",
    "querytree",
    "regclass",
    "regnamespace",
    "regproc",
    "regprocedure",
    "regrole",
    "regtype",
    "row_security_active",
    "setval",
    "similar_to_escape",
    "textcat",
    "texteq",
    "textlen",
    "time",
    "timestamp",
    "timestamptz",
    "timetz",
    "ts_debug",
    "ts_parse",
    "ts_token_type",
    "txid_current_snapshot",
    "txid_snapshot_xip",
    "txid_snapshot_xmax",
    "txid_snapshot_xmin",
    "txid_status",
    "txid_visible_in_snapshot",
    "uuid",
    "varbit",
    "varchar",
    "xid",
    "xml",
    "xmlconcat",
    "xmlvalidate",
];

/// Functions of well-known extensions that only compute.
pub(super) const EXTENSIONS: &[&str] = &[
    "akeys",
    "armor",
    "array_to_halfvec",
    "array_to_sparsevec",
    "array_to_vector",
    "avals",
    "binary_quantize",
    "bit_to_vector",
    "box2d",
    "box3d",
    "citext",
    "citext_eq",
    "citextin",
    "cosine_distance",
    "crypt",
    "cube",
    "cube_dim",
    "cube_distance",
    "cube_ll_coord",
    "cube_ur_coord",
    "daitch_mokotoff",
    "dearmor",
    "decrypt",
    "decrypt_iv",
    "defined",
    "delete",
    "difference",
    "digest",
    "dmetaphone",
    "dmetaphone_alt",
    "each",
    "earth_distance",
    "encrypt",
    "encrypt_iv",
    "exist",
    "gen_random_bytes",
    "gen_random_uuid",
    "gen_salt",
    "geography",
    "geometry",
    "halfvec",
    "halfvec_to_vector",
    "hamming_distance",
    "hmac",
    "hs_concat",
    "hs_contains",
    "hstore",
    "hstore_to_array",
    "hstore_to_json",
    "hstore_to_json_loose",
    "hstore_to_jsonb",
    "hstore_to_jsonb_loose",
    "hstore_to_matrix",
    "icount",
    "idx",
    "index",
    "inner_product",
    "intset",
    "jaccard_distance",
    "l1_distance",
    "l2_distance",
    "l2_norm",
    "l2_normalize",
    "lca",
    "levenshtein",
    "levenshtein_less_equal",
    "ltree",
    "ltree2text",
    "metaphone",
    "negative_inner_product",
    "nlevel",
    "normal_rand",
    "pgp_pub_decrypt",
    "pgp_pub_encrypt",
    "pgp_sym_decrypt",
    "pgp_sym_decrypt_bytea",
    "pgp_sym_encrypt",
    "pgp_sym_encrypt_bytea",
    "populate_record",
    "show_limit",
    "show_trgm",
    "similarity",
    "similarity_op",
    "skeys",
    "slice",
    "slice_array",
    "sort",
    "sort_asc",
    "sort_desc",
    "soundex",
    "sparsevec",
    "strict_word_similarity",
    "subarray",
    "subltree",
    "subpath",
    "subvector",
    "svals",
    "text2ltree",
    "text_soundex",
    "texticlike",
    "textictle",
    "unaccent",
    "unaccent_lexize",
    "uniq",
    "uuid_generate_v1",
    "uuid_generate_v1mc",
    "uuid_generate_v3",
    "uuid_generate_v4",
    "uuid_generate_v5",
    "uuid_nil",
    "uuid_ns_dns",
    "uuid_ns_oid",
    "uuid_ns_url",
    "uuid_ns_x500",
    "vector",
    "vector_avg",
    "vector_dims",
    "vector_norm",
    "vector_to_float4",
    "vector_to_halfvec",
    "vector_to_sparsevec",
    "word_similarity",
];

/// Extensions whose compiled functions compute with their arguments and read nothing else; sorted.
pub(super) const TYPES_ONLY: &[&str] = &[
    "bloom",
    "btree_gin",
    "btree_gist",
    "citext",
    "cube",
    "earthdistance",
    "fuzzystrmatch",
    "hstore",
    "intarray",
    "isn",
    "ltree",
    "pg_trgm",
    "pgcrypto",
    "seg",
    "unaccent",
    "uuid-ossp",
    "vector",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_are_sorted_so_that_they_can_be_searched() {
        assert!(HARMLESS.is_sorted());
        assert!(EXTENSIONS.is_sorted());
        assert!(TYPES_ONLY.is_sorted());
    }

    #[test]
    fn globs_match_whole_names() {
        for (glob, name, expected) in [
            ("app.f", "app.f", true),
            ("app.*", "app.f", true),
            ("*.f", "app.f", true),
            ("app.f", "app.f2", false),
            ("a*.f*", "app.fine", true),
            ("a*x*", "app.f", false),
            ("*", "app.f", true),
        ] {
            assert_eq!(matches(glob, name), expected, "{glob} {name}");
        }
    }

    #[test]
    fn statistics_and_statements_of_others_show_data() {
        for name in [
            "pg_stats",
            "pg_statistic",
            "pg_stat_activity",
            "pg_stat_statements",
            "pg_statistic_ext_data",
            "pg_stats_ext",
        ] {
            assert!(tells_of_data("", name), "{name}");
        }
        for name in [
            "pg_stat_user_tables",
            "pg_class",
            "pg_statistic_ext",
            "customers",
            "pg_roles",
            "pg_settings",
        ] {
            assert!(!tells_of_data("", name), "{name}");
        }
    }
}
