//! The one SQL text, as SQLite takes it: `$1` becomes `?1`, and `BIGINT` becomes `INTEGER`.
//!
//! To SQLite `$2` is a *name*, numbered by its first appearance: bound as it stands, `SET a = $2 WHERE b = $1` would
//! swap the two values and report success. `?2` is the second parameter wherever it stands. And STRICT tables know
//! no `BIGINT`; SQLite's `INTEGER` has 64 bits.

/// Rewrites placeholders and type names outside literals, quoted names and comments; all else stays as it is.
pub(crate) fn to_sqlite(sql: &str) -> String {
    let mut out = String::with_capacity(sql.len());
    let mut rest = sql;
    while !rest.is_empty() {
        let (token, tail) = rest.split_at_checked(token_length(rest)).unwrap_or((rest, ""));
        match token.strip_prefix('$') {
            Some(number) if number.starts_with(|first: char| first.is_ascii_digit()) => {
                out.push('?');
                out.push_str(number);
            }
            _ if token.eq_ignore_ascii_case("BIGINT") => out.push_str("INTEGER"),
            _ => out.push_str(token),
        }
        rest = tail;
    }
    out
}

/// The length of the token with which `sql` starts: a literal, a quoted name, a comment, a word (SQLite allows `$`
/// in names), or a single character. A literal that is not closed reaches to the end; SQLite will refuse it.
fn token_length(sql: &str) -> usize {
    // A doubled quote reads as two literals side by side, which comes to the same.
    const DELIMITERS: [(&str, &str); 6] =
        [("'", "'"), ("\"", "\""), ("`", "`"), ("[", "]"), ("--", "\n"), ("/*", "*/")];
    for (open, close) in DELIMITERS {
        if let Some(body) = sql.strip_prefix(open) {
            return body.find(close).map_or(sql.len(), |at| open.len() + at + close.len());
        }
    }
    let is_word = |character: char| character.is_alphanumeric() || matches!(character, '_' | '$');
    match sql.find(|character| !is_word(character)) {
        Some(0) => sql.chars().next().map_or(0, char::len_utf8),
        Some(length) => length,
        None => sql.len(),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use rusqlite::Connection;

    use super::to_sqlite;

    #[test]
    fn only_placeholders_and_type_names_change() {
        for (sql, expected) in [
            ("SELECT $1, $12", "SELECT ?1, ?12"),
            ("SELECT '$1', \"$1\", `$1`, [$1]", "SELECT '$1', \"$1\", `$1`, [$1]"),
            ("SELECT 'it''s $1' || $1", "SELECT 'it''s $1' || ?1"),
            ("SELECT x'00'||$1, a$1, $name", "SELECT x'00'||?1, a$1, $name"),
            ("SELECT $1 -- not $2\n, $2 /* nor $3 */", "SELECT ?1 -- not $2\n, ?2 /* nor $3 */"),
            ("SELECT($1)+$2*-$3", "SELECT(?1)+?2*-?3"),
            ("SELECT 'open $1", "SELECT 'open $1"),
            ("SELECT 'é', é$1, $1", "SELECT 'é', é$1, ?1"),
            ("CREATE TABLE t (a BIGINT, \"BIGINT\" bigint)", "CREATE TABLE t (a INTEGER, \"BIGINT\" INTEGER)"),
            ("SELECT a_bigint, 'BIGINT'", "SELECT a_bigint, 'BIGINT'"),
        ] {
            assert_eq!(to_sqlite(sql), expected);
        }
    }

    proptest! {
        /// Whatever the order and however often, `$n` is the n-th value, also between things that look like it.
        #[test]
        fn the_number_in_the_text_is_the_number_of_the_parameter(
            order in proptest::collection::vec(1_usize..=9, 1..24),
            noise in proptest::collection::vec(
                prop::sample::select(vec!["", "'$1'||", "/* $2 */", "x'24'||", "-- $3\n", "'a''$4'||"]), 24),
        ) {
            let columns: Vec<String> =
                order.iter().zip(&noise).map(|(number, noise)| format!("{noise}${number}")).collect();
            let literals = ["'$1'||", "x'24'||", "'a''$4'||"];
            let connection = Connection::open_in_memory().unwrap();
            let mut statement = connection.prepare(&to_sqlite(&format!("SELECT {}", columns.join(", ")))).unwrap();
            for number in 1..=statement.parameter_count() {
                statement.raw_bind_parameter(number, format!("<{number}>")).unwrap();
            }
            let mut rows = statement.raw_query();
            let row = rows.next().unwrap().unwrap();
            for (index, (number, noise)) in order.iter().zip(&noise).enumerate() {
                let found: String = row.get(index).unwrap();
                let wanted = format!("<{number}>");
                prop_assert!(found.ends_with(&wanted));
                prop_assert_eq!(found.starts_with('<'), !literals.contains(noise));
            }
        }

        /// No text makes the conversion fail or lose a character.
        #[test]
        fn any_text_keeps_its_length(sql in ".{0,200}") {
            prop_assert_eq!(to_sqlite(&sql).len(), sql.len());
        }
    }
}
