"""Texts whose lexing depends on the session: weir must read them as the server does.

usage: desync.py

Each text runs beside weir first. What the server did there is the truth: whether rows of `bait` vanished, and whether the
answers of two databases differ that hold different secrets. Through weir a text must do the same when it touches neither,
and must change and tell nothing when it does: the pack refuses DELETE and masks the secret.
"""

import os
import sys

sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "drivers"))

import twin
import wire

SETUP = "truncate bait, vault; insert into bait values (1), (2); insert into vault values (1, '{secret}', 'plain')"
D = b"delete from bait"
S = b"select secret from vault"
OFF = ["set standard_conforming_strings = off"]
QUIET = ["set escape_string_warning = off"]


def settings(**values):
    return [f"set {name} = '{value}'" for name, value in values.items()]


# Name, what is set before, the text; texts are bytes because encodings are part of the matter.
CASES = []


def add(name, before, *texts):
    known = sum(case[0].rsplit(" ", 1)[0] == name for case in CASES)
    for number, text in enumerate(texts, known + 1):
        CASES.append((f"{name} {number}", before, text if isinstance(text, bytes) else text.encode()))


def lexing():
    hidden = lambda opening, closing: [opening + b"; " + D + closing, opening + b"; " + S + closing]  # noqa: E731
    for name, before, opening, closing in [
        ("backslash quote, standard strings", [], b"select '\\'", b" --'"),
        ("backslash quote, backslashes on", OFF, b"select '\\'", b" --'"),
        ("doubled backslash, standard strings", [], b"select '\\\\'", b" --'"),
        ("doubled backslash, backslashes on", OFF, b"select '\\\\'", b" --'"),
        ("escape string", [], b"select E'\\'", b" --'"),
        ("escape string doubled", [], b"select E'\\\\'", b" --'"),
        ("escape string, backslashes on", OFF, b"select e'a\\'", b" --'"),
        ("national string", OFF, b"select n'\\'", b" --'"),
        ("national string, standard strings", [], b"select N'\\'", b" --'"),
        ("bit string", [], b"select b'1'", b" --'"),
        ("hexadecimal string", [], b"select x'1f'", b" --'"),
        ("bit string with a backslash", OFF, b"select b'\\'", b" --'"),
        ("unicode string", [], b"select U&'\\0041'", b" --'"),
        ("unicode string with a quote", [], b"select U&'\\'", b" --'"),
        ("unicode string, backslashes on", OFF, b"select U&'\\0041'", b" --'"),
        ("unicode string with its own escape", [], b"select U&'!0041' uescape '!'", b" --'"),
        ("unicode string whose escape is a quote", [], b"select U&'x' uescape ''''", b" --'"),
        ("unicode identifier", [], b'select 1 as U&"\\0061"', b' --"'),
        ("unicode escape for a quote in an identifier", [], b'select 1 as U&"\\0022"', b' --"'),
        ("unicode with a space after the ampersand", [], b"select 1 as U& '\\'", b" --'"),
        ("identifier u followed by ampersand", [], b"select u&'1' from (select 7 as u) x where '' = '", b"'"),
        ("dollar quote", [], b"select $$'$$", b" --'$$"),
        ("dollar quote with a tag", [], b"select $a$'$a$", b" --'$a$"),
        ("dollar tag with a digit", [], b"select $t1$ ' $t1$", b" --'"),
        ("dollar tag that begins with a digit", [], b"select $1t$ ' $1t$", b" --'"),
        ("dollars inside a name", [], b"select 1 as a$b$", b"; select 2 as c$b$"),
        ("dollars at the end of a name", [], b"select 1 as a$$", b"; select 2 as b$$"),
        ("dollar quote behind a number", [], b"select 1$a$", b"$a$"),
        ("dollar quote behind a parameter", [], b"select '$1$a$'", b" --$a$"),
        ("dollar tag with a letter beyond ASCII", [], "select $é$ ' $é$".encode(), " --'$é$".encode()),
        ("dollar tag with an underscore", [], b"select $_$'$_$", b" --'"),
        ("dollar quote inside a dollar quote", [], b"select $a$ $b$ $a$", b" --$b$ $a$"),
        ("dollar tag in other letter case", [], b"select $A$ $a$ $A$", b" --$a$"),
        ("comment ended by a carriage return", [], b"select 1 --\r", b""),
        ("comment ended by a form feed", [], b"select 1 --\x0c", b""),
        ("comment ended by a vertical tab", [], b"select 1 --\x0b", b""),
        ("comment ended by a line separator", [], "select 1 --\u2028".encode(), b""),
        ("comment ended by a next line", [], "select 1 --\u0085".encode(), b""),
        ("nested comment", [], b"select 1 /* /* */", b" */"),
        ("nested comment closed twice", [], b"select 1 /* /* */ */", b" /* */"),
        ("comment that looks nested", [], b"select 1 /*/*/", b" */ */"),
        ("comment begun by an operator", [], b"select 1 */*a*/1", b" /*'*/"),
        ("comment inside an operator", [], b"select 1 +--\n1", b""),
        ("quote inside a comment", [], b"select 1 /* ' */", b" --'"),
        ("comment inside a string", [], b"select '/*'", b" --*/'"),
        ("comment inside an identifier", [], b'select 1 as "/*"', b' --*/"'),
        ("dollar quote inside a comment", [], b"select 1 /* $a$ */", b" --$a$"),
        ("string continued over a line", [], b"select 'a'\n'", b"'"),
        ("string continued over a carriage return", [], b"select 'a'\r'", b"'"),
        ("string continued over a comment", [], b"select 'a' --x\n'", b"'"),
        ("string not continued over a C comment", [], b"select 'a' /* */ '", b"'"),
        ("escape string continued", [], b"select E'a'\n'\\'", b" --'"),
        ("standard string continued with a backslash", [], b"select 'a'\n'\\'", b" --'"),
        ("string continued, backslashes on", OFF, b"select 'a'\n'\\'", b" --'"),
        ("doubled quote", [], b"select ''''", b" --'"),
        ("doubled quote in an identifier", [], b'select 1 as """"', b' --"'),
        ("zero-width space", [], "select 1\u200b".encode(), b""),
        ("non-breaking space", [], "select 1 as x\u00a0".encode(), b""),
        ("typographic quotes", [], "select 1 as “'”".encode(), b" --'"),
        ("fullwidth apostrophe", [], "select 1 as ＇".encode(), "＇".encode()),
        ("byte order mark", [], "\ufeffselect 1".encode(), b""),
        ("number with letters", [], b"select 1e", b""),
        ("parameter with letters", [], b"select $1a", b""),
        ("number with underscores", [], b"select 1_000", b""),
        ("operator that ends in a comment", [], b"select 1 @--'\n-1", b" --'"),
        ("backslash quote forbidden", OFF + settings(backslash_quote="off"), b"select '\\'", b" --'"),
        ("backslash quote safe", OFF + settings(backslash_quote="safe_encoding"), b"select '\\'", b" --'"),
        ("backslash quote allowed", OFF + settings(backslash_quote="on", client_encoding="SJIS"), b"select '\\'", b" --'"),
        ("semicolon inside parentheses of a rule", [], b"select (1)", b""),
        ("semicolon in an atomic body", [], b"create function pg_temp.f() returns int begin atomic select 1; end", b""),
    ]:
        add(name, QUIET + before, *hidden(opening, closing))


def encodings():
    for name, encoding, lead in [
        ("GBK swallows a backslash", "GBK", b"\xbf"),
        ("SJIS swallows a backslash", "SJIS", b"\x83"),
        ("BIG5 swallows a backslash", "BIG5", b"\xa5"),
        ("GB18030 swallows a backslash", "GB18030", b"\x81"),
        ("UHC swallows a backslash", "UHC", b"\xb0"),
        ("JOHAB swallows a backslash", "JOHAB", b"\x88"),
    ]:
        for before in ([], OFF):
            before = QUIET + settings(client_encoding=encoding) + before
            kind = name + (", backslashes on" if OFF[0] in before else "")
            for statement in (D, S):
                add(kind, before, b"select E'" + lead + b"\\'; " + statement + b" --'", b"select '" + lead + b"\\'; " + statement + b" --'", b"select E'" + lead + b"\\\\'; " + statement + b" --'")
            # A lead byte in front of a quote, were it to swallow that.
            add(kind + ", quote", before, b"select '" + lead + b"'; " + S + b" --'", b"select 1 --" + lead + b"\n; " + D)
    add("LATIN1 letters", settings(client_encoding="LATIN1"), b"select '\xe9'; " + D, b"select '\xe9'; " + S, b"select 1 as \xe9$a$; " + D + b"; select 1 as \xe9$a$")
    add("UTF8, cut short", [], b"select '\xc3'; " + D, b"select '\xe2\x80'; " + S)
    add("UTF8, overlong quote", [], b"select '\xc0\xa7; " + D + b" --'", b"select 1 --\xc0\x8a; " + D)
    add("UTF8, surrogates", [], b"select '\xed\xa0\x80'; " + D)
    add("SQL_ASCII", settings(client_encoding="SQL_ASCII"), b"select '\xbf\\'; " + D + b" --'", b"select 1 /* \xff */; " + S)
    add("EUC_JP", settings(client_encoding="EUC_JP"), b"select '\x8f\xa2'; " + D + b" --'", b"select '\xa4\xa2'; " + S)


def changing():
    """Modes that change while a text runs, which is parsed whole before; and between texts."""
    add("turned off in the same text", QUIET, b"set standard_conforming_strings = off; select '\\'; " + D + b" --'", b"set standard_conforming_strings = off; select '\\'; " + S + b" --'")
    add("turned off locally and committed", QUIET + ["begin", "set local standard_conforming_strings = off", "commit"], b"select '\\'; " + D + b" --'")
    add("turned off and rolled back", QUIET + ["begin", "set standard_conforming_strings = off", "rollback"], b"select '\\'; " + D + b" --'", b"select '\\'; " + S + b" --'")
    add("turned off and rolled back to a savepoint", QUIET + ["begin", "savepoint s", "set standard_conforming_strings = off", "rollback to s", "commit"], b"select '\\'; " + S + b" --'")
    add("turned off by a function", QUIET + ["select set_config('standard_conforming_strings', 'off', false)"], b"select '\\'; " + D + b" --'", b"select '\\'; " + S + b" --'")
    add("turned off by a query", QUIET + ["select set_config(name, 'off', false) from pg_settings where name = 'standard_conforming_strings'"], b"select '\\'; " + D + b" --'")
    add("turned off by an update", QUIET + ["update pg_settings set setting = 'off' where name = 'standard_conforming_strings'"], b"select '\\'; " + D + b" --'")
    add("turned off and reset", QUIET + OFF + ["reset standard_conforming_strings"], b"select '\\'; " + D + b" --'")
    add("turned off and everything reset", QUIET + OFF + ["reset all"], b"select '\\'; " + S + b" --'")
    add("turned off and discarded", QUIET + OFF + ["discard all"], b"select '\\'; " + S + b" --'")
    add("encoding turned by its other name", QUIET + ["set names 'GBK'"], b"select E'\xbf\\'; " + D + b" --'", b"select E'\xbf\\'; " + S + b" --'")


def answer(host, which, before, text, refused=()):
    """What a client works with of the answer, all frames, and which settings were refused. Those in `refused` are left out."""
    newly = set()
    try:
        connection = wire.Connection(host, database=which, timeout=15)
        for place, setting in enumerate(before):
            if place not in refused and twin.refusal(connection.ask(wire.query(setting))):
                newly.add(place)
        connection.send(wire.query(text) + wire.TERMINATE)
        frames = [frame for frame in connection.until_closed() if frame is not None]
        connection.socket.close()
    except (wire.Refused, wire.Closed, OSError) as error:
        frames = [("ended", repr(error).encode())]
    return twin.answer([frame for frame in frames if frame[0] not in "SN"], True), frames, newly


def is_plain(before, text):
    """Whether it must not be refused when it does nothing: weir may refuse what is not ASCII in other encodings than UTF-8."""
    try:
        text.decode()
    except UnicodeDecodeError:
        return False
    return not any("client_encoding" in setting or "names" in setting for setting in before)


def remaining(admin):
    return admin.run("select count(*) from bait")[0][0]


def main():
    lexing()
    encodings()
    changing()
    admins = {}
    for which, secret in (("desync_a", "sentinel-one"), ("desync_b", "sentinel-two")):
        admins[which] = twin.direct(which)
        admins[which].run(SETUP.format(secret=secret))
    governed_host, direct_host = os.environ["PGHOST"], os.environ["LAB_DIRECT_HOST"]
    a, b = sorted(admins)
    counts = {"deletes": 0, "tells": 0, "harmless": 0, "harmless and refused": []}
    for name, before, text in CASES:
        results, refused = {}, set()
        # Weir may refuse to let lexing be changed: then the truth is what the server makes of the text without that.
        for host in (governed_host, direct_host):
            for which in (a, b):
                for admin in admins.values():
                    admin.run("truncate bait; insert into bait values (1), (2)")
                *seen, newly = answer(host, which, before, text, refused if host == direct_host else ())
                results[host, which] = (*seen, remaining(admins[which]))
                if host == governed_host:
                    refused |= newly
        truth, other = results[direct_host, a], results[direct_host, b]
        ours, ours_other = results[governed_host, a], results[governed_host, b]
        deletes, tells = truth[2] != "2", truth[0] != other[0]
        counts["deletes"] += deletes
        counts["tells"] += tells
        faults = []
        if ours[2] != "2":
            faults.append("rows were deleted")
        if ours[0] != ours_other[0] or any(b"sentinel-" in body for _, body in ours[1]):
            faults.append("the secret was told")
        if not deletes and not tells:
            counts["harmless"] += is_plain(before, text)
            if ours[0] != truth[0]:
                if twin.refusal(ours[1]):
                    counts["harmless and refused"] += [name] * is_plain(before, text)
                else:
                    faults.append("the answer is another")
        wire.report(name, not faults, {"text": repr(text), "faults": faults, "governed": wire.shape([f for f in ours[1] if len(f[0]) == 1])[:300], "error": next((wire.fields(f[1]) for f in ours[1] if f[0] == "E"), None), "direct": wire.shape([f for f in truth[1] if len(f[0]) == 1])[:300]} if faults else None)
    ok = counts["deletes"] >= 40 and counts["tells"] >= 40 and len(counts["harmless and refused"]) * 4 <= counts["harmless"]
    wire.report("texts that delete, tell, or are refused for nothing", ok, counts)
    wire.finish()


if __name__ == "__main__":
    main()
