"""Tells other systems the end of submissions: signed, from committed rows, tried again until it arrives."""
