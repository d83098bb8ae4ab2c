"""Compare two Swagger documents and fail on every difference in HTTP behaviour; differences in wording are ignored.

    python .ci/compare_swagger.py OLD.json NEW.json

Wording is: descriptions, summaries, the message (`msg`) in examples of errors, and the names of schemas.
"""

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

WORDING = frozenset({"description", "summary"})
NAME_MAPS = frozenset({"definitions", "examples", "headers", "paths", "properties", "responses", "securityDefinitions"})
"""Objects whose keys are free names, not keywords: a property may be called `description`."""
REFERENCE = "#/definitions/"


def behaviour(document: dict[str, Any]) -> dict[str, Any]:
    """A document without its wording, with every `$ref` replaced by the schema itself."""
    schemas = document["definitions"]
    comparable = {name: value for name, value in document.items() if name not in {"definitions", "info"}}
    return {
        **_comparable(comparable, schemas, is_name_map=False),
        "info": {name: value for name, value in document["info"].items() if name not in WORDING},
        # Includes schemas without a reference; they are compared without names and order.
        "definitions": sorted(json.dumps(_comparable(each, schemas), sort_keys=True) for each in schemas.values()),
    }


def _comparable(node: Any, schemas: dict[str, Any], *, is_name_map: bool = False, outer: tuple[str, ...] = ()) -> Any:
    if isinstance(node, list):
        items = [_comparable(item, schemas, outer=outer) for item in node]
        # The order of parameters, tags and required names is irrelevant.
        return sorted(items, key=lambda item: json.dumps(item, sort_keys=True))
    if not isinstance(node, dict):
        return node
    if isinstance(reference := node.get("$ref"), str) and not is_name_map:
        name = reference.removeprefix(REFERENCE)
        # A schema that contains itself is compared by its name from the second time on.
        return {"$ref": name} if name in outer else _comparable(schemas[name], schemas, outer=(*outer, name))
    return {
        name: "…"
        if name == "msg" and isinstance(value, str)
        else _comparable(value, schemas, is_name_map=not is_name_map and name in NAME_MAPS, outer=outer)
        for name, value in node.items()
        if is_name_map or (name not in WORDING and not _is_schema_name(name, value, schemas))
    }


def _is_schema_name(keyword: str, value: Any, schemas: dict[str, Any]) -> bool:
    return keyword == "title" and value in schemas


def differences(old: Any, new: Any, path: str = "") -> Iterator[str]:
    """Every place in which two comparable values differ."""
    if isinstance(old, dict) and isinstance(new, dict):
        for name in sorted({*old, *new}):
            if name not in new:
                yield f"{path}/{name}: only in the old document"
            elif name not in old:
                yield f"{path}/{name}: only in the new document"
            else:
                yield from differences(old[name], new[name], f"{path}/{name}")
    elif old != new:
        yield f"{path}: {json.dumps(old)} -> {json.dumps(new)}"


def main(old: str, new: str) -> int:
    """Print the differences; returns 1 if there are any."""
    documents = [behaviour(json.loads(Path(path).read_text("utf-8"))) for path in (old, new)]
    changes = list(differences(*documents))
    sys.stdout.writelines(f"{change}\n" for change in changes)
    return 1 if changes else 0


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
