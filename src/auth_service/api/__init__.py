"""HTTP layer: endpoints, contracts, parsing, security and pages."""
