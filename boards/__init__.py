"""Designs for development boards. Not part of the installed package."""
