\set ON_ERROR_STOP off
\pset pager off
\echo statements
select 1 as one, 'zwei ü' as two, null as three;
select i, i * i from generate_series(1, 5) i \gset last_ 
select 6 * 7 as answer \gset
\echo :answer
\echo meta commands
\d customers
\dt
\dv
\di
\df nothing_here*
\l shop
\dn
\conninfo
\echo errors
select 1/0;
selec;
\errverbose
\echo transactions
begin;
create temp table in_psql (a int primary key, b text);
insert into in_psql values (1, 'a'), (2, 'b') returning *;
savepoint s;
insert into in_psql values (1, 'again');
rollback to s;
commit;
\set ON_ERROR_ROLLBACK on
begin;
insert into in_psql values (1, 'again');
insert into in_psql values (3, 'c');
commit;
select * from in_psql order by a;
\echo copy
\copy in_psql from program 'printf "4\tvier\n5\tfünf\n"'
\copy (select * from in_psql order by a) to stdout
copy in_psql from stdin;
6	sechs
7	sieben
\.
copy in_psql to stdout with (format csv, header);
\echo cursors
\set FETCH_COUNT 2
select * from in_psql order by a;
\unset FETCH_COUNT
begin;
declare c cursor for select a from in_psql order by a;
fetch 2 from c;
move 1 in c;
fetch all from c;
commit;
\echo several results
select 1 \; select 2 \; select 3;
\gdesc
select a, b from in_psql \gdesc
select format('select %s as generated', g) from generate_series(1, 2) g \gexec
\crosstabview
\echo encodings
\encoding latin1
select 'x' || chr(228);
\encoding utf8
\echo watch and reconnect
\c
select current_database(), current_user;
\c postgres
select current_database();
\c shop
prepare p (int) as select $1 * 2 as doubled;
execute p (21);
deallocate p;
listen here;
notify here, 'payload';
select 'asked' as last;
explain (costs off) select * from orders where id = 1;
show standard_conforming_strings;
set standard_conforming_strings = off;
select 'back\\slash';
reset all;
discard all;
\echo large objects, by the fast path
\set QUIET on
\lo_import '/etc/passwd'
select length(lo_get(:LASTOID)) > 100 as imported;
\lo_export :LASTOID '/dev/null'
\lo_unlink :LASTOID
\set QUIET off
\timing off
\q
