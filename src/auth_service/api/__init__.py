"""The floor that speaks HTTP."""
