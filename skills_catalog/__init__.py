"""What can be called: integrations and skills read from YAML. A leaf: no web server, no database, no secrets."""
