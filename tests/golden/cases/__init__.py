"""Plain tables of golden cases; no array library and no keras is imported here."""
