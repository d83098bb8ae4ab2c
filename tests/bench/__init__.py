"""`make bench`: the service as production runs it, beside floors that are measured in the same run."""
