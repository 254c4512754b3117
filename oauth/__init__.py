"""How we are let in: connections, credentials, consent, refresh and sealing. A leaf: no web server, no database, no skills."""
