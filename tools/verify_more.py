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
import os
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


class Reader:
    """Bytes, read one value, or several, after the other. struct.error: there are too few."""

    def __init__(self, data, at=0):
        self.data = data
        self.at = at

    def take(self, form):
        values = struct.unpack_from('>' + form, self.data, self.at)
        self.at += struct.calcsize('>' + form)
        return values if len(values) > 1 else values[0]

    def more(self):
        return self.at < len(self.data)


def proved(proof):
    """The root that follows from a proof, and the account and number of its entry. struct.error: it is no proof."""
    reader = Reader(proof)
    take = reader.take
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
    if width or reader.more():
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


NEVER = 2 ** 63 - 1
BY_CLOCK = 9223371331199999999          # the last finite moment: ends by activity
EPOCH = datetime.datetime(2000, 1, 1, tzinfo=datetime.timezone.utc)


def microseconds(moment):
    return (moment - EPOCH) // datetime.timedelta(microseconds=1)


def read_effects(field):
    """What an entry did: its allocations; the end it gave the clock, and when lots ended with it; of lots that it opened the begin and the end; of a hold its end and the points by lot."""
    reader = Reader(field, 1)
    take, more = reader.take, reader.more
    allocations = [take('iq') for _ in range(take('i'))] if field[0] & 4 else []
    clock = take('q') if field[0] & 8 else None
    ended = take('q') if field[0] & 16 else None
    opened, ends_at, held = [], None, {}
    while field[0] & 32 and more():
        opened.append([take('q') if take('B') else -NEVER - 1, take('q')])
        take('i')                       # the month of issue
    if field[0] & 64:
        ends_at = take('q')
        while more():
            lot_no, points = take('iq')
            held[lot_no] = points
    return allocations, clock, ended, opened, ends_at, held


class Story:
    """What an account's entries come to."""

    def __init__(self, entries):
        self.debt = 0
        self.lots = {}                  # begin, end, what is left
        self.holds = {}                 # by hold and lot: end, points, what was captured, what is owed
        self.clock = BY_CLOCK           # until one is set
        for entry in entries:
            self.tell(entry)

    def tell(self, entry):
        allocations, clock, ended, opened, ends_at, held = read_effects(entry[16] or b'\0')
        kind, entry_no, lot_no, hold_no = entry[6], number(entry[1]), number(entry[10] or b''), number(entry[13] or b'')
        if entry[10] is not None:
            allocations = [(lot_no, number(entry[2]))]
        if ended is not None:
            self.end_by_clock(ended)
        if clock is not None:
            self.clock = clock
        for begins, ends in opened:
            self.lots[len(self.lots) + 1] = [begins, ends, 0]
        for of, points in held.items():
            self.holds[entry_no, of] = [ends_at, points, 0, 0]
        for of, points in allocations:
            if of == 0:
                self.debt -= points
            else:
                self.lots[of][2] += points
            if kind == b'redeem' and entry[13] is not None:
                self.holds[hold_no, of][2] -= points
        if kind == b'waive' and (hold_no, lot_no) in self.holds:
            self.holds[hold_no, lot_no][3] = number(entry[7] or b'')
        if kind == b'release':
            self.holds = {key: hold for key, hold in self.holds.items() if key[0] != hold_no or hold[1] == hold[2]}
        if kind == b'extend' and entry[10] is not None:
            ends = entry[15].decode().split()[1]
            self.lots[lot_no][1] = NEVER if ends == 'infinity' else microseconds(datetime.datetime.strptime(ends, '%Y-%m-%dT%H:%M:%S.%f%z'))

    def end_by_clock(self, moment):
        for lot in self.lots.values():
            if lot[1] == BY_CLOCK:
                lot[1] = moment

    def faults(self, lots, holds, posted):
        self.end_by_clock(self.clock)
        debt = sum(left for _, _, left in lots.values()) - posted
        if debt != self.debt:
            yield f'by its lots and what is posted there are {amount(-debt)} points, its entries come to {amount(-self.debt)}'
        for lot_no in sorted(lots.keys() | self.lots.keys()):
            stored, told = lots.get(lot_no), self.lots.get(lot_no)
            if stored is None or told is None:
                yield f'lot {lot_no} is {"not there" if stored is None else "of no entry"}'
            elif stored[2] != told[2]:
                yield f'lot {lot_no} has {amount(stored[2])} points, its entries come to {amount(told[2])}'
            elif stored[0] != told[0] or stored[1] != told[1]:
                yield f'lot {lot_no} does not begin and end when its entries say'
        for key in sorted(holds.keys() | self.holds.keys()):
            if holds.get(key) != self.holds.get(key):
                yield f'what entry {key[0]} holds of lot {key[1]} is not what the entries say'


def of_accounts(folder):
    """By account the rows of each file."""
    def named(name):
        return ((row[0], name, row) for row in rows(f'{folder}/{name}'))

    files = heapq.merge(*map(named, ('account', 'entry', 'lot', 'hold')), key=lambda row: row[0])
    for account_id, group in itertools.groupby(files, lambda row: row[0]):
        found = collections.defaultdict(list)
        for _, name, row in group:
            found[name].append(row)
        yield account_id, found


def balance_faults(folder, moment=None):
    """Prints what each account has, by its entries, which verify_export.py proves. The other files must agree with them."""
    moment = datetime.datetime.fromisoformat(moment) if moment else datetime.datetime.now(datetime.timezone.utc)
    at = microseconds(moment if moment.tzinfo else moment.replace(tzinfo=datetime.timezone.utc))
    discarded = starts(folder)
    for account_id, files in of_accounts(folder):
        lots = {number(lot[1]): [number(field or b'') for field in lot[2:]] for lot in files['lot']}
        holds = {(number(hold[1]), number(hold[2])): [number(field) for field in hold[3:]] for hold in files['hold']}
        posted = sum(number(account[2]) for account in files['account'])
        late = next((number(entry[1]) for entry in files['entry'] if number(entry[4]) > at), None)
        found = [f'entry {late} was booked after that moment'] if late else []
        if not late and account_id not in discarded:
            try:
                found = [*Story(files['entry']).faults(lots, holds, posted)]
            except (LookupError, TypeError, ValueError, struct.error):
                found = ['its entries name lots or holds that are not there, or can\'t be read']
        yield from (f'account {number(account_id)}: {fault}' for fault in found)
        if not found:
            held = collections.Counter()
            for (_, lot_no), (ends_at, points, captured, owed) in holds.items():
                held[lot_no] += points - captured if at < ends_at else owed
            alive = {lot_no: lot for lot_no, lot in lots.items() if at < lot[1]}
            live = sum(left for begins, _, left in alive.values() if begins <= at)
            pending = sum(left for begins, _, left in alive.values() if begins > at)
            reserved = sum(held[lot_no] for lot_no in alive)
            debt = sum(left for _, _, left in lots.values()) - posted
            print(f'account {number(account_id)}: {amount(live - reserved - debt)} available, {amount(pending)} pending, {amount(reserved)} held, {amount(debt)} debt')


if __name__ == '__main__':
    what = {'anchors': anchor_faults, 'proof': proof_faults, 'balances': balance_faults}
    if len(sys.argv) < 3 or sys.argv[1] not in what:
        sys.exit(__doc__)
    agrees = True
    try:
        for fault in what[sys.argv[1]](*sys.argv[2:]):
            agrees = False
            print(fault)
        sys.stdout.flush()
    except BrokenPipeError:             # whoever reads has had enough; nothing is to be flushed at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)
    except (OSError, LookupError, TypeError, ValueError, AttributeError, struct.error) as error:
        sys.exit(f'a file is damaged, or not what it should be: {error}')
    sys.exit(not agrees)
