"""The tools for any client that speaks the Model Context Protocol."""
