"""The portal's pages over HTTP: rendered on the server, no script, one form for each act.

``frame`` has what every page shares; each subject has a module of its own with a class
whose ``routes()`` says what it serves; ``site`` puts them together.
"""
