select ssn from customers order by id

select * from customers order by id

select c.* from customers c order by c.id

select c.*, o.total from customers c join orders o on o.customer_id = c.id order by c.id, o.id

select customers.ssn, customers.id from customers order by customers.id

select app.customers.ssn from app.customers order by app.customers.id

select app.customers.* from app.customers order by app.customers.id

select id from customers where ssn = '***' order by id

select id from customers where ssn like '1%' order by id

select count(*), count(ssn), count(distinct ssn), min(ssn), max(salary), sum(salary), avg(salary) from customers

select length(ssn), reverse(ssn), substr(ssn,1,2), md5(ssn) from customers order by id

select format('%s', ssn), ssn || 'x', ssn::varchar(5), ssn::bytea from customers order by id

select case when id > 3 then ssn end, coalesce(ssn, 'z'), nullif(ssn, 'a'), greatest(ssn, 'a') from customers order by id

select string_agg(ssn, ',' order by id), array_agg(ssn order by id), json_agg(ssn order by id), jsonb_object_agg(id, ssn) from customers

select row_to_json(c) from customers c order by id

select to_jsonb(c) from customers c order by id

select to_jsonb(customers) from customers order by id

select c from customers c order by id

select c::text from customers c order by id

select (c).ssn, (c).id from customers c order by (c).id

select (c.*).ssn from customers c order by c.id

select ssn(c) from customers c order by id

select first_value(ssn) over (order by id), lag(ssn) over (order by id), row_number() over (partition by ssn order by id) from customers order by id

select ssn from customers union all select 'x' order by 1

select ssn from customers except select 'q'

select ssn from customers intersect select '***'

select (select ssn from customers where id = o.customer_id) from orders o order by o.id

select array(select ssn from customers order by id)

select unnest(array_agg(ssn)) from customers

select id from orders o where exists (select 1 from customers c where c.id = o.customer_id and c.ssn = '***') order by id

select id from orders where customer_id in (select id from customers where salary = 0) order by id

select o.id, c.name from orders o left join customers c on c.id = o.customer_id and c.active order by o.id

select o.id, c.email from orders o right join customers c on c.id = o.customer_id order by 1, 2

select * from customers c join orders o using (id) order by id

select id, ssn, total from customers join orders using (id) order by id

select * from customers natural join orders order by id

select * from (customers c join orders o on o.customer_id = c.id) order by c.id, o.id

select j.ssn, j.total from (customers c join orders o using (id)) as j order by j.id

select * from (customers c join orders o on o.customer_id = c.id) as j(a, b, c1, d) order by 1, 13

select x.a, x.d from customers as x(a, b, c, d) order by x.a

select * from customers as x(a, b, c, d) order by a

with c as (select id, ssn from customers) select * from c order by id

with customers as (select 1 as id, 'mine' as ssn) select * from customers

with customers as (select * from customers) select id, ssn from customers order by id

with recursive t(n, s) as (select 1, (select ssn from customers where id = 1) union all select n + 1, s from t where n < 3) select * from t order by n

with a as materialized (select ssn from customers), b as (select ssn from a) select count(*), min(ssn) from b

with x as (select * from customers) select x.* from x order by id

table customers order by id

table only customers order by id

table app.customers order by id limit 3

(table customers) order by id

table customers union all table customers order by 1

select * from only customers order by id

select * from only (customers) order by id

select * from customers * order by id

select c.ssn from only customers as c order by c.id

select count(*) from customers tablesample bernoulli (100)

select ssn from customers tablesample bernoulli (100) repeatable (1) order by id

select c.ssn from customers c tablesample system (100) where c.id > 2 order by c.id

select s.ssn from customers as s tablesample bernoulli(100.0) order by id

select ssn from customers order by id for update

select c.ssn from customers c order by c.id for update of c

select c.ssn, o.id from customers c join orders o on o.customer_id = c.id order by o.id for share of c skip locked

select ssn from customers order by id for no key update nowait

select ssn from customers where id = 1 for update limit 1

select lat.s from orders o, lateral (select c.ssn as s from customers c where c.id = o.customer_id) lat order by o.id

select o.id, l.email from orders o left join lateral (select email from customers where id = o.customer_id limit 1) l on true order by o.id

select region, count(*), min(ssn) from customers group by region order by region

select ssn, count(*) from customers group by ssn

select id, ssn from customers group by id order by id

select c.id, c.name, count(o.id) from customers c left join orders o on o.customer_id = c.id group by c.id order by c.id

select c.id, c.name, c.ssn, count(o.id) from customers c left join orders o on o.customer_id = c.id group by c.id order by c.id

select c.*, count(o.id) from customers c left join orders o on o.customer_id = c.id group by c.id order by c.id

select c.id as cid, c.email, sum(o.total) from customers c join orders o on o.customer_id = c.id group by cid order by cid

select c.id, c.email, sum(o.total) from customers c join orders o on o.customer_id = c.id group by 1 order by 1

select id, email, sum(total) from customers join orders using (id) group by id order by id

select c.email, date_trunc('month', o.day) m, sum(o.total) from customers c join orders o on o.customer_id = c.id group by c.id, m order by c.id, m

select c.id, c.ssn, o.day, count(*) from customers c join orders o on o.customer_id = c.id group by (c.id), o.day having count(*) > 0 and c.ssn <> '' order by c.id, o.day

select c.id, c.email, region, count(*) from customers c join orders o on o.customer_id = c.id group by rollup (region), c.id order by 1, 2, 3

select region, active, count(*) from customers group by grouping sets ((region), (active), ()) order by 1, 2, 3

select distinct ssn from customers

select distinct on (region) region, id, ssn from customers order by region, id

select distinct on (ssn) ssn, name from customers order by ssn, id

select ssn, row_number() over w from customers window w as (order by id) order by id

select ctid, id, ssn from customers order by id

select ctid, * from customers order by id

select c.ctid, c.* from customers c order by c.id

select tableoid::regclass, ssn from customers order by id

select xmin = xmin, ssn from customers order by id

select ssn from v order by id

select * from v order by id

select u from v2 order by id

select * from v2 x order by x.id

select * from v3

select count(*) from v3

select * from v4 order by 1

select n from v4 order by 1

select * from v5 order by id

select * from v6 order by id

select v.ssn, o.total from v join orders o on o.id = v.id order by v.id

select w.a, w.b from v as w(a, b) order by 1

select * from v7 order by id

select name, orders from v7 where id < 4 order by id

select (x).s from (select v5 as x from v5) q order by (x).id

select * from mv order by 1

select ssn from people order by id

select ssn from only people order by id

select * from staff order by id

select tableoid::regclass, * from people order by id

select role, ssn from staff

select ssn, kind from events order by at

select * from events order by at

select * from events_1 order by at

select count(*), ssn from events_2 group by ssn

select "S S" from "Weird Name" order by "Id"

select * from app."Weird Name" order by "Id"

select "Weird Name"."S S", "select" from "Weird Name" order by 2

select w."S S" from "Weird Name" w order by w."Id"

select "Id", "S S" from "Weird Name" group by "Id" order by 1

select U&"s\0073n" from U&"custom\0065rs" order by id

select U&"s!0073n" uescape '!' from U&"custom!0065rs" uescape '!' order by id

select ssn from "customers" order by id

select SSN from CUSTOMERS order by ID

select/**/ssn/**/from/**/customers/**/order/**/by/**/id

select ssn -- why
from customers -- here
order by id

select ssn from customers--trailing

select ssn from customers"c"order by id

select 'a'
'b', ssn from customers order by id

select E'\'', ssn from customers order by id

select $t1$ ' $t1$, ssn from customers order by id

values ((select ssn from customers where id = 1)), ('x')

select * from (values ((select min(ssn) from customers))) v(a)

select x.s from (select xmlelement(name r, ssn) d, id from customers) t, xmltable('/r' passing d columns s text path '.') x order by id

select meta->>'ssn', meta->'a', jsonb_typeof(meta) from customers order by id

select k, v from customers, jsonb_each_text(jsonb_build_object('s', ssn)) as j(k, v) order by id

select t from customers, unnest(tags || 'z'::text) t order by id

select tags[1], array_length(tags, 1), 'u' = any(tags) from customers order by id

select born + 1, extract(year from born), age(born, born), to_char(born, 'YYYY') from customers order by id

select salary * 2, round(salary), salary between 1 and 5 from customers order by id

select mood, mood > 'calm', mood::text from customers order by id

select active, not active, bool_or(active) over () from customers order by id

select seen at time zone 'UTC', date_trunc('year', seen at time zone 'UTC') from customers order by id

select percentile_cont(0.5) within group (order by salary) from customers

select count(*) filter (where ssn like '1%') from customers

select corr(salary, id) is null from customers

select 1/(case when ssn like '1%' then 0 else 1 end) from customers order by id

select g from generate_series(100, 120) g join customers on ssn like g || '%'

select 1 from generate_series(1, 50) limit (select ascii(ssn) from customers where id = 1)

select ssn::date from customers

select ssn::int from customers

select max(c.ssn), o.customer_id from customers c, orders o where o.customer_id = c.id group by o.customer_id order by 2

select c1.ssn = c2.ssn from customers c1 cross join customers c2 where c1.id < c2.id and c2.id < 4 order by c1.id, c2.id

select count(*) from customers c1 join customers c2 on c1.ssn = c2.ssn

select count(*) from customers c1 join people p on p.ssn = c1.ssn

select name from customers where email in (select email from customers where id = 1) order by id

select name from customers where (ssn, id) > ('a', 3) order by id

select name from customers c where (c.ssn) is not null order by id

select id from customers where ssn ~ '^[0-9]' order by id

select id from customers where ssn collate "C" > 'z' order by id

select id, ssn from customers order by ssn desc, id

select id from customers order by salary, id offset 2 limit 3

select id from customers order by ssn, id fetch first 2 rows with ties

explain (costs off) select ssn from customers where id = 1

explain (costs off) select name from customers where id = 1

prepare p as select ssn from customers where id = $1; execute p(1); deallocate p

prepare q(int) as select id, ssn from customers where id > $1 order by id; execute q(9); deallocate q

declare k cursor for select upper(ssn) from customers order by id; fetch all k

declare k scroll cursor for select id, ssn from customers order by id; fetch last k; fetch prior k

copy customers to stdout

copy customers (id, ssn) to stdout

copy app.customers (ssn, id) to stdout with (format csv, header, force_quote *)

copy customers(name, id) to stdout

copy (select id, ssn from customers order by id) to stdout

copy "Weird Name" to stdout csv

copy people to stdout

copy (select * from v order by id) to stdout

copy events_1 to stdout

create temp table t1 as select id, ssn from customers; select * from t1 order by id

select id, ssn into temp t2 from customers; select * from t2 order by id

create temp table t3 (id int, s text); insert into t3 select id, ssn from customers; select * from t3 order by id

create temp table t4 as table customers; select * from t4 order by id

prepare pe as select ssn from customers; create temp table t5 as execute pe; select * from t5; deallocate pe

create temp table customers (ssn text); insert into pg_temp.customers select ssn from app.customers; select distinct ssn from customers

select name from customers order by id

select c.name, o.total from customers c join orders o on o.customer_id = c.id where c.region = 'north' order by o.id

select count(*) from customers

select * from orders order by id

select region, count(*) from customers group by region order by 1

insert into notes values (9, 'x', 9)

insert into notes (id, note) select id, name from customers where id < 3 returning *

update notes set note = 'z' where id = 1 returning *

update customers set name = 'new' where id = 1

update customers set name = upper(name) where region = 'north' and id < 6

delete from notes where id in (select id from customers where name = 'name 1')

delete from customers where id = 12

insert into customers (id, name, ssn) values (99, 'n', '9')

update orders o set note = c.name from customers c where c.id = o.customer_id and c.id = 2

insert into notes (id, note, n) values (5, 'a', 1) on conflict (n) do update set note = excluded.note

insert into customers (id, name, ssn) values (50, 'n', '***') returning id

insert into customers values (50, 'n', '***', '***', 0, '2000-01-01', '"***"', '{}', 'calm', false, 'x', '2000-01-01 00:00:00+00') returning *

update customers set name = 'new' where id = 1 returning ssn

update customers c set name = 'new' where c.id = 1 returning c.id, c.ssn || 'x' as y, upper(c.email), name

update customers set ssn = '***' where id = 1 returning id, ssn

delete from customers where id = 12 returning *

delete from customers c where c.id = 11 returning c.*

with d as (delete from customers where id = 10 returning id, ssn) select * from d

with u as (update customers set name = 'q' where id < 3 returning *) select id, ssn, name from u order by id

insert into notes as n (id, note, n) values (5, 'a', 1) on conflict (n) do update set note = n.note || excluded.note returning *

update notes set note = (select name from customers where id = 1) where id = 2 returning note

merge into notes n using (select id, name from customers) c on c.id = n.id when matched then update set note = c.name when not matched then insert values (c.id, c.name, c.id + 100); select * from notes order by id

update customers set name = 'y' from orders o where o.customer_id = customers.id and o.id = 1 returning customers.id, customers.ssn, o.total

set search_path = public, app; select ssn from customers order by id

create temp table tt (id int, s text); insert into tt select id, ssn from customers; update tt set s = s || 'x'; select * from tt order by id

with x as (select id, ssn from customers) select x.ssn, (select count(*) from x y where y.ssn = x.ssn) from x order by id

select * from v where id in (select id from v2 where u = '***') order by id

select s.id, s.u from (select id, u from v2) s where s.u is not null order by 1

select c.name, sum(o.total) over (partition by c.ssn order by o.id) from customers c join orders o on c.id = o.customer_id order by o.id

select coalesce(c.ssn, p.ssn) from customers c full join people p on p.id = c.id order by c.id, p.id

select clean(1), app.clean(2), twice(21)

select id, twice(id), app.twice(length(ssn)) from customers order by id

select relname from pg_class where relname = 'customers'

select column_name, data_type from information_schema.columns where table_name = 'customers' order by 1

create table fresh (id int primary key default 1, c int references customers (id), at timestamptz default now()); insert into fresh (id) values (3); select id, c from fresh order by id

create table fresh2 (id int, a text); create index on fresh2 (lower(a)); alter table fresh2 add column b int default 3; select * from fresh2 order by id

set search_path = 'app'; select ssn from customers order by id

select set_config('search_path', 'app', false); select ssn from customers order by id

set datestyle = 'ISO'; select born from customers order by id

show search_path

begin; savepoint a; select ssn from customers order by id; rollback to a; commit

select note_it('x')
