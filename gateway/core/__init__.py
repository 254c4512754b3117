"""What happens to a call. No web framework, no database driver."""
