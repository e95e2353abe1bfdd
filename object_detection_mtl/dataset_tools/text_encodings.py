"""Encodings of annotation files, lists and file names."""

from __future__ import annotations

import codecs
import re
import unicodedata

# What the XML parser decodes itself.
_PARSED_ENCODINGS = {"utf-8", "utf-16", "iso8859-1", "ascii"}
_DECLARATION = re.compile(rb"""^\s*<\?xml[^>]*?encoding\s*=\s*["']([A-Za-z0-9._-]+)["'][^>]*\?>""")
# Supersets that files in fact use under the name of the smaller encoding.
_SUPERSETS = {"gb2312": "gb18030", "shift_jis": "cp932", "euc_kr": "cp949", "big5": "cp950"}


def xml_in_utf8(data: bytes) -> bytes:
    """Return XML that the parser can decode, from XML that is declared in another encoding."""
    declaration = _DECLARATION.match(data)
    if declaration is None:
        return data
    name = codecs.lookup(declaration[1].decode("ascii")).name
    if name in _PARSED_ENCODINGS:
        return data
    return data[declaration.end() :].decode(_SUPERSETS.get(name, name)).encode("utf-8")


def decode_list(data: bytes) -> str:
    """Decode the list of a set: UTF-8 or UTF-16 with its mark, else Latin-1."""
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return data.decode("utf-16", "replace")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def composed(name: str) -> str:
    """Return a name in Unicode's composed form; file systems of Macs decompose names."""
    return unicodedata.normalize("NFC", name)
