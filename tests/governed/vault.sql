-- A secret, and rows that wait to be deleted.
CREATE TABLE bait (id int);
CREATE TABLE vault (id int, secret text, kind text);
