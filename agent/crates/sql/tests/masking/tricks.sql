select ssn from customers

select u from v2

select format('%s', ssn), substr(ssn, 1, 6), reverse(ssn), split_part(ssn, '-', 3), encode(ssn::bytea, 'hex'), ssn::varchar, md5(ssn) from customers

select string_to_table(ssn, '-') from customers

create domain app.d as text
select ssn::app.d from customers

select case when id > 0 then ssn end, coalesce(ssn), jsonb_build_object('a', ssn) from customers

select fs(1)

select app.fs(id) from customers

select (fset()).ssn

select (fset()).*

select * from fset()

select frc()
fetch all rc

select helper()

select viafs()

select ssn from vf

begin
declare k cursor for select upper(ssn) from customers
fetch all k
commit

do $$begin raise notice '%', (select ssn from app.customers limit 1); end$$

create procedure app.pr(inout x text) language plpgsql as $$begin select ssn into x from app.customers limit 1; end$$
call app.pr(null)

select ssn::date from customers

select ssn::regclass from customers

select current_setting(ssn) from customers

select convert_from(ssn::bytea, ssn) from customers

create temp table z (s text unique); insert into z values ('a'); insert into z select ssn from customers; insert into z select ssn from customers

alter table customers add check (salary > 5)

create temp table pp (s text) partition by list (s); insert into pp select ssn from customers

select 1 / (case when ssn like '111%' then 0 else 1 end) from customers

alter table customers add column b text; update customers set b = ssn
alter table customers alter b type int using b::int

copy (select id, ssn from customers) to stdout

copy customers(ssn) to stdout (format csv, force_quote *)

copy customers to program 'cat > /dev/null'

copy customers to '/tmp/weir-sql-loot'

create temp table l (x text); copy l from program 'echo 1'

insert into notes (note) select ssn from customers
select note from notes

update customers set name = ssn where id = 1 returning name

update customers set name = (select c.ssn from customers c where c.id = 1) where id = 1 returning name

insert into notes (note, n) select ssn, 1 from customers limit 1 on conflict (n) do update set note = excluded.note returning note

insert into customers (id, ssn) values (1, 'x') on conflict (id) do update set name = customers.ssn returning name

insert into customers (id, ssn) values (77, 'x') on conflict (ssn) do nothing

create temp table t1 as select ssn from customers
select ssn from t1

create table keep as select ssn from customers

select ssn into keep2 from customers

prepare pe as select ssn from customers
create temp table t3 as execute pe
select * from t3

prepare pf as select ssn from customers
create table keep3 as execute pf

create temp view tv as select ssn s from customers
select s from tv

create view tv2 as select * from customers
select * from tv2

create materialized view tv3 as select ssn from customers

create function app.upper(text) returns text language sql as 'select ssn from app.customers limit 1'

create aggregate app.agg(text) (sfunc = textcat, stype = text, initcond = '')

create rule r as on update to notes do also select ssn from app.customers

alter table customers rename column ssn to zzz

alter schema app rename to app2

alter table customers set schema public

create temp table lk (like app.customers); insert into lk select * from app.customers
select ssn from lk

create table child () inherits (app.customers)

alter table events attach partition customers default

create table part partition of events default

create index on customers (upper(ssn))

create table probe (s text references customers (ssn))

select histogram_bounds, most_common_vals from pg_stats where tablename = 'customers'

select stavalues1::text from pg_statistic

create statistics app.st (mcv) on name, ssn from customers

explain analyze select 1 from customers where ssn like '111%'

select id from customers order by ssn, id

select g from generate_series(111, 112) g join customers on ssn like g || '%'

select 1 from generate_series(1, 200) limit (select ascii(ssn) from customers where id = 1)

select pg_sleep(case when ssn like '111%' then 0.01 else 0 end) from customers

create sequence app.sq; select setval('app.sq', (select ascii(left(ssn, 1)) from customers where id = 1))

select set_config('app.x', (select ssn from customers limit 1), false)
show app.x

select set_config('app.x', ssn, false) is null from customers where id = 1
select current_setting('app.x')

select query_to_xml('select ssn from app.customers', true, false, '')

select schema_to_xml('app', true, false, '')

select table_to_xml('app.customers', true, false, '')

select database_to_xml(true, false, '')

select ts_rewrite('a'::tsquery, 'select ''a''::tsquery, plainto_tsquery(ssn) from app.customers where id = 1')

select * from ts_stat('select to_tsvector(ssn) from app.customers')

create extension dblink

select pg_read_file('postgresql.conf')

select encode(pg_read_binary_file(pg_relation_filepath('app.customers')), 'escape')

select lo_from_bytea(0, ssn::bytea) from customers

select * from pg_largeobject

select data from pg_logical_slot_get_changes('s1', null, null)

select query from pg_stat_activity

select current_query()

select statement from pg_prepared_statements

select xmin = xmin, ctid is null, ssn from customers order by id

select ssn from customers for update

set standard_conforming_strings = off

update pg_settings set setting = 'off' where name = 'standard_conforming_strings'

select set_config('standard_conforming_strings', 'off', false)

select U&"s\0073n" || '' from U&"custom\0065rs"

select $t1$ ' $t1$, ssn || '' from customers --'

select 1 --	, ssn || '' from customers

create temp table customers (ssn text); insert into pg_temp.customers select ssn from app.customers
select ssn from customers

table customers

delete from customers returning upper(ssn)

delete from customers where ssn like '1%'

update customers set name = 'x' where ssn like '1%'

update customers set salary = salary + 1

set client_min_messages = log

set log_statement = 'all'

select json_object('a': ssn) from customers

select json_agg(customers) from customers

select xmlelement(name a, ssn) from customers

select numrange(null, length(ssn)) from customers

select get_byte(ssn::bytea, 0) from customers

select count(*) filter (where ssn like '1%') from customers

merge into notes n using customers c on n.note = c.ssn when matched then update set note = 'hit'

merge into customers c using notes n on c.id = n.id when matched and c.ssn like '1%' then update set name = 'hit'

delete from notes using customers where customers.ssn like '1%'

with x as (select ssn from customers), y as (insert into notes (note) select ssn from x returning note) select * from y

select ssn from pg_temp.customers

select * from customers c natural join (select 1 as id) x

select (select row_to_json(x) from (select c.*) x) from customers c

select c.row_to_json from customers c

select app.customers.to_jsonb from app.customers

select id from customers c where c.to_jsonb ->> 'ssn' like '1%'

update customers c set name = name returning c.to_json

select array(select c from customers c)::text

select count(*) from customers c1 join customers c2 on c1.ssn < c2.ssn

select * from v3

select count(*) from v3

select * from v4

update v set id = id where ssn like '1%'

update v3 set name = name

insert into v (id, ssn) values (500, 'x') returning ssn

select rank('111') within group (order by ssn) from customers

select percentile_disc(0.5) within group (order by ssn) from customers

select width_bucket(salary, 0, 1000, 10) from customers

select tags @> array['t1'], meta ? 'a', salary > 500 from customers

select * from jsonb_populate_record(null::app.customers, (select to_jsonb(c) from customers c limit 1))

select unnest(tags) from customers

select * from customers tablesample bernoulli (100 - (select length(ssn) from customers limit 1))

select staff.ssn from staff

select * from only people

select * from events_1

copy events_1 to stdout

set role postgres

set session authorization postgres

load 'auto_explain'

grant select on customers to public

lock table customers

notify x, 'constant'

select "S S" from "Weird Name"

select pg_catalog.upper(ssn) from app.customers

select operator_leak.ssn from (select ssn from customers) operator_leak

values ((select ssn from customers limit 1))

select ssn from customers union select '1' order by 1 limit 1

select distinct on (ssn) id from customers order by ssn, id

select max(ssn) over (), lead(ssn) over (order by ssn) from customers

with recursive r as (select min(ssn) s from customers union select (select min(ssn) from customers where ssn > r.s) from r where r.s is not null) select * from r

select * from generate_series(1, (select ascii(ssn) from customers where id = 1))

select to_tsvector(ssn) from customers

select ssn like '1%', ssn ~ '^1', ssn = '111-22-3333', ssn in ('a'), ssn is null, ssn between '1' and '2' from customers

select id from customers group by id having min(ssn) > '5' order by id

select exists (select 1 from customers where ssn = '919-22-0031')

select 1 where '919-22-0031' in (select ssn from customers)

select * from customers where ssn > (select 'a') order by id

select nullif(ssn, '919-22-0031') from customers

execute nothing

reindex table customers

cluster customers using customers_pkey

analyze customers

select count(*) from mv

refresh materialized view mv

select via_view()

select atomic(1)

select 'x' +% 1

select 'x' operator(app.+%) 2

select initcap(1)

select note from notes order by plus(note, 1)

create table d1 (a text default app.fs(1)); insert into d1 default values; select * from d1

create index on notes (plus(note, 1))

create table d2 (a text, b text generated always as (app.initcap(1)) stored)

insert into notes (note) values (app.fs(1)) returning note

update notes set note = atomic(1) returning note

select * from notes where note = any (array(select fs(id) from orders))

select count(*) from generate_series(1, 3) g where fs(g) like '1%'

prepare px as select fs($1)

explain analyze select fs(1)

declare kc cursor for select * from fset()

copy (select fs(1)) to stdout
