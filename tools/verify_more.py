"""What verify_export.py leaves out.

    python3 verify_more.py anchors FOLDER [PUBLISHED ROOT...]      an export of a ledger of which an archive was discarded
    python3 verify_more.py proof FILE PUBLISHED ROOT...            an answer of proof(), in hexadecimal, without any export
    python3 verify_more.py balances FOLDER [MOMENT]                what each account of an export can spend, now or at a later moment

docs/archive.md says what an anchor is, docs/checkpoint.md lists the bytes of a proof, docs/audit.md says what a balance is.
It exits with 0 only if all agrees.
"""
import collections
import datetime
import heapq
import itertools
import struct
import sys

from verify_export import faults, number, rows, sha


def starts(folder):
    """By account what was discarded of it: the number of its entries, the last one's hash, points by kind."""
    found = {}
    for account_id, entries, points, earned, redeemed, expired, head in rows(f'{folder}/anchor'):
        earned, redeemed, expired = number(earned), -number(redeemed), -number(expired)
        came = collections.Counter(found[account_id][2] if account_id in found else {})
        # Kinds that have no total of their own count as one.
        for kind, sum_of_kind in ((b'earn', earned), (b'redeem', redeemed), (b'expire', expired),
                                  (b'', number(points) - earned - redeemed - expired)):
            came[kind] += sum_of_kind
        found[account_id] = (number(entries), head, came)
    return found


def checkpoint_root(number, before, *content):
    return sha(b'\x02', struct.pack('>i', number), before, *content)


def proved(proof):
    """The root that follows from a proof, and the account and number of its entry. struct.error: it is no proof."""
    at = 0

    def take(form):
        nonlocal at
        values = struct.unpack_from('>' + form, proof, at)
        at += struct.calcsize('>' + form)
        return values if len(values) > 1 else values[0]

    version, entries, head = take('B'), take('i'), take('32s')
    first = last = None
    for _ in range(entries):
        entry = take(f"{max(take('i'), 0)}s")
        account_id, entry_no = struct.unpack_from('>qi', entry, 1)
        if last and (account_id, entry_no) != (last[0], last[1] + 1):
            raise struct.error('the entries do not follow each other')
        last = (account_id, entry_no)
        first = first or last
        head = sha(entry[:1], head, entry[1:])
    if version != 1 or not first:
        raise struct.error('no entry')
    node, index, path = sha(b'\0', struct.pack('>qi', *last), head), take('q'), [take('32s') for _ in range(take('B'))]
    number, before, sizes = take('i'), take('32s'), take('24s')
    width = struct.unpack('>qqq', sizes)[1] - 1
    if not 0 <= index <= width:
        raise struct.error('no such leaf')
    for sibling in path:                # RFC 9162, section 2.1.3.2
        if width == 0:
            raise struct.error('the path is too long')
        if index % 2 or index == width:
            node = sha(b'\x01', sibling, node)
            while index and not index % 2:
                index, width = index >> 1, width >> 1
        else:
            node = sha(b'\x01', node, sibling)
        index, width = index >> 1, width >> 1
    root = checkpoint_root(number, before, sizes, node, take('32s'))
    for number in range(number + 1, number + 1 + take('i')):
        root = checkpoint_root(number, root, take('24s'), take('32s'), take('32s'))
    if width or at != len(proof):
        raise struct.error('something is left over')
    return root, first


def proof_faults(path, *published):
    try:
        root, (account_id, entry_no) = proved(bytes.fromhex(open(path).read().strip().removeprefix('\\x')))
    except (ValueError, struct.error) as error:
        yield f'{path} is no proof: {error}'
        return
    if root.hex() not in published:
        yield f'entry {entry_no} of account {account_id} would be under the root {root.hex()}, which was not published'


def anchor_faults(folder, *published):
    return faults(folder, *published, starts=starts(folder))


def amount(points):
    sign, (whole, part) = '-' * (points < 0), divmod(abs(points), 10000)
    return f'{sign}{whole}.{part:04}'.rstrip('0').rstrip('.')


def of_accounts(folder):
    """By account the rows of each file."""
    def named(name):
        return ((row[0], name, row) for row in rows(f'{folder}/{name}'))

    files = heapq.merge(*map(named, ('account', 'entry', 'allocation', 'lot', 'hold')), key=lambda row: row[0])
    for account_id, group in itertools.groupby(files, lambda row: row[0]):
        found = collections.defaultdict(list)
        for _, name, row in group:
            found[name].append(row)
        yield account_id, found


def balance_faults(folder, moment=None):
    """Prints what each account has. Its lots must have what the entries, proved by verify_export.py, did to them."""
    utc = datetime.timezone.utc
    moment = datetime.datetime.fromisoformat(moment) if moment else datetime.datetime.now(utc)
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=utc)
    at = (moment - datetime.datetime(2000, 1, 1, tzinfo=utc)) // datetime.timedelta(microseconds=1)
    discarded = starts(folder)
    for account_id, files in of_accounts(folder):
        came, reserved, faulty = collections.Counter(), collections.Counter(), False
        for entry in files['entry']:
            if number(entry[4]) > at:
                faulty = True
                yield f'account {number(account_id)}: entry {number(entry[1])} was booked after that moment'
                break
            if entry[10] is not None:
                came[number(entry[10])] += number(entry[2])
        for _, _, lot_no, points in files['allocation']:
            came[number(lot_no)] += number(points)
        for _, lot_no, ends_at, points, captured, owed in files['hold']:
            reserved[number(lot_no)] += number(points) - number(captured) if at < number(ends_at) else number(owed)
        lots = {number(lot[1]): [number(field) for field in lot[2:]] for lot in files['lot']}
        debt = sum(left for _, _, left in lots.values()) - sum(number(account[2]) for account in files['account'])
        if account_id not in discarded and not faulty:
            for lot_no in sorted(came.keys() | lots.keys() | {0}):
                left = lots[lot_no][2] if lot_no in lots else -debt if lot_no == 0 else 0
                if came[lot_no] != left:
                    faulty = True
                    what = f'lot {lot_no} has' if lot_no else 'by its lots and what is posted there are'
                    yield f'account {number(account_id)}: {what} {amount(left)} points, its entries come to {amount(came[lot_no])}'
        if not faulty:
            alive = {lot_no: lot for lot_no, lot in lots.items() if at < lot[1]}
            live = sum(left for begins, _, left in alive.values() if begins <= at)
            pending = sum(left for begins, _, left in alive.values() if begins > at)
            held = sum(reserved[lot_no] for lot_no in alive)
            print(f'account {number(account_id)}: {amount(live - held - debt)} available, {amount(pending)} pending, {amount(held)} held, {amount(debt)} debt')


if __name__ == '__main__':
    what = {'anchors': anchor_faults, 'proof': proof_faults, 'balances': balance_faults}
    if len(sys.argv) < 3 or sys.argv[1] not in what:
        sys.exit(__doc__)
    agrees = True
    try:
        for fault in what[sys.argv[1]](*sys.argv[2:]):
            agrees = False
            print(fault)
    except (OSError, IndexError, TypeError, ValueError, struct.error) as error:
        sys.exit(f'a file is damaged, or not what it should be: {error}')
    sys.exit(not agrees)
