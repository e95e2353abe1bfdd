"""Encodings of annotation files, lists and file names."""

from __future__ import annotations

import codecs
import contextlib
import re
import unicodedata
from collections.abc import Iterator

_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")
_DECLARATION_TEXT = re.compile(r"^\s*<\?xml[^>]*\?>")
# Supersets that files in fact use under the name of the smaller encoding, and names of Windows.
_SUPERSETS = {
    "gb2312": "gb18030",
    "shift_jis": "cp932",
    "euc_kr": "cp949",
    "big5": "cp950",
}
_ALIASES = {"windows-31j": "cp932", "x-sjis": "cp932", "x-gbk": "gb18030", "x-euc-jp": "euc_jp"}
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),  # It begins with the mark of UTF-16.
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
# The first two characters of XML in UTF-16 without a mark.
_UNMARKED = ((b"<\0?\0", "utf-16-le"), (b"\0<\0?", "utf-16-be"))


def xml_in_utf8(data: bytes) -> bytes:
    """Return XML in UTF-8 without its declaration.

    A byte order mark decides before the declared encoding. UTF-8 is tried where the bytes are not
    of the declared encoding: some tools declare another one.

    Raises:
        ValueError: the bytes are of no such encoding; the message says what to do.
    """
    starts = (*_BYTE_ORDER_MARKS, *_UNMARKED)
    encoding = next((name for start, name in starts if data.startswith(start)), "")
    declaration = _DECLARATION.match(data)
    declared = declaration[1].decode("ascii") if declaration else "utf-8"
    tried = (encoding,) if encoding else (_codec_of(declared), "utf-8")
    for name in filter(None, dict.fromkeys(tried)):
        try:
            text = data.decode(name)
        except (UnicodeError, LookupError):  # LookupError: no encoding of texts, such as base64
            continue
        text = _DECLARATION_TEXT.sub("", text, count=1)
        return text.strip("\0").encode("utf-8")
    raise ValueError(
        f"it is not text in {encoding or declared}; save it in UTF-8, or state its encoding in the "
        "first line"
    )


def _codec_of(declared: str) -> str:
    """Return Python's name of a declared encoding; empty if it has none."""
    try:
        name = codecs.lookup(_ALIASES.get(declared.lower(), declared)).name
    except LookupError:
        return ""
    return "" if name.startswith("utf-16") else _SUPERSETS.get(name, name)


# Encodings of lists besides Unicode's: of Western Europe, East Asia and Macs.
_OF_LISTS = ("utf-8", "cp1252", "latin-1", "gb18030", "cp932", "cp949", "cp950", "mac-roman")


def decode_list(data: bytes) -> Iterator[str]:
    """Yield the readings of a list, the likeliest first: only the names in it tell the encoding."""
    marked = next((name for mark, name in _BYTE_ORDER_MARKS if data.startswith(mark)), "")
    if not marked and b"\0" in data:
        marked = "utf-16-le" if data[1:2] == b"\0" else "utf-16-be"
    if marked:
        yield data.decode(marked, "replace")
        return
    for name in _OF_LISTS:
        with contextlib.suppress(UnicodeDecodeError):
            yield data.decode(name)


def composed(name: str) -> str:
    """Return a name in Unicode's composed form; file systems of Macs decompose names."""
    return unicodedata.normalize("NFC", name)
