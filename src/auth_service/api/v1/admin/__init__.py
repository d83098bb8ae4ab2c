"""User administration and audit log: endpoints of administrators, support staff and auditors, one module per noun."""
