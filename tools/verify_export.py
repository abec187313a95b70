"""Recomputes each hash, balance and root of an export: verify_export.py FOLDER [PUBLISHED ROOT...]; see docs/audit.md."""
import collections, hashlib, heapq, itertools, struct, sys

def rows(path):
    """The rows of a file in COPY's binary format, each a list of its fields' bytes, None for NULL."""
    file = open(path, 'rb')
    take = lambda form: struct.unpack(form, file.read(struct.calcsize(form)))[0]
    if take('19s') != b'PGCOPY\n\xff\r\n' + bytes(9):
        raise ValueError(f'{path} is not in binary COPY format')
    while (fields := take('>h')) != -1:
        yield [None if (size := take('>i')) == -1 else take(f'{size}s') for _ in range(fields)]
number = lambda field: int.from_bytes(field, 'big', signed=True)
sha = lambda *parts: hashlib.sha256(b''.join(parts)).digest()
def entry_hash(before, entry):  # docs/audit.md; the fields are in the order of export.sql
    kind, numbers, texts, effects = entry[6], entry[7:14], entry[14:16], b''.join(filter(None, entry[16:17])) or b'\0'
    present = [sum((value is not None) << bit for bit, value in enumerate(values)) for values in (numbers, texts)]
    fields = [*filter(None, numbers), *(struct.pack('>i', len(text)) + text for text in texts if text is not None), effects[1:]]
    odd = effects[0] % 4 or any(len(field) != width for field, width in zip(entry[:6] + numbers, [8, 4, 8, 8, 8, 4, *[8] * 3, *[4] * 4]) if field is not None)
    return None if odd else sha(b'\x01', before, *entry[:6], bytes([len(kind)]), kind, bytes([present[0], present[1] + effects[0]]), *fields)

def account_faults(account, entries, seen, start):
    """What is wrong with an account. seen: the heads that checkpoints saw; start: what was before the entries."""
    count, head, came = start[0], start[1], collections.Counter(start[2])
    for count, entry in enumerate(entries, count + 1):
        if entry_hash(head or bytes(32), entry) != entry[-1] or seen.pop((entry[0], entry[1]), entry[-1]) != entry[-1]:
            yield f'entry {count} is not there, not as it was hashed, or not what a checkpoint saw'
        head, came[entry[6]] = entry[-1], came[entry[6]] + number(entry[2])
    sums = [sum(came.values()), came[b'earn'] + came[b'reverse'], -came[b'redeem'] - came[b'giveback'], -came[b'expire'] - came[b'forfeit']]
    if seen.pop((account[0], struct.pack('>i', start[0])), None) != start[1] or account[-1] != head or [number(field) for field in account[1:6]] != [count, *sums]:
        yield f'its row is not there, or not what its {count} entries come to: {sums}'
def tree(heads):  # RFC 6962, section 2.1
    if len(heads) < 2:
        return sha(*[b'\0' + account_id + entries + (head or bytes(32)) for _, account_id, entries, head in heads])
    left = 1 << (len(heads) - 1).bit_length() - 1
    return sha(b'\x01', tree(heads[:left]), tree(heads[left:]))

def faults(folder, *published, starts={}):
    if not starts and any(rows(f'{folder}/anchor')):
        yield 'the export begins after entries that were discarded with an archive: use verify_more.py anchors'
        return
    first, start, root, known = lambda row: row[0], lambda i: starts.get(i, (0, None, {})), bytes(32), {}
    heads = {of: list(new) for of, new in itertools.groupby(rows(f'{folder}/checkpoint_head'), first)}
    seen = {(i, entries): head for new in heads.values() for _, i, entries, head in new}
    for i, (account, *entries) in itertools.groupby(heapq.merge(rows(f'{folder}/account'), rows(f'{folder}/entry'), key=first), first):
        yield from (f'account {number(i)}: {fault}' for fault in account_faults(account, entries, seen, start(i)))
    yield from (f'account {number(i)}: entry {number(n)}, which a checkpoint saw, is gone' for i, n in seen if number(n) >= start(i)[0])
    for this, taken_at, stored in rows(f'{folder}/checkpoint'):
        known.update((head[1], head) for head in heads.get(this, []))
        sizes = struct.pack('>qq', len(known), sum(number(entries) for _, _, entries, _ in known.values()))
        root = sha(b'\x02', this, root, taken_at, sizes, tree([known[i] for i in sorted(known)]), tree(heads.get(this, [])))
        published = [other for other in published if other != root.hex()]
        if root != stored:
            yield f'checkpoint {number(this)} has not the root of what it saw'
    yield from (f'{other} is the root of no checkpoint' for other in published)

if __name__ == '__main__':
    try:
        sys.exit(len([print(fault) for fault in faults(*sys.argv[1:])]) > 0)
    except (OSError, IndexError, TypeError, ValueError, struct.error) as error:
        sys.exit(f'the export is damaged, or not what it should be: {error}')
