"""What becomes of memory that is free again: it stays with the process.

The C library (glibc) hands large pieces back to the system as soon as they are free, and the system
fills them with zeros when it gives them out again. Feature maps and pictures are such pieces, and
new ones come with every call.
"""

from __future__ import annotations

import ctypes
import os

# Of glibc's malloc.h: free memory at the end of the heap beyond this is handed back, and pieces
# larger than that get pages of their own, which go back when they are free.
_TRIM_THRESHOLD, _MMAP_THRESHOLD = -1, -3
_NEVER = 2**31 - 1
SETTINGS = ("GLIBC_TUNABLES", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_")


def keep_freed() -> bool:
    """Keeps memory for the next call, for the life of this process.

    For programs that own their process; importing the package changes nothing. Whoever has set one
    of glibc's environment variables for this has decided, and they hold.

    Returns:
        Whether it was done: another C library may have no such thing.
    """
    if any(name in os.environ for name in SETTINGS):
        return False
    try:
        change = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return False
    return all([change(option, _NEVER) == 1 for option in (_TRIM_THRESHOLD, _MMAP_THRESHOLD)])
