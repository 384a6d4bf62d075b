"""A Redis of our own, for one machine: started from what is installed, closed to everybody but this user.

Its directory holds everything: the append-only file, the password, the log, the socket, and `url`, by which others find
it (`known_url`) while it runs.
"""
