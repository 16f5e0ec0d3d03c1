"""The rows of the two databases: alike but for the masked columns, whose values have the same lengths in both."""

COLUMNS = ["ssn", "code", "pin", "big", "pay", "rate", "born", "seen", "span", "key", "doc", "raw", "addr", "tags", "nums", "mood", "flag", "mail", "period"]
# Classified as they are named, so that the pack can be made from this list too.
MASKED = [f"app.people.{column}" for column in COLUMNS] + ["app.visits.ssn"]

PLAIN = [(1, "ann", 1), (2, "bob", 2), (3, "cyd", 1)]
SECRET = {
    "a": [
        {"ssn": "501-17-7001", "code": "CAAX17", "pin": "4101", "big": "71000000017", "pay": "5117.50", "rate": "1.1701", "born": "1961-02-17", "seen": "2011-03-17 05:06:17+00", "span": "17 days", "key": "a1a1a1a1-1717-4a1a-8a1a-a1a1a1a1a117", "doc": '{"s": "docA17", "n": 17}', "raw": "\\xa1a117", "addr": "10.17.17.17", "tags": "{tagA17,x}", "nums": "{1717,1}", "mood": "dull", "flag": "t", "mail": "a17@secret.example", "period": "[2011-01-17,2011-02-17)"},
        {"ssn": "602-28-7002", "code": "CABX28", "pin": "5202", "big": "72000000028", "pay": "6228.50", "rate": "2.2802", "born": "1972-03-28", "seen": "2012-04-28 06:07:28+00", "span": "28 days", "key": "b2b2b2b2-2828-4b2b-8b2b-b2b2b2b2b228", "doc": '{"s": "docA28", "n": 28}', "raw": "\\xb2b228", "addr": "10.28.28.28", "tags": "{tagA28,x}", "nums": "{2828,2}", "mood": "glad", "flag": "f", "mail": "b28@secret.example", "period": "[2012-01-28,2012-02-28)"},
        {"ssn": "703-39-7003", "code": "CACX39", "pin": "6303", "big": "73000000039", "pay": "7339.50", "rate": "3.3903", "born": "1983-04-09", "seen": "2013-05-09 07:08:39+00", "span": "39 days", "key": "c3c3c3c3-3939-4c3c-8c3c-c3c3c3c3c339", "doc": '{"s": "docA39", "n": 39}', "raw": "\\xc3c339", "addr": "10.39.39.39", "tags": "{tagA39,x}", "nums": "{3939,3}", "mood": "mild", "flag": "t", "mail": "c39@secret.example", "period": "[2013-01-09,2013-02-09)"},
    ],
    "b": [
        {"ssn": "894-46-9994", "code": "CZZX46", "pin": "9404", "big": "94000000046", "pay": "9446.50", "rate": "9.4604", "born": "1994-08-16", "seen": "2018-08-16 09:01:46+00", "span": "86 days", "key": "e4e4e4e4-4646-4e4e-8e4e-e4e4e4e4e446", "doc": '{"s": "docZ86", "n": 86}', "raw": "\\xe4e446", "addr": "10.86.46.46", "tags": "{tagZ86,x}", "nums": "{8646,9}", "mood": "mild", "flag": "f", "mail": "z46@secret.example", "period": "[2018-01-16,2018-02-16)"},
        {"ssn": "285-57-9985", "code": "CYYX57", "pin": "2505", "big": "25000000057", "pay": "2557.50", "rate": "2.5705", "born": "1955-07-27", "seen": "2017-07-27 08:02:57+00", "span": "57 days", "key": "d5d5d5d5-5757-4d5d-8d5d-d5d5d5d5d557", "doc": '{"s": "docZ57", "n": 57}', "raw": "\\xd5d557", "addr": "10.57.57.57", "tags": "{tagZ57,x}", "nums": "{5757,8}", "mood": "dull", "flag": "t", "mail": "y57@secret.example", "period": "[2017-01-27,2017-02-27)"},
        {"ssn": "176-68-9976", "code": "CXXX68", "pin": "1606", "big": "16000000068", "pay": "1668.50", "rate": "1.6806", "born": "1946-06-08", "seen": "2016-06-08 07:03:08+00", "span": "45 days", "key": "c6c6c6c6-6868-4c6c-8c6c-c6c6c6c6c668", "doc": '{"s": "docZ45", "n": 45}', "raw": "\\xc6c668", "addr": "10.45.68.68", "tags": "{tagZ45,x}", "nums": "{4568,7}", "mood": "glad", "flag": "f", "mail": "x68@secret.example", "period": "[2016-01-08,2016-02-08)"},
    ],
}


def rows(which):
    """The rows as SQL, in the order of the placeholders."""
    made = []
    for (number, name, dept), secret in zip(PLAIN, SECRET[which]):
        made.append(f"({number}, '{name}', {dept}, " + ", ".join(f"'{secret[column]}'" for column in COLUMNS) + ")")
    return made


def sentinels(which):
    """Texts that can only come from the masked values: what is too short to be telling is left out."""
    words = set()
    for secret in SECRET[which]:
        for column in ("ssn", "code", "big", "pay", "rate", "key", "addr", "mail"):
            words.add(secret[column])
        words |= {secret["ssn"].replace("-", ""), secret["ssn"][::-1], secret["ssn"].encode().hex(), secret["doc"][7:13], secret["tags"][1:7]}
    return sorted(words)


if __name__ == "__main__":
    import json

    print(json.dumps({column: "pii." + column.rsplit(".", 1)[1] for column in MASKED}))
