"""How we are let in: connections, credentials, consent, refresh, sealing. A leaf: no server, no database, no skills."""
