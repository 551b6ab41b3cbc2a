"""What the application serves: the operations of its schema, and the pages that stand in none."""

from fastapi.routing import iter_route_contexts

from app.main import create_app


def operations() -> list[tuple[str, str]]:
    """Method and path."""
    paths = create_app().openapi()["paths"]
    return [(method.upper(), path) for path, operations in paths.items() for method in operations]


def pages() -> list[str]:
    """Paths of the dashboard's and the documentation's."""
    return [
        str(context.path_format)
        for context in iter_route_contexts(create_app().routes)
        if "GET" in (context.methods or ()) and not context.include_in_schema
    ]
