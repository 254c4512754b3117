"""The catalog in the forms that others read: skill files for agents, command lines for people."""
