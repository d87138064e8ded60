"""analysis/laws."""
