"""Checks of what is handed to other people: wheels, versions of torch, compilers."""
