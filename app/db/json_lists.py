"""Lists of texts in JSON columns, asked for what they hold on both databases."""

from collections.abc import Collection
from typing import Any

from sqlalchemy import ColumnElement, Text, column, select
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.orm import InstrumentedAttribute
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import GenericFunction


def no_element_beside(texts: InstrumentedAttribute[list[Any] | None], known: Collection[str]) -> ColumnElement[bool]:
    """Whether all elements of a list are among `known`; an empty list, and null, have none that is not."""
    element = _JsonTexts(texts).table_valued(column("value", Text))
    unknown = select(1).select_from(element).where(element.c.value.not_in(known))
    return ~unknown.exists()


class _JsonTexts(GenericFunction[str]):
    """The elements of a list, a row each, in a column `value`."""

    inherit_cache = True


@compiles(_JsonTexts, "sqlite")
def _on_sqlite(element: _JsonTexts, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


@compiles(_JsonTexts, "postgresql")
def _on_postgresql(element: _JsonTexts, compiler: SQLCompiler, **options: Any) -> str:
    return f"json_array_elements_text({compiler.process(element.clauses, **options)})"
