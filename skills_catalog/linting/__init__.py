"""Further rules of the lint, one module for each matter; `skills_catalog/lint.py` runs them all."""
