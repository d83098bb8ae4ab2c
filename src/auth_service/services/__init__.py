"""Service layer: the business logic, independent of Flask, pydantic and the Redis client."""
