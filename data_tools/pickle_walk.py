"""A walk through a pickle's opcodes that obeys none of them, before anything unpickles it.

Each opcode has a price, about what it can cost the unpickler in time and memory. Runs of opcodes
that cost next to nothing are passed over at once, at their length in bytes.
"""

import pickletools
import re
import struct

from ..errors import FacekdError

_OPCODES = {ord(op.code): op for op in pickletools.opcodes}
_ONE_BYTE = "NONE NEWTRUE NEWFALSE MARK EMPTY_TUPLE APPEND MEMOIZE".split()  # noqa: SIM905
_ONE_MORE = "BININT1 BINGET BINPUT".split()  # noqa: SIM905
_OTHERS = """
    PROTO FRAME STOP INT BININT BININT2 LONG LONG1
    STRING BINSTRING SHORT_BINSTRING BINBYTES SHORT_BINBYTES BINBYTES8 BYTEARRAY8
    UNICODE BINUNICODE SHORT_BINUNICODE BINUNICODE8
    EMPTY_LIST LIST APPENDS TUPLE TUPLE1 TUPLE2 TUPLE3
    PUT LONG_BINPUT GET LONG_BINGET GLOBAL STACK_GLOBAL REDUCE BUILD
""".split()  # noqa: SIM905
_ALLOWED = frozenset(_ONE_BYTE + _ONE_MORE + _OTHERS)
_PRICES = {"REDUCE": 48, "BUILD": 48, "GLOBAL": 512, "STACK_GLOBAL": 512}
_PRICE = 20  # of an opcode that stands in neither table
_PER_IMAGE = 1024  # the dearest honest image costs about 750: an array in protocol 0
_FREE = 10 << 20
_BYTES_A_UNIT = 8
_PREFIX = {
    pickletools.TAKEN_FROM_ARGUMENT1: struct.Struct("<B"),
    pickletools.TAKEN_FROM_ARGUMENT4: struct.Struct("<i"),
    pickletools.TAKEN_FROM_ARGUMENT4U: struct.Struct("<I"),
    pickletools.TAKEN_FROM_ARGUMENT8U: struct.Struct("<Q"),
}


def _any_of(names: list[str]) -> bytes:
    return b"[%s]" % re.escape(
        "".join(op.code for op in pickletools.opcodes if op.name in names).encode("latin-1")
    )


_RUN = re.compile(rb"(?:%s++|%s.)*+" % (_any_of(_ONE_BYTE), _any_of(_ONE_MORE)), re.DOTALL)


def check_opcodes(data: bytes, max_images: int) -> None:
    """Make sure that unpickling is cheap and that no argument leads out of the file.

    Args:
        data: The pickle.
        max_images: How many images it may hold.

    Raises:
        FacekdError: An opcode that has no place in a verification set, a length past the end, a
            memo number out of range, or more opcodes than that many images need.
    """
    at, spent, count, frame_end = 0, 0, 0, 0
    limit = min(_PER_IMAGE * (max_images + 16), _FREE + len(data) // _BYTES_A_UNIT)
    while at < len(data):
        run = _RUN.match(data, at, frame_end if at < frame_end else len(data))
        if run and (end := run.end()) > at:
            spent += end - at
            count += end - at
            at = end
            continue
        op = _OPCODES.get(data[at])
        if op is None or op.name not in _ALLOWED:
            found = f"byte {data[at]:#04x}" if op is None else f"the opcode {op.name}"
            raise FacekdError(f"not a verification set: {found} at byte {at} has no place in one.")
        count += 1
        spent += _PRICES.get(op.name, _PRICE)
        if spent > limit:
            break
        if op.name == "STOP":
            return
        end = _argument_end(data, at + 1, op)
        if op.name in ("PUT", "LONG_BINPUT"):
            argument = data[at + 1 : end]
            slot = int(argument) if op.name == "PUT" else int.from_bytes(argument, "little")
            if not 0 <= slot <= count:
                raise FacekdError(f"the pickle's memo number {slot} at byte {at} is out of range.")
        if at < frame_end < end:
            raise FacekdError(f"the pickle is damaged: {op.name} at byte {at} leaves its frame.")
        if op.name == "FRAME":
            frame_end = end + int.from_bytes(data[at + 1 : end], "little")
        at = end
    if spent > limit:
        raise FacekdError(
            f"the pickle of {len(data)} bytes has more opcodes than {max_images} images can need."
        )
    raise FacekdError("the pickle is cut short: it has no end mark; copy the file again.")


def _argument_end(data: bytes, at: int, op: pickletools.OpcodeInfo) -> int:
    """Where the argument that starts at byte `at` ends."""
    if op.arg is None:
        return at
    if op.arg.n == pickletools.UP_TO_NEWLINE:
        end = data.find(b"\n", at) + 1
        if end and op.name == "GLOBAL":
            end = data.find(b"\n", end) + 1
        end = end or len(data) + 1
    elif op.arg.n in _PREFIX:
        prefix = _PREFIX[op.arg.n]
        if at + prefix.size > len(data):
            raise FacekdError(f"the pickle is cut short at byte {at}; copy the file again.")
        (length,) = prefix.unpack_from(data, at)
        end = at + prefix.size + length if length >= 0 else len(data) + 1
    else:
        end = at + op.arg.n
    if end > len(data):
        raise FacekdError(
            f"{op.name} at byte {at - 1} reaches past the end of the pickle ({len(data)} bytes): "
            "it was cut short; copy it again."
        )
    return end
