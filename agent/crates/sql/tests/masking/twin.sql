UPDATE app.customers SET email = '***', ssn = '***', salary = 0, born = '2000-01-01', meta = '"***"', tags = '{}', mood = 'calm', active = false, seen = '2000-01-01 00:00:00+00';
UPDATE app.people SET ssn = '***';
UPDATE app.events SET ssn = '***';
UPDATE app."Weird Name" SET "S S" = '***';
