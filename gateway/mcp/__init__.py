"""The Model Context Protocol at `/mcp`: what agents find, call and connect, as tools."""
