#!/usr/bin/env python3
"""Recomputes every hash, total and root of a loyalty ledger from an export, without the extension.

    BEGIN ISOLATION LEVEL REPEATABLE READ;
    SET TimeZone = 'UTC'; SET DateStyle = 'ISO'; SET client_encoding = 'UTF8';
    \\copy (SELECT * FROM loyalty.entry ORDER BY account_id, entry_no) TO 'entry.csv' CSV HEADER
    \\copy loyalty.account TO 'account.csv' CSV HEADER
    \\copy (SELECT * FROM loyalty.checkpoint ORDER BY number) TO 'checkpoint.csv' CSV HEADER
    \\copy (SELECT * FROM loyalty.checkpoint_head ORDER BY number, account_id) TO 'checkpoint_head.csv' CSV HEADER

    python3 verify_export.py entry.csv account.csv
    python3 verify_export.py entry.csv account.csv checkpoint.csv checkpoint_head.csv [roots.txt]
    python3 verify_export.py --proof proof.txt roots.txt

With an archive, add --archive FILE for each export of it (SELECT * FROM loyalty.archived_entry, in the same order), or
--anchors FILE (loyalty.anchor in the order of account_id, entries) to begin where what is not given ends, or both.

roots.txt has what was published: a line a checkpoint, its number and its root in hexadecimal. proof.txt has an
answer of proof(), in hexadecimal. docs/audit.md and docs/checkpoint.md list the bytes that are hashed. The exit
code is 0 only if all agrees.
"""
import collections, hashlib, heapq, itertools, re, struct, sys
from datetime import datetime, timedelta, timezone

TOTALS = {'earn': ('earned', 1), 'reverse': ('earned', 1), 'redeem': ('redeemed', -1),
          'giveback': ('redeemed', -1), 'expire': ('expired', -1), 'forfeit': ('expired', -1)}

def rows(path):
    """The rows of a CSV file; a field that is empty and not quoted is NULL, here None."""
    names, text = None, ''
    for line in open(path, encoding='utf-8', newline=''):
        text += line
        if text.count('"') % 2 == 0:    # else a line ends inside quotes
            fields = re.findall(r'("(?:[^"]|"")*"|[^",]*),', text.rstrip('\r\n') + ',')
            fields = [f[1:-1].replace('""', '"') if f[:1] == '"' else f or None for f in fields]
            if names:
                if len(fields) != len(names):
                    raise ValueError(f'{path} has {len(fields)} fields where its header has {len(names)}: {text.rstrip()}')
                yield dict(zip(names, fields))
            names, text = names or fields, ''

def matched(pattern, text, what):
    found = re.fullmatch(pattern, text or '')
    if not found:
        raise ValueError(f'{text} is not {what}')
    return found

def points(text):
    """Ten-thousandths of a point."""
    sign, whole, part = matched(r'(-?)(\d+)(?:\.(\d{1,4}))?', text, 'an amount of points').groups()
    return int(sign + whole + (part or '').ljust(4, '0'))

def micros(text):
    """Microseconds since 2000-01-01 00:00 UTC."""
    moment, part = matched(r'([-0-9]+ [:0-9]+)(?:\.(\d{1,6}))?\+00', text, 'a time in UTC').groups()
    since = datetime.fromisoformat(moment + '+00:00') - datetime(2000, 1, 1, tzinfo=timezone.utc)
    return since // timedelta(microseconds=1) + int((part or '').ljust(6, '0'))

def digest(text):
    return bytes.fromhex(matched(r'\\x([0-9a-f]{64})', text, 'a hash')[1])

def string(text):
    return struct.pack('>i', len(text.encode())) + text.encode()

def entry_hash(previous, e):
    amounts = [e[n] for n in ('base', 'refunded', 'forgiven')]
    numbers = [e[n] for n in ('lot_no', 'source_id', 'rule_id', 'reverses')]
    texts = [e[n] for n in ('event', 'line')]
    present = [sum((v is not None) << i for i, v in enumerate(values)) for values in (amounts + numbers, texts)]
    return hashlib.sha256(
        b'\x01' + previous + struct.pack('>qiq', int(e['account_id']), int(e['entry_no']), points(e['points']))
        + struct.pack('>qq', micros(e['event_time']), micros(e['recorded_at'])) + struct.pack('>i', int(e['actor_id'])) + string(e['kind']) + bytes(present)
        + b''.join(struct.pack('>q', points(v)) for v in amounts if v is not None)
        + b''.join(struct.pack('>i', int(v)) for v in numbers if v is not None)
        + b''.join(string(v) for v in texts if v is not None)).digest()

# What a damaged export raises where it is read.
UNREADABLE = (ValueError, TypeError, KeyError, struct.error)

def follows(previous, number, e):
    """Whether a row is the entry of that number, after that hash."""
    try:
        return int(e['entry_no']) == number and entry_hash(previous, e) == digest(e['hash'])
    except UNREADABLE:
        return False

def sha(*parts):
    return hashlib.sha256(b''.join(parts)).digest()

def leaf(account_id, entries, head):
    return sha(b'\x00', struct.pack('>qi', account_id, entries), head)

def tree(leaves):
    """The root over some leaves, RFC 6962, section 2.1."""
    if len(leaves) < 2:
        return leaves[0] if leaves else sha()
    half = 1 << (len(leaves) - 1).bit_length() - 1
    return sha(b'\x01', tree(leaves[:half]), tree(leaves[half:]))

def checkpoint_root(number, previous, at, accounts, entries, root, changes):
    return sha(b'\x02', struct.pack('>i', number), previous, struct.pack('>qqq', at, accounts, entries), root, changes)

def problem(account, entries, seen, anchors):
    """What is wrong first with an account, None if nothing is; seen: hashes that checkpoints saw, by entry number."""
    try:
        return first_problem(account, entries, seen, anchors)
    except UNREADABLE as error:
        return f'its row, or an anchor of it, can\'t be read: {error}'

def first_problem(account, entries, seen, anchors):
    entries = iter(entries)
    first = next(entries, None)
    head, no, sums = b'', 0, dict.fromkeys(('posted', 'earned', 'redeemed', 'expired'), 0)
    for n in anchors:
        if first is None or int(n['entries']) < int(first['entry_no']):
            head, no = digest(n['hash']), int(n['entries'])
            if seen.get(no) not in (None, head):
                return f'the archive up to entry {no} is not what a checkpoint saw'
            for total, column in zip(sums, ('points', 'earned', 'redeemed', 'expired')):
                sums[total] += points(n[column])
        else:
            seen.setdefault(int(n['entries']), digest(n['hash']))
    for number in [number for number in seen if number <= no]:
        seen.pop(number)
    for no, e in enumerate(itertools.chain([first] if first else [], entries), no + 1):
        if not follows(head or bytes(32), no, e):
            archived = ': if it was archived, give --archive or --anchors' if no == 1 and e['entry_no'] != '1' else ''
            return f'entry {no} is not there, or not as it was hashed{archived}'
        head = digest(e['hash'])
        if seen.pop(no, head) != head:
            return f'entry {no} is not what a checkpoint saw'
        total, sign = TOTALS.get(e['kind'], ('posted', 0))
        sums['posted'] += points(e['points'])
        sums[total] += sign * points(e['points'])
    if any(seen):
        return f'entry {max(seen)}, which a checkpoint saw, is not there'
    if account is None or int(account['entries']) != no or (digest(account['head']) if no else account['head'] or b'') != head:
        return f'the account does not have the count and head of its last entry, {no}'
    return next((f'{n} is {account[n]}, by the entries {v / 10000}' for n, v in sums.items() if points(account[n]) != v), None)

def checkpoint_problems(checkpoints, heads, published):
    """What is wrong with checkpoints, each by all that it saw."""
    state, previous = {}, bytes(32)
    for number, c in enumerate(checkpoints, 1):
        rows = heads.pop(number, [])
        state.update((account_id, (entries, leaf(account_id, entries, head))) for account_id, entries, head in rows)
        leaves = [hashed for _, (_, hashed) in sorted(state.items())]
        saw = (len(leaves), sum(entries for entries, _ in state.values()), tree(leaves), tree([leaf(*row) for row in sorted(rows)]))
        root = digest(c['root'])
        if int(c['number']) != number:
            yield f'checkpoint {number} is not there'
        if saw != (int(c['accounts']), int(c['entries']), digest(c['tree']), digest(c['changes'])):
            yield f'checkpoint {number} does not agree with what it saw'
        if (digest(c['previous']) if number > 1 else bytes(32) if c['previous'] is None else None) != previous:
            yield f'checkpoint {number} does not build on the root before it'
        if checkpoint_root(int(c['number']), previous, micros(c['taken_at']), *saw) != root:
            yield f'the root of checkpoint {number} is not that of its content'
        if published.pop(number, root) != root:
            yield f'another root was published of checkpoint {number}'
        previous = root
    yield from (f'checkpoint {number} is not there, what it saw is' for number in heads)
    yield from (f'checkpoint {number} was published and is not there' for number in published)

def proved(proof):
    """The root that follows from a proof, and its first entry's canonical bytes without the hash before; struct.error: it is none."""
    def take(form):
        nonlocal at
        values = struct.unpack_from(form, proof, at)
        at += struct.calcsize(form)
        return values if len(values) > 1 else values[0]
    at, entries = 0, []
    version, n, head = take('>B'), take('>i'), take('32s')
    for _ in range(n):
        entry = take(f"{take('>i')}s")
        account_id, entries_so_far = struct.unpack_from('>qi', entry, 1)
        if entries and (account_id, entries_so_far) != (known[0], known[1] + 1):
            raise struct.error
        known, head = (account_id, entries_so_far), sha(entry[:1], head, entry[1:])
        entries.append(entry)
    node, index, path = leaf(*known, head), take('>q'), [take('32s') for _ in range(take('>B'))]
    number, root = take('>i'), take('32s')
    moment, accounts, total = take('>qqq')
    last = accounts - 1
    if version != 1 or not 0 <= index <= last:
        raise struct.error
    for sibling in path:                # RFC 9162, section 2.1.3.2
        if last == 0:
            raise struct.error
        if index % 2 or index == last:
            node = sha(b'\x01', sibling, node)
            while index and not index % 2:
                index, last = index >> 1, last >> 1
        else:
            node = sha(b'\x01', node, sibling)
        index, last = index >> 1, last >> 1
    root = checkpoint_root(number, root, moment, accounts, total, node, take('32s'))
    for number in range(number + 1, number + 1 + take('>i')):
        moment, accounts, total, node = take('>qqq32s')
        root = checkpoint_root(number, root, moment, accounts, total, node, take('32s'))
    if last or at != len(proof):
        raise struct.error
    return root, entries[0]

def read_roots(path):
    return {int(number): bytes.fromhex(root) for number, root in map(str.split, open(path))}

def check_proof(path, roots):
    published = read_roots(roots)
    try:
        root, entry = proved(bytes.fromhex(open(path).read().strip().removeprefix('\\x')))
        under = [number for number, known in published.items() if known == root]
    except (ValueError, struct.error, UnboundLocalError):
        under = []
    if not under:
        sys.exit('the proof shows no entry to be under a published root')
    print('entry %d of account %d is under the root of checkpoint %d' % (*struct.unpack_from('>qi', entry, 1)[::-1], under[0]))

def check_export(arguments):
    archives, anchors = [], collections.defaultdict(list)
    while '--archive' in arguments[:-1]:
        archives.append(arguments.pop(arguments.index('--archive') + 1))
        arguments.remove('--archive')
    if '--anchors' in arguments[:-1]:
        for n in rows(arguments.pop(arguments.index('--anchors') + 1)):
            anchors[n['account_id']].append(n)
        arguments.remove('--anchors')
    if len(arguments) not in (2, 4, 5):
        sys.exit(__doc__)
    entry, account, checkpoint, head, roots = arguments + [None] * (5 - len(arguments))

    heads, seen = collections.defaultdict(list), collections.defaultdict(dict)
    for h in rows(head) if head else []:
        entries, hashed = int(h['entries']), digest(h['head']) if h['head'] is not None else bytes(32)
        heads[int(h['number'])].append((int(h['account_id']), entries, hashed))
        seen[h['account_id']][entries] = hashed
    wrong = list(checkpoint_problems(rows(checkpoint), heads, read_roots(roots) if roots else {})) if checkpoint else []
    accounts = {a['account_id']: a for a in rows(account)}
    entries = heapq.merge(*map(rows, [entry, *archives]), key=lambda e: (int(e['account_id']), int(e['entry_no'])))
    found = [(i, problem(accounts.pop(i, None), e, seen.pop(i, {}), anchors.pop(i, []))) for i, e in itertools.groupby(entries, lambda e: e['account_id'])]
    found += [(i, problem(account, [], seen.pop(i, {}), anchors.pop(i, []))) for i, account in accounts.items()]
    found += [(i, 'the account is not there, its archive was') for i in anchors]
    found += [(i, 'the account is not there, a checkpoint saw it') for i in seen]
    print(*(f'account {i}: {p}' for i, p in found if p), *wrong,
          f'{len(found)} accounts, {sum(p is not None for i, p in found)} with a problem', sep='\n')
    sys.exit(bool(wrong) or any(p for i, p in found))

try:
    if len(sys.argv) == 4 and sys.argv[1] == '--proof':
        check_proof(*sys.argv[2:])
    else:
        check_export(sys.argv[1:])
except KeyError as error:
    sys.exit(f'the export has no column {error}')
except (OSError, *UNREADABLE) as error:
    sys.exit(f'the export can\'t be read: {error}')
