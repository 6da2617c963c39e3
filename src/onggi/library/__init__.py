"""onggi for Python programs: `onggi.connect()`, and fixtures for pytest.

A frontend like the command line and the REST API: it translates, the engine decides.
"""
