"""`pretune up`: the whole service on one machine, as children of one process.

It starts the same programs that the containers run and keeps them alive. It knows their commands, not their code.
"""
