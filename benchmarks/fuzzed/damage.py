"""What can happen to a file: each function damages one in place."""

import gzip
import io
import json
import os
import random
import struct
import tarfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

Damage = Callable[[Path, random.Random], None]
DEVICE = Path("/dev/zero")
"""What never ends when it is read."""
BOMBS = "METAJAX_BOMBS"
"""The variable that names the folder of `make_bombs`."""


def cut_off(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content))])


def flipped_bit(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def flipped_bits(path: Path, chance: random.Random) -> None:
    content = bytearray(path.read_bytes())
    for _ in range(chance.randrange(2, 30)):
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def noise_inside(path: Path, chance: random.Random) -> None:
    content, length = path.read_bytes(), chance.randrange(1, 64)
    place = chance.randrange(len(content))
    path.write_bytes(content[:place] + chance.randbytes(length) + content[place + length :])


def zeros_inside(path: Path, chance: random.Random) -> None:
    content, length = path.read_bytes(), chance.randrange(1, 512)
    place = chance.randrange(len(content))
    path.write_bytes(content[:place] + bytes(length) + content[place + length :])


def a_part_twice(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    begin, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    path.write_bytes(content[:end] + content[begin:])


def a_part_missing(path: Path, chance: random.Random) -> None:
    content = path.read_bytes()
    begin, end = sorted(chance.randrange(len(content) + 1) for _ in range(2))
    path.write_bytes(content[:begin] + content[end:])


def huge_number(path: Path, chance: random.Random) -> None:
    """A size or an offset of a binary format becomes huge."""
    content = bytearray(path.read_bytes())
    size, order = chance.choice([2, 4, 8]), chance.choice("<>")
    number = chance.choice([-1, 1 << (8 * size - 2), (1 << (8 * size - 1)) - 1]) % (1 << 8 * size)
    place = chance.randrange(max(1, len(content) - size))
    content[place : place + size] = struct.pack(
        f"{order}{ {2: 'H', 4: 'I', 8: 'Q'}[size] }", number
    )
    path.write_bytes(content)


def huge_digits(path: Path, chance: random.Random) -> None:
    """A number in a text becomes huge, negative, or none."""
    content = path.read_bytes()
    digits = [i for i, byte in enumerate(content) if 48 <= byte < 58]
    if not digits:
        return noise_inside(path, chance)
    place = chance.choice(digits)
    other = chance.choice([b"9" * 30, b"9" * 6000, b"-1", b"1e999", b"NaN", b"1.5", b"0"])
    path.write_bytes(content[:place] + other + content[place + 1 :])
    return None


_VALUES: tuple[Any, ...] = (
    *(None, True, -1, 0, 10**30, 1.5, "", "text", "../../x", [], {}, [[]], {"a": 1}, float("nan")),
    *("\ud800", "\0", [None], {"": None}),
)


def other_value(path: Path, chance: random.Random) -> None:
    """A value of JSON, in a file of one or of lines, becomes one of another type."""
    text = path.read_bytes()
    try:
        lines = text.decode().splitlines()
        chosen = chance.randrange(len(lines))
        rows = [json.loads(line) for line in lines]
    except (ValueError, IndexError):
        try:
            rows, chosen = [json.loads(text)], 0
        except ValueError:
            return noise_inside(path, chance)
    rows[chosen] = _replaced(rows[chosen], chance)
    path.write_text("\n".join(json.dumps(row) for row in rows) + "\n")
    return None


def _replaced(value: Any, chance: random.Random) -> Any:
    if chance.random() < 0.15 or not value or not isinstance(value, list | dict):
        return chance.choice(_VALUES)
    if isinstance(value, list):
        place = chance.randrange(len(value))
        return [*value[:place], _replaced(value[place], chance), *value[place + 1 :]]
    key = chance.choice(sorted(value))
    if chance.random() < 0.1:
        return {k: v for k, v in value.items() if k != key}
    return {**value, key: _replaced(value[key], chance)}


def nested(path: Path, chance: random.Random) -> None:
    mark = chance.choice([b"[", b'{"a":', b"(", b'"', b"\x1f\x8b"])
    path.write_bytes(mark * chance.choice([1_000, 200_000]))


def emptied(path: Path, chance: random.Random) -> None:
    path.write_bytes(chance.choice([b"", b"\n", b"\0" * 100, b"\xff\xfe"]))


def another_kind(path: Path, chance: random.Random) -> None:
    """A pipe, a folder, a link that leads round or nowhere, or a device."""
    path.unlink()
    kind = chance.randrange(5)
    if kind == 0:
        os.mkfifo(path)
    elif kind == 1:
        path.mkdir()
    else:
        path.symlink_to([path.name, "nowhere", DEVICE][kind - 2])


def removed(path: Path, chance: random.Random) -> None:
    del chance
    path.unlink()


def _zeros(file: Any, megabytes: int) -> None:
    for _ in range(megabytes):
        file.write(bytes(1 << 20))


def make_bombs(folder: Path) -> None:
    """Writes files of 2 MB that unpack to 2 GB, once for all workers."""
    with gzip.open(folder / "gzip", "wb", 9) as file:
        _zeros(file, 2_000)
    # The header of tar says how much is to be read at once.
    header = tarfile.TarInfo("x")
    header.type, header.size = tarfile.XHDTYPE, 1 << 31
    (folder / "tar").write_bytes(gzip.compress(header.tobuf()) + (folder / "gzip").read_bytes())


def bomb(path: Path, chance: random.Random) -> None:
    """A small file that unpacks to gigabytes, or to 200 MB in the members that a reader reads."""
    kind = chance.choice(["gzip", "tar", "zip"])
    if kind != "zip":
        path.write_bytes((Path(os.environ[BOMBS]) / kind).read_bytes())
        return
    names, packed = _members(path), io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name in names[:2]:
            with archive.open(name, "w") as member:
                _zeros(member, 100)
    path.write_bytes(packed.getvalue())


def _members(path: Path) -> list[str]:
    try:
        with zipfile.ZipFile(path) as archive:
            return archive.namelist()
    except Exception:
        return ["header.npy"]


def traversal(path: Path, chance: random.Random) -> None:
    """Members of an archive are named to be written elsewhere, or are links."""
    packed = io.BytesIO()
    names = ["../../escaped", "/tmp/escaped", "..\\..\\escaped", "a/../../../escaped.png"]
    if chance.random() < 0.5:
        with zipfile.ZipFile(packed, "w") as archive:
            for name in names:
                archive.writestr(name, b"escaped")
    else:
        with tarfile.open(fileobj=packed, mode="w:gz") as archive:
            for name in names:
                member = tarfile.TarInfo(name)
                member.type, member.linkname = tarfile.SYMTYPE, "/etc/passwd"
                archive.addfile(member)
    path.write_bytes(packed.getvalue())


def members_replaced(path: Path, chance: random.Random) -> None:
    """Two members of a zip change places, or one becomes something else; all checksums of zip are right."""
    try:
        with zipfile.ZipFile(path) as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
    except Exception:
        return flipped_bits(path, chance)
    one, other = chance.choice(list(members)), chance.choice(list(members))
    if chance.random() < 0.5 and one != other:
        members[one], members[other] = members[other], members[one]
    else:
        content = bytearray(members[one] or b"x")
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
        members[one] = bytes(content)
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return None


DAMAGES: tuple[Damage, ...] = (
    *(cut_off, flipped_bit, flipped_bit, flipped_bits, noise_inside, zeros_inside, a_part_twice),
    *(a_part_missing, huge_number, huge_digits, huge_digits, other_value, other_value, other_value),
    *(nested, emptied, another_kind, removed, traversal, members_replaced, members_replaced),
)
"""What an input is chosen from; those that come twice are chosen more often. Bombs are slow and come apart."""
BOMB_EVERY = 2_000
"""How often each reader gets a bomb."""
