"""Private files: mode 0600, readable by their owner only, replaced atomically."""

import os
from pathlib import Path
from typing import IO


def open_private(path: Path) -> IO[bytes]:
    """Open a file for appending; create it with mode 0600 if it does not exist."""
    return os.fdopen(os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600), "ab")


def write_private(path: Path, text: str) -> None:
    """Replace a file atomically with mode 0600: concurrent readers see the old text or the new text."""
    draft = path.with_name(f"{path.name}.new")
    draft.unlink(missing_ok=True)
    with open_private(draft) as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)
