"""The page of the report: markup, tables, sections and assets. `analysis.report` puts them together."""
