"""Sealed files: JSON that says what it is and of which format, with a checksum of every byte."""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final, Literal, NoReturn

FORMAT: Final = 5
"""Raised whenever what is written changes; no other is read."""

LARGEST: Final = 2**30
"""Bytes of a file that is still read; those of a large comparison have a hundredth of that."""

Kind = Literal["run", "results", "claims"]

_HEAD: Final = re.compile(
    rb'\A\{\s{0,2}"lehr": "(run|results|claims)",\s{1,2}"format": (\d{1,9}),\s{1,2}"sha256": "([0-9a-f]{64})"'
)
_BLANK: Final = b"0" * 64


def seal(kind: Kind, body: dict[str, Any], indent: int | None = None) -> str:
    """The body as JSON, with its format and the checksum of the whole text.

    Args:
        kind: what it is.
        body: plain data, all numbers finite.
        indent: as in `json.dumps`.
    """
    whole = {"lehr": kind, "format": FORMAT, "sha256": _BLANK.decode(), **body}
    text = json.dumps(whole, indent=indent, allow_nan=False) + "\n"
    return text.replace(_BLANK.decode(), hashlib.sha256(text.encode()).hexdigest(), 1)


def unseal(kind: Kind, text: str | bytes, name: str) -> dict[str, Any]:
    """The body of a sealed text.

    Args:
        kind: what it must be.
        text: the whole of it.
        name: what to call it in an error.

    Raises:
        ValueError: if a single bit is not as it was written, or another version of lehr wrote it.

    >>> unseal("run", seal("run", {"lr": 0.1}), "it")
    {'lr': 0.1}
    >>> unseal("run", seal("run", {"lr": 0.1}).replace("0.1", "0.7"), "it")
    Traceback (most recent call last):
    ValueError: it is damaged: its contents and its checksum differ; delete it and give the command that made it again
    """
    raw = text if isinstance(text, bytes) else text.encode(errors="surrogatepass")
    head = _HEAD.match(raw)
    if head is None:
        _refuse(kind, raw, name)
    if int(head[2]) != FORMAT:
        raise ValueError(_other_version(name, int(head[2])))
    if hashlib.sha256(raw[: head.start(3)] + _BLANK + raw[head.end(3) :]).hexdigest() != head[3].decode():
        raise ValueError(
            f"{name} is damaged: its contents and its checksum differ; delete it and give the command that made it "
            "again"
        )
    body = _parsed(raw)
    if head[1].decode() != kind or not isinstance(body, dict):
        raise ValueError(f"{name} is not {_called(kind)}; delete it and give the command that made it again")
    return {key: value for key, value in body.items() if key not in ("lehr", "format", "sha256")}


def read_bytes(path: Path) -> bytes:
    """The contents of a regular file of bearable size.

    Raises:
        ValueError: if there is none.
    """
    if not path.is_file():  # a pipe or a device would never end
        raise ValueError(f"there is no file {path}")
    if path.stat().st_size > LARGEST:
        raise ValueError(f"{path} has {path.stat().st_size:,} bytes, which lehr compare never writes")
    return path.read_bytes()


def _refuse(kind: Kind, raw: bytes, name: str) -> NoReturn:
    """Say what a text without our head is: of an older version, of something else, or no JSON at all."""
    body = _parsed(raw)
    if body is None:
        raise ValueError(f"{name} is damaged; delete it and give the command that made it again")
    if (number := _old_format(body)) is not None:
        raise ValueError(_other_version(name, number))
    raise ValueError(f"{name} is not {_called(kind)}; delete it and give the command that made it again")


def _other_version(name: str, number: int) -> str:
    which = "an older" if number < FORMAT else "a newer"
    return (
        f"{name} was written by {which} version of lehr (format {number}; this one has {FORMAT}); read it with that "
        "version, or choose another --out: nothing was changed"
    )


def _called(kind: Kind) -> str:
    return "a run of lehr compare" if kind == "run" else "what lehr compare writes"


def _parsed(raw: bytes) -> Any:
    """What the JSON says; None where it is none, or nested without end, or has numbers that JSON has not."""
    try:
        return json.loads(raw, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        return None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(name)


def check_version(path: Path) -> None:
    """Refuse a file that another version of lehr wrote; one that is missing or damaged is no business of this.

    Raises:
        ValueError: if it is of another format.
    """
    if not path.is_file():
        return
    with path.open("rb") as file:
        head = _HEAD.match(file.read(200))
    number = int(head[2]) if head else _old_format(_parsed(path.read_bytes()))
    if number is not None and number != FORMAT:
        raise ValueError(_other_version(str(path), number))


def _old_format(body: Any) -> int | None:
    """The format of contents without our head: 1, or None for what no version of lehr wrote."""
    return 1 if isinstance(body, dict) and ("run" in body or "command" in body) and "setting" in body else None
