#!/usr/bin/env python3
"""Recomputes every hash and total of a loyalty ledger from an export, without the extension.

    BEGIN ISOLATION LEVEL REPEATABLE READ;
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET client_encoding = 'UTF8';
    \\copy (SELECT * FROM loyalty.entry ORDER BY account_id, entry_no) TO 'entry.csv' CSV HEADER
    \\copy loyalty.account TO 'account.csv' CSV HEADER

    python3 verify_export.py entry.csv account.csv

docs/audit.md lists the bytes that are hashed. The exit code is 0 only if all agrees.
"""
import hashlib, itertools, re, struct, sys
from datetime import datetime, timedelta, timezone

TOTALS = {'earn': ('earned', 1), 'reverse': ('earned', 1), 'redeem': ('redeemed', -1),
          'giveback': ('redeemed', -1), 'expire': ('expired', -1)}

def rows(path):
    """The rows of a CSV file; a field that is empty and not quoted is NULL, here None."""
    names, text = None, ''
    for line in open(path, encoding='utf-8', newline=''):
        text += line
        if text.count('"') % 2 == 0:    # else a line ends inside quotes
            fields = re.findall(r'("(?:[^"]|"")*"|[^",]*),', text.rstrip('\r\n') + ',')
            fields = [f[1:-1].replace('""', '"') if f[:1] == '"' else f or None for f in fields]
            if names:
                assert len(fields) == len(names), text
                yield dict(zip(names, fields))
            names, text = names or fields, ''

def points(text):
    """Ten-thousandths of a point."""
    sign, whole, part = re.fullmatch(r'(-?)(\d+)(?:\.(\d{1,4}))?', text).groups()
    return int(sign + whole + (part or '').ljust(4, '0'))

def micros(text):
    """Microseconds since 2000-01-01 00:00 UTC."""
    moment, part = re.fullmatch(r'([-0-9]+ [:0-9]+)(?:\.(\d{1,6}))?\+00', text).groups()
    since = datetime.fromisoformat(moment + '+00:00') - datetime(2000, 1, 1, tzinfo=timezone.utc)
    return since // timedelta(microseconds=1) + int((part or '').ljust(6, '0'))

def digest(text):
    return bytes.fromhex(re.fullmatch(r'\\x([0-9a-f]{64})', text)[1])

def string(text):
    return struct.pack('>i', len(text.encode())) + text.encode()

def entry_hash(previous, e):
    amounts = [e[n] for n in ('base', 'refunded', 'forgiven')]
    numbers = [e[n] for n in ('lot_no', 'source_id', 'rule_id', 'reverses')]
    texts = [e[n] for n in ('event', 'line')]
    present = [sum((v is not None) << i for i, v in enumerate(values)) for values in (amounts + numbers, texts)]
    return hashlib.sha256(
        b'\x01' + previous + struct.pack('>qiq', int(e['account_id']), int(e['entry_no']), points(e['points']))
        + struct.pack('>qq', micros(e['event_time']), micros(e['recorded_at'])) + string(e['kind']) + bytes(present)
        + b''.join(struct.pack('>q', points(v)) for v in amounts if v is not None)
        + b''.join(struct.pack('>i', int(v)) for v in numbers if v is not None)
        + b''.join(string(v) for v in texts if v is not None)).digest()

def problem(account, entries):
    """What is wrong first with an account, None if nothing is."""
    head, no, sums = b'', 0, dict.fromkeys(('posted', 'earned', 'redeemed', 'expired'), 0)
    for no, e in enumerate(entries, 1):
        previous, head = head or bytes(32), digest(e['hash'])
        if int(e['entry_no']) != no or entry_hash(previous, e) != head:
            return f'entry {no} is not there, or not as it was hashed'
        total, sign = TOTALS.get(e['kind'], ('posted', 0))
        sums['posted'] += points(e['points'])
        sums[total] += sign * points(e['points'])
    if account is None or int(account['entries']) != no or (digest(account['head']) if no else account['head'] or b'') != head:
        return f'the account does not have the count and head of its last entry, {no}'
    return next((f'{n} is {account[n]}, by the entries {v / 10000}' for n, v in sums.items() if points(account[n]) != v), None)

accounts = {a['account_id']: a for a in rows(sys.argv[2])}
found = [(i, problem(accounts.pop(i, None), e)) for i, e in itertools.groupby(rows(sys.argv[1]), lambda e: e['account_id'])]
found += [(i, problem(account, [])) for i, account in accounts.items()]
print(*(f'account {i}: {p}' for i, p in found if p), f'{len(found)} accounts, {sum(p is not None for i, p in found)} with a problem', sep='\n')
sys.exit(any(p for i, p in found))
