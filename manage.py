#!/usr/bin/env python
"""Entry point of the command line: `python manage.py --help` lists the commands."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent / "src"))

from auth_service.cli import app_for_commands, main

__all__ = ["app_for_commands"]

if __name__ == "__main__":
    main()
