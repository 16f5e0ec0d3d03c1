UPDATE app.customers SET email = 'z' || id || '@other.net', ssn = lpad((id * 4441 % 1000)::text, 3, '0') || '-99-' || lpad((id * 77 % 10000)::text, 4, '0'), salary = 5000 - id * 3.25, born = date '1999-09-09' - id * 77, meta = jsonb_build_object('b', -id), tags = ARRAY['q' || id, 'r', 's'], mood = (ARRAY['glad','cross','calm'])[1 + id % 3]::app.mood, active = id % 3 = 0, seen = timestamptz '2011-01-01 00:00:00+00' - id * interval '3 days';
UPDATE app.people SET ssn = 'other ' || id;
UPDATE app.events SET ssn = 'other ' || at;
UPDATE app."Weird Name" SET "S S" = 'something else' || "Id";
