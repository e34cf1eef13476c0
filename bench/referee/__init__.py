"""The machinery of compare.py: the environment, the models, the turns, the machine, the report."""
