-- Which columns a statement uses, where the catalog was known, and what its answer showed of them.
CREATE TABLE statement_columns (
    statement  INTEGER NOT NULL REFERENCES statement_records (id),
    column     TEXT NOT NULL,
    usage      TEXT NOT NULL,
    mask       TEXT NOT NULL,
    PRIMARY KEY (statement, column, usage)
) WITHOUT ROWID;

-- Which statement uses which column: output, predicate, join or write; `mask` is empty where values were shown as they are.
CREATE VIEW columns AS
SELECT statement, column, usage, mask FROM statement_columns;
