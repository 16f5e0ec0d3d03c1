-- Run on a copy of the database that PostgreSQL's regression suite leaves behind. What is masked gets other values of the
-- same width, row by row in place, so that nothing else of the two copies differs: not the order of rows, no size, no plan.
-- With :other false every value is written over with itself.
\set QUIET on
CREATE FUNCTION pg_temp.turned(t text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$SELECT translate(t, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789', 'bcdefghijklmnopqrstuvwxyzaBCDEFGHIJKLMNOPQRSTUVWXYZA1234567890')$$;
UPDATE tenk1 SET unique1 = CASE WHEN :other THEN 9999 - unique1 ELSE unique1 END, hundred = CASE WHEN :other THEN 99 - hundred ELSE hundred END,
    unique2 = CASE WHEN :other THEN 9999 - unique2 ELSE unique2 END, four = CASE WHEN :other THEN 3 - four ELSE four END,
    stringu1 = CASE WHEN :other THEN pg_temp.turned(stringu1::text)::name ELSE stringu1 END;
UPDATE onek SET unique1 = CASE WHEN :other THEN 999 - unique1 ELSE unique1 END, ten = CASE WHEN :other THEN 9 - ten ELSE ten END, stringu2 = CASE WHEN :other THEN pg_temp.turned(stringu2::text)::name ELSE stringu2 END;
UPDATE int4_tbl SET f1 = CASE WHEN :other THEN f1 # 5 ELSE f1 END;
UPDATE int8_tbl SET q2 = CASE WHEN :other THEN q2 # 6 ELSE q2 END;
UPDATE text_tbl SET f1 = CASE WHEN :other THEN pg_temp.turned(f1) ELSE f1 END;
UPDATE varchar_tbl SET f1 = CASE WHEN :other THEN pg_temp.turned(f1::text) ELSE f1 END;
UPDATE char_tbl SET f1 = CASE WHEN :other THEN pg_temp.turned(f1::text) ELSE f1 END;
UPDATE float8_tbl SET f1 = CASE WHEN :other THEN -f1 ELSE f1 END;
UPDATE date_tbl SET f1 = CASE WHEN :other AND isfinite(f1) THEN f1 + 3 ELSE f1 END;
UPDATE timestamp_tbl SET d1 = CASE WHEN :other AND isfinite(d1) AND d1 < '9999-01-01' THEN d1 + interval '77 hours' ELSE d1 END;
UPDATE interval_tbl SET f1 = CASE WHEN :other THEN f1 + interval '1 day' ELSE f1 END;
UPDATE inet_tbl SET i = CASE WHEN :other THEN i + 1 ELSE i END;
UPDATE emp SET salary = CASE WHEN :other THEN salary + 111 ELSE salary END;
UPDATE person SET age = CASE WHEN :other THEN 99 - age ELSE age END;
UPDATE aggtest SET b = CASE WHEN :other THEN b + 1 ELSE b END;
UPDATE int2_tbl SET f1 = CASE WHEN :other THEN f1 # 3::int2 ELSE f1 END;
UPDATE float4_tbl SET f1 = CASE WHEN :other THEN -f1 ELSE f1 END;
UPDATE time_tbl SET f1 = CASE WHEN :other THEN f1 + interval '3 hours' ELSE f1 END;
UPDATE timestamptz_tbl SET d1 = CASE WHEN :other AND isfinite(d1) AND d1 < '9999-01-01' THEN d1 + interval '77 hours' ELSE d1 END;
UPDATE num_data SET val = CASE WHEN :other THEN -val ELSE val END;
UPDATE point_tbl SET f1 = CASE WHEN :other THEN f1 + point '(1,2)' ELSE f1 END;
UPDATE box_tbl SET f1 = CASE WHEN :other THEN f1 + point '(1,2)' ELSE f1 END;
UPDATE array_op_test SET i = CASE WHEN :other THEN ARRAY(SELECT 101 - x FROM unnest(i) x) ELSE i END, t = CASE WHEN :other THEN ARRAY(SELECT pg_temp.turned(x) FROM unnest(t) x) ELSE t END;
UPDATE road SET name = CASE WHEN :other THEN pg_temp.turned(name) ELSE name END;
UPDATE student SET gpa = CASE WHEN :other THEN gpa + 1 ELSE gpa END;
UPDATE a SET aa = CASE WHEN :other THEN aa # 9 ELSE aa END;
UPDATE testjsonb SET j = CASE WHEN :other THEN pg_temp.turned(j::text)::jsonb ELSE j END WHERE j::text !~ '[tfn\\0-9]';
VACUUM FULL tenk1, onek, int4_tbl, int8_tbl, text_tbl, varchar_tbl, char_tbl, float8_tbl, date_tbl, timestamp_tbl, interval_tbl, inet_tbl, emp, person, aggtest, int2_tbl, float4_tbl, time_tbl, timestamptz_tbl, num_data, point_tbl, box_tbl, array_op_test, road, student, a, testjsonb;
ANALYZE tenk1, onek, int4_tbl, int8_tbl, text_tbl, varchar_tbl, char_tbl, float8_tbl, date_tbl, timestamp_tbl, interval_tbl, inet_tbl, emp, person, aggtest, int2_tbl, float4_tbl, time_tbl, timestamptz_tbl, num_data, point_tbl, box_tbl, array_op_test, road, student, a, testjsonb;
