"""The floor that decides: no Flask, no pydantic, no Redis client."""
