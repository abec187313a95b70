"""What verify_export.py leaves out.

    python3 verify_more.py anchors FOLDER [PUBLISHED ROOT...]      an export of a ledger of which an archive was discarded
    python3 verify_more.py proof FILE PUBLISHED ROOT...            an answer of proof(), in hexadecimal, without any export

docs/archive.md says what an anchor is, docs/checkpoint.md lists the bytes of a proof. It exits with 0 only if all agrees.
"""
import collections
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


if __name__ == '__main__':
    what = {'anchors': anchor_faults, 'proof': proof_faults}
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
