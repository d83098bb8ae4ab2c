"""HTML pages: account revert, dev inbox."""
