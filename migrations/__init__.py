"""Alembic's revisions of the schema in `app.db.tables`. `app.db.migrate` runs them."""
