"""The pages that answer "is it clean?" to a person: tables of the database into records, records
into HTML. The same function writes the files of a site and answers a server; no page needs another
host, a script or a file beside it.
"""
