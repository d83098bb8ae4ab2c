"""Benchmark (`make bench`): the service as in production, compared with floors measured in the same run."""
