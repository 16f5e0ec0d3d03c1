-- What classes the data had that a statement uses: of each column, and of each relation that has one as a whole.
CREATE TABLE statement_classes (
    statement  INTEGER NOT NULL REFERENCES statement_records (id),
    name       TEXT NOT NULL,
    class      TEXT NOT NULL,
    PRIMARY KEY (statement, name, class)
) WITHOUT ROWID;

-- Which statement uses data of which class; a class is there with all that it is part of.
CREATE VIEW classes AS
SELECT statement, name, class FROM statement_classes;
