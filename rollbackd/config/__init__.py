"""Settings, the strict YAML loader, its schema, and their compilation to core policy."""
