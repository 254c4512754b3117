"""The command line: what people, agents and operators type; only the operators' commands know the server."""
