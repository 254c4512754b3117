"""What changed between two versions of a definition, and whether those who call it will notice."""
