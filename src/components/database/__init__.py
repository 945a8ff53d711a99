"""PostgreSQL: the configured server or an embedded one, its tables, and what keeps runs apart.

Connections, the tables and the view with their schema, advisory locks, and the journal of runs.

SQL is written in two dialects: SQLAlchemy Core for what works on a few rows, and `text()` for
statements that compute over whole tables. Names come from params.yaml, are checked there as
identifiers and are quoted; values are always bound. COPY goes through `connection.run_copy`.
"""
