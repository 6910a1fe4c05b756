"""The rules that desired state must keep, one file per noun; validate.py runs them in order."""
