"""Reports: checks, tables and plots, on a terminal, as JSON and as a page."""
