"""damage.py FOLDER [balances]: does to an export what must be found, and prints what verify_export.py says to it,
or what verify_more.py does to what is left of lots and holds.

Each column of each file in one of its rows, a line each: file, column, account and entry of the row, what was said
first. Then, of each file, each byte that was changed (a bit of every third) and was not found.
"""
import io, struct, sys
sys.path.insert(0, 'tools')
import verify_export, verify_more

COLUMNS = {
    'entry': 'account_id entry_no points event_time recorded_at actor_id kind base refunded forgiven lot_no source_id rule_id reverses event line effects hash',
    'account': 'account_id entries posted earned redeemed expired head',
    'checkpoint': 'number taken_at root',
    'checkpoint_head': 'number account_id entries head'}
NUMBERS = dict.fromkeys('base refunded forgiven'.split(), 8) | dict.fromkeys('lot_no source_id rule_id reverses'.split(), 4)

def said(folder, faults=verify_export.faults):
    try:
        return next(faults(folder), None)
    except (LookupError, TypeError, ValueError, AttributeError, struct.error) as error:
        return f'damaged: {error}'

def write(path, rows):
    with open(path, 'wb') as file:
        file.write(b'PGCOPY\n\xff\r\n' + bytes(9))
        for row in rows:
            file.write(struct.pack('>h', len(row)))
            for field in row:
                file.write(struct.pack('>i', -1) if field is None else struct.pack('>i', len(field)) + field)
        file.write(struct.pack('>h', -1))

def missed(path, data, said):
    """Bytes that were tried, a bit of every third, and those whose change was not found."""
    tried, unseen = range(0, len(data), 3), []
    for byte in tried:
        changed = bytearray(data)
        changed[byte] ^= 1 << byte % 8
        open(path, 'wb').write(changed)
        if not said():
            unseen.append(byte)
    open(path, 'wb').write(data)
    return len(tried), unseen

folder = sys.argv[1]
if sys.argv[2:] == ['balances']:
    out, sys.stdout = sys.stdout, io.StringIO()
    for table in ('lot', 'hold'):
        path = f'{folder}/{table}'
        print(table, *missed(path, open(path, 'rb').read(), lambda: said(folder, verify_more.balance_faults)), sep='|', file=out)
    sys.exit()
for table, names in COLUMNS.items():
    path = f'{folder}/{table}'
    data = open(path, 'rb').read()
    rows = list(verify_export.rows(path))
    write(path, rows)
    if open(path, 'rb').read() != data:
        sys.exit(f'{table} is not read as it is written')
    # A reversal has all columns that an entry can have but those of others; rows in the middle have neighbours.
    at = next(i for i, row in enumerate(rows) if row[6] == b'reverse' and row[15] is not None) if table == 'entry' else len(rows) // 2
    for column, name in enumerate(names.split()):
        old = rows[at][column]
        new = old[:-1] + bytes([old[-1] ^ 1]) if old else bytes([0] * (NUMBERS.get(name, 1) - 1) + [1])
        write(path, [row[:column] + [new] + row[column + 1:] if i == at else row for i, row in enumerate(rows)])
        print(table, name, *(verify_export.number(field) for field in rows[at][:2]), said(folder), sep='|')
    if table == 'entry':
        # The same bytes are hashed, but they are other fields.
        points, event, effects = (names.split().index(name) for name in ('points', 'event', 'effects'))
        entry = rows[at]
        hidden, shifted = list(entry), list(entry)
        flags, *rest = entry[effects] or b'\0'
        texts = [text for text in entry[event:event + 2] if text is not None]
        hidden[event:event + 2] = None, None
        hidden[effects] = bytes([flags | sum((entry[event + n] is not None) << n for n in range(2))]) + \
            b''.join(struct.pack('>i', len(text)) + text for text in texts) + bytes(rest)
        shifted[points], shifted[points + 1] = entry[points] + entry[points + 1][:4], entry[points + 1][4:]
        for name, row in (('event', hidden), ('points', shifted)):
            write(path, [row if i == at else other for i, other in enumerate(rows)])
            print(table, f'{name} elsewhere', *(verify_export.number(field) for field in entry[:2]), said(folder), sep='|')
    open(path, 'wb').write(data)
    print(table, 'bytes', *missed(path, data, lambda: said(folder)), sep='|')
