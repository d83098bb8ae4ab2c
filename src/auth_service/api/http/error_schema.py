"""JSON Schema of error responses and of field errors, for the Swagger document."""

from typing import Any

from auth_service.errors.fields import FieldReason

FIELD_ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["field", "reason", "msg"],
    "properties": {
        "field": {
            "type": "string",
            "description": "The field or parameter; empty if the error is about no single one.",
        },
        "reason": {
            "type": "string",
            "description": "Stable; clients compare and translate it. New reasons may be added.",
            "enum": [reason.value for reason in FieldReason],
        },
        "msg": {"type": "string", "description": "In English: what to do next."},
    },
}
"""One entry of `fields` in a `validation_failed` error."""

ERROR: dict[str, Any] = {
    "type": "object",
    "required": ["success", "result", "error"],
    "properties": {
        "success": {"type": "boolean", "enum": [False]},
        "result": {"type": "string", "x-nullable": True, "description": "Always null."},
        "error": {
            "type": "object",
            "required": ["code", "msg"],
            "properties": {
                "code": {"type": "string", "description": "Stable; clients compare it.", "example": "code_wrong"},
                "msg": {"type": "string", "description": "In English: what to do next."},
                "retry_after": {"type": "integer", "description": "Seconds after which to send the request again."},
                "reason": {
                    "type": "string",
                    "description": "The failed CSRF check: `origin`, `site` or `header`; the reason of a ban.",
                },
                "until": {
                    "type": "string",
                    "format": "date-time",
                    "x-nullable": True,
                    "description": "The end of a ban; null for a ban without end.",
                },
                "scope": {"type": "string", "description": "The scope that the service key lacks."},
                "attempts_left": {"type": "integer", "description": "Attempts that remain after a wrong code."},
                "fields": {
                    "type": "array",
                    "description": "The invalid values.",
                    "items": {"$ref": "#/definitions/FieldError"},
                },
            },
        },
    },
}
"""The body of every error response."""
