-- Run on a copy of the shop. What is masked gets other values of the same width, row by row in place, so that nothing else
-- of two copies differs. With :other false every value is written over with itself.
CREATE FUNCTION pg_temp.turned(t text) RETURNS text LANGUAGE sql IMMUTABLE AS
    $$SELECT translate(t, 'abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789', 'bcdefghijklmnopqrstuvwxyzaBCDEFGHIJKLMNOPQRSTUVWXYZA1234567890')$$;
UPDATE customers SET email = CASE WHEN :other THEN pg_temp.turned(email) ELSE email END, phone = CASE WHEN :other THEN pg_temp.turned(phone) ELSE phone END,
    ssn = CASE WHEN :other THEN pg_temp.turned(ssn::text) ELSE ssn END, birth_date = CASE WHEN :other THEN birth_date + 5 ELSE birth_date END,
    address = CASE WHEN :other THEN jsonb_build_object('street', pg_temp.turned(address ->> 'street'), 'zip', pg_temp.turned(address ->> 'zip')) ELSE address END,
    credit = CASE WHEN :other THEN credit + 1 ELSE credit END;
UPDATE payments SET card_number = CASE WHEN :other THEN pg_temp.turned(card_number::text) ELSE card_number END, iban = CASE WHEN :other THEN pg_temp.turned(iban) ELSE iban END,
    receipt = CASE WHEN :other THEN md5(receipt::text)::uuid ELSE receipt END;
UPDATE hr.employees SET salary = CASE WHEN :other THEN salary + 1 ELSE salary END, national_id = CASE WHEN :other THEN national_id # 7 ELSE national_id END,
    hired_on = CASE WHEN :other THEN hired_on + 3 ELSE hired_on END, remote = CASE WHEN :other THEN NOT remote ELSE remote END,
    feeling = CASE WHEN :other THEN (CASE feeling WHEN 'calm' THEN 'glad' WHEN 'glad' THEN 'cross' ELSE 'calm' END)::mood ELSE feeling END;
UPDATE events SET source = CASE WHEN :other THEN source + 1 ELSE source END;
UPDATE parties SET contact = CASE WHEN :other THEN pg_temp.turned(contact) ELSE contact END;
UPDATE persons SET passport = CASE WHEN :other THEN pg_temp.turned(passport) ELSE passport END;
UPDATE documents SET scan = CASE WHEN :other THEN decode(md5(encode(scan, 'hex')), 'hex') ELSE scan END;
VACUUM FULL;
ANALYZE;
